"""Quality checks in whole runs: stored, in any order of arrival, and of no effect on others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select

from conftest import new_store
from stages.conftest import checksum
from stages.made_images import MadeImage, Observatory, Seen, random_images
from trap_ops.records.images import ArrayInfo, Check, CheckResult, Plane, RejectReason, Verdict
from trap_ops.science.catalogue_checks import CATALOGUE_CHECKS
from trap_ops.science.image_checks import CHECKS
from trap_ops.stages import fingerprint as fingerprints
from trap_ops.stages import judge_quality as stage
from trap_ops.store import images
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.outcomes import rejected_units
from trap_ops.store.quality_checks import checks_of, save_checks
from trap_ops.store.schema import image, outcome, qualitycheck, rejection

HERE = (Seen(10.0, 10.0),)
TWO = (Seen(10.0, 10.0), Seen(10.1, 10.05))


@pytest.fixture
def observatory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Observatory]:
    with new_store("sqlite", request, tmp_path) as store:
        yield Observatory(store, tmp_path, monkeypatch)


@pytest.fixture
def both(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observatory:
    return Observatory(store, tmp_path, monkeypatch)


def stored(store: Store, dataset: str) -> dict[str, dict[str, Check]]:
    """Checks by name of the image and of the check."""
    with store.read() as connection:
        mine = dataset_id(connection, dataset)
        names = {row.id: row.shown_name for row in images.images_of(connection, mine)}
        found = checks_of(connection, list(names))
    return {names[i]: {check.name: check for check in checks} for i, checks in found.items()}


def rejected(store: Store, dataset: str) -> dict[str, tuple[str, str]]:
    """Reason and message by name."""
    with store.read() as connection:
        units = rejected_units(connection, dataset_id(connection, dataset))
    return {unit.name: (unit.reason, unit.message) for unit in units}


def test_every_check_of_every_image_is_stored_with_its_limits(both: Observatory) -> None:
    both.settings = {
        "quality": {
            "rms_max_jy": 0.002, "bright_sources": ["VirA"], "bright_warn_deg": 180.0,
            "rms_history_images": 2,
        }
    }  # fmt: skip
    made = [
        MadeImage("a.fits", 1, HERE),
        MadeImage("b.fits", 2, HERE, rms_jy=0.003),
        MadeImage("c.fits", 3, unreadable=True),
        MadeImage("d.fits", 4, HERE, nan_fraction=0.6),
    ]
    both.run("night", made)
    found = stored(both.store, "night")
    assert found.keys() == {"a.fits", "b.fits", "c.fits", "d.fits"}
    assert all(set(checks) >= set(CHECKS) for checks in found.values())
    assert set(found["a.fits"]) == {*CHECKS, *CATALOGUE_CHECKS}
    assert set(found["c.fits"]) == set(CHECKS)
    bad = found["b.fits"]["rms_range"]
    assert (bad.result, bad.measured, bad.low, bad.high) == ("rejected", 0.003, 0.0, 0.002)
    with both.store.read() as connection:
        rows = connection.execute(
            select(image.c.file_name, rejection.c.rejectreason, rejection.c.comment).join(image)
        ).all()
    assert [tuple(row) for row in rows if row.file_name == "b.fits"] == [("b.fits", 0, bad.comment)]
    assert found["c.fits"]["file"].result == "rejected"
    assert found["d.fits"]["nan"].result == "warned"
    assert found["a.fits"]["bright_source_VirA"].result == "warned"
    assert found["a.fits"]["bright_source_Sun"].result == "accepted"
    assert 0.0 < found["a.fits"]["bright_source_Sun"].measured < 180.0
    history = found["d.fits"]["rms_history"]
    assert (history.result, history.low) == ("accepted", history.measured)
    assert found["a.fits"]["rms_history"].result == "not made"


# ---- Duplicates.


def test_the_same_observation_is_used_once_and_the_good_one_of_two(both: Observatory) -> None:
    """Also if it comes later, or in another run; subbands, Stokes and beams stay."""
    first = MadeImage("a.fits", 1, HERE)
    made = [
        first,
        replace(first, name="b.fits"),
        replace(first, name="stokes.fits", stokes=4),
        replace(first, name="subband.fits", freq_hz=140.2e6),
        replace(first, name="beam.fits", dec=10.01),
        replace(first, name="long.fits", integration_s=2.0),
        # The first of these is broken: the second one is used.
        MadeImage("c.fits", 2, HERE, nan_fraction=1.0),
        MadeImage("d.fits", 2, TWO),
        MadeImage("e.fits", 2, HERE),
    ]
    batch = both.run_all("batch", [made])
    found = rejected(both.store, "batch")
    assert {name: reason for name, (reason, _) in found.items()} == {
        "b.fits": "duplicate image", "c.fits": "contains NaN", "e.fits": "duplicate image",
    }  # fmt: skip
    assert "the same observation as a.fits: start" in found["b.fits"][1]
    assert "the same observation as d.fits: start" in found["e.fits"][1]
    pieces = [made[8:], made[1:3], made[6:8], [made[0]], made[3:6]]
    assert both.run_all("pieces", pieces) == batch


def test_planes_of_one_file_have_the_same_bytes_and_are_no_duplicates(
    observatory: Observatory,
) -> None:
    made = [
        MadeImage(f"cube{n}.fits", 1, HERE, stokes=n, copy_of="cube", plane=Plane(0, (n - 1, 0)))
        for n in (1, 4)
    ]
    again = replace(made[1], name="cube5.fits")
    observatory.run("night", [*made, again])
    found = rejected(observatory.store, "night")
    assert list(found) == ["cube5.fits"]
    assert "the same bytes as cube4.fits" in found["cube5.fits"][1]


# ---- History and arrival.


def drifting(rms: tuple[float, ...]) -> list[MadeImage]:
    """Images that point elsewhere each time."""
    return [
        MadeImage(f"d{n}.fits", n, ra=10.0 + 0.1 * n, rms_jy=level) for n, level in enumerate(rms)
    ]


@pytest.mark.parametrize(("of", "bad"), [("band", ["d3.fits"]), ("region", [])])
def test_a_drifting_field_has_a_history_in_its_band_only(
    observatory: Observatory, of: str, bad: list[str]
) -> None:
    observatory.settings = {
        "quality": {"rms_history_images": 4, "rms_rejection_sigma": 1.5, "rms_history_of": of}
    }
    observatory.run("night", drifting((0.001, 0.00101, 0.001, 0.002, 0.001)))
    assert list(rejected(observatory.store, "night")) == bad


@pytest.mark.parametrize(
    ("seed", "of"),
    [
        pytest.param(21, "region", marks=pytest.mark.slow),
        *(pytest.param(n, of, marks=pytest.mark.long) for n in range(22, 30) for of in
          ("band", "region")),
    ],
)  # fmt: skip
def test_nightly_and_batch_verdicts_are_equal(observatory: Observatory, seed: int, of: str) -> None:
    """The history is short and strict, so that verdicts hang on each other."""
    observatory.settings = {
        "quality": {
            "rms_history_images": 2, "rms_rejection_sigma": 0.9, "rms_history_of": of,
            "integration_zero": "warn", "bright_sources": ["VirA"], "bright_warn_deg": 170.0,
        }
    }  # fmt: skip
    made = random_images(seed, nights=6)
    rng = np.random.default_rng(seed)
    made = [replace(m, integration_s=m.integration_s * float(rng.integers(2))) for m in made]
    expected = observatory.run_all("batch", [made])
    assert len(rejected(observatory.store, "batch")) > 2
    nights = [[m for m in made if m.night == n] for n in sorted({m.night for m in made})]
    assert observatory.run_all("nightly", nights) == expected
    places = rng.permutation(len(made)).tolist()
    halves = [[made[i] for i in places[::2]], [made[i] for i in places[1::2]]]
    assert observatory.run_all("shuffled", halves) == expected


def test_a_rejected_image_changes_nothing_for_the_others(observatory: Observatory) -> None:
    """Without it, and without its own rows, the dataset is the same."""
    good = [
        MadeImage(f"g{n}.fits", n, TWO[n % 2 :], rms_jy=0.001 + 1e-5 * (n % 3)) for n in range(6)
    ]
    bad = {
        "rms": MadeImage("rms.fits", 2, TWO, rms_jy=200.0),
        "nan": MadeImage("nan.fits", 3, TWO, nan_fraction=0.95, integration_s=2.0),
        "unreadable": MadeImage("unreadable.fits", 0, TWO, unreadable=True, integration_s=3.0),
        "copy": MadeImage("z.fits", 1, TWO, copy_of="g1.fits"),
        "observation": MadeImage("zz.fits", 4, TWO),
    }
    observatory.settings = {"quality": {"rms_history_images": 3, "rms_rejection_sigma": 1.45}}
    expected = observatory.run_all("clean", [good])
    kept_before = rejected(observatory.store, "clean")
    for name, image_ in bad.items():
        observatory.run(name, [*good, image_])
        assert rejected(observatory.store, name).keys() - kept_before.keys() == {image_.name}
        with observatory.store.write() as connection:
            (gone,) = connection.execute(
                select(image.c.id).where(
                    image.c.file_name == image_.name,
                    image.c.dataset == dataset_id(connection, name),
                )
            ).scalars()
            for table in (qualitycheck, rejection, outcome):
                connection.execute(delete(table).where(table.c.image == gone))
            connection.execute(delete(image).where(image.c.id == gone))
        assert checksum(observatory.store, name) == expected, name


# ---- What is written when an image is judged again.


def test_judging_again_leaves_a_verdict_of_association_alone(both: Observatory) -> None:
    """Its own checks change (the limits of the history), its own verdict does not."""
    both.settings = {"quality": {"rms_history_images": 2}}
    made = [MadeImage(f"m{n}.fits", n, HERE, rms_jy=0.001 + 1e-5 * n) for n in range(4)]
    both.run("night", [made[0], made[2], made[3]])
    mine = Check("flux_scale", CheckResult.REJECTED, 3.0, 0.5, 2.0, "", "too bright")
    with both.store.write() as connection:
        (third,) = connection.execute(
            select(image.c.id).where(image.c.file_name == "m2.fits")
        ).scalars()
        images.set_verdicts(
            both.store, connection, {third: Verdict(False, RejectReason.RMS_INVALID, "by another")}
        )
        save_checks(connection, {third: [mine]}, [mine.name])
    before = stored(both.store, "night")["m2.fits"]["rms_history"]
    # Association itself would set the verdict again.
    both.abandon("night", [made[1]], before="associate")
    after = stored(both.store, "night")["m2.fits"]
    assert after["rms_history"].low != before.low
    assert after["flux_scale"] == mine
    with both.store.read() as connection:
        verdict = select(image.c.verdict).where(image.c.id == third)
        assert connection.execute(verdict).scalar_one() == "rejected"
        comments = select(rejection.c.comment).where(rejection.c.image == third)
        assert list(connection.execute(comments).scalars()) == ["by another"]
        result = select(outcome.c.result).where(
            outcome.c.image == third, outcome.c.stage == "judge_quality"
        )
        assert connection.execute(result).scalar_one() == "accepted"


def test_what_has_not_changed_is_not_written_again(
    observatory: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [MadeImage(f"m{n}.fits", n, HERE) for n in range(4)]
    written: list[set[int]] = []
    real = stage.save_checks

    def save(connection: Any, checks: Any, names: Any) -> None:
        written.append(set(checks))
        real(connection, checks, names)

    monkeypatch.setattr(stage, "save_checks", save)
    observatory.run("night", made[:3])
    observatory.run("night", made[:3])
    observatory.run("night", made)
    assert [len(ids) for ids in written] == [3, 0, 1]


# ---- LOFAR.


def test_lofar_images_are_held_against_their_theoretical_noise(
    observatory: Observatory, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a mJy/beam of 24 core and 12 remote stations, 2 MHz, an hour; limits 1 and 80."""
    stations = ArrayInfo("HBA", 24, 12, 0)
    lofar = {"telescope": "LOFAR", "integration_s": 3600.0}
    made = [
        MadeImage("good.fits", 1, HERE, rms_jy=0.01, array=stations, **lofar),
        MadeImage("noisy.fits", 2, HERE, rms_jy=0.1, array=stations, **lofar),
        MadeImage("quiet.fits", 3, HERE, rms_jy=1e-5, array=stations, **lofar),
        MadeImage("bare.fits", 4, HERE, **lofar),
        MadeImage("unknown.fits", 5, HERE, array=ArrayInfo("LBA_FOO", 2), **lofar),
        MadeImage("fast.fits", 6, HERE, array=stations, telescope="LOFAR", integration_s=0.0),
    ]
    observatory.run("night", made)
    found = {
        name: checks["theoretical_noise"]
        for name, checks in stored(observatory.store, "night").items()
    }
    assert {name: str(check.result) for name, check in found.items()} == {
        "good.fits": "accepted", "noisy.fits": "rejected", "quiet.fits": "rejected",
        "bare.fits": "not made", "unknown.fits": "not made", "fast.fits": "not made",
    }  # fmt: skip
    # A tenth of the bandwidth has root ten times the noise: 1.659 mJy of 200 kHz at 150 MHz.
    assert found["good.fits"].low == pytest.approx(1.659e-3 / np.sqrt(10.0), rel=0.25)
    assert found["good.fits"].high == pytest.approx(80.0 * found["good.fits"].low)
    assert found["bare.fits"].comment == (
        "the header does not say: antenna set, number of stations"
    )
    assert "LBA_FOO of core stations is not known" in found["unknown.fits"].comment
    assert found["fast.fits"].comment == "the header does not say: integration time"
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("theoretical_noise is not made on 1 images: the header" in text for text in said)


def test_any_array_has_a_noise_by_its_settings(observatory: Observatory) -> None:
    observatory.settings = {
        "quality": {"noise_sefd_jy": 400.0, "noise_antennas": 64, "noise_efficiency": 0.9}
    }
    observatory.run("night", [MadeImage("a.fits", 1, HERE, integration_s=8.0, rms_jy=0.002)])
    check = stored(observatory.store, "night")["a.fits"]["theoretical_noise"]
    assert check.result == "accepted"
    assert check.low == pytest.approx(400.0 / (0.9 * np.sqrt(2 * 2e6 * 8.0 * 64 * 63)))


def test_lofar_rejects_near_bright_sources_as_the_classic_pipeline(
    observatory: Observatory,
) -> None:
    made = [
        MadeImage("cas.fits", 1, ra=350.85, dec=60.0, telescope="LOFAR", integration_s=1.0),
        MadeImage("near.fits", 1, ra=350.85, dec=70.0, telescope="LOFAR", integration_s=1.0),
    ]
    observatory.run("night", made)
    found = stored(observatory.store, "night")
    assert found["cas.fits"]["bright_source_CasA"].result == "rejected"
    assert found["near.fits"]["bright_source_CasA"].result == "warned"
    reason, message = rejected(observatory.store, "night")["cas.fits"]
    assert reason == "bright source near"
    assert "Pointing is 1.19 degrees from CasA." in message


def test_the_table_of_dipoles_is_part_of_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker with other figures would reject other images."""
    package = tmp_path / "trap_ops"
    for room in fingerprints._ROOMS:
        (package / room).mkdir(parents=True)
    (package / "errors.py").touch()
    (package / "stages" / "fingerprint.py").touch()
    table = package / "images" / "lofar_dipole_distances.json"
    monkeypatch.setattr(fingerprints, "__file__", str(package / "stages" / "fingerprint.py"))
    found = set()
    for text in ("{}", '{"core": {}}'):
        table.write_text(text)
        fingerprints.fingerprint.cache_clear()
        found.add(fingerprints.fingerprint())
    fingerprints.fingerprint.cache_clear()
    assert len(found) == 2
