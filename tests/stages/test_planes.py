"""Cubes through all stages: each chosen plane is an image of its own frequency and Stokes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import select

from stages.conftest import checksum
from trap_ops import local
from trap_ops.images import structure
from trap_ops.images.files import SourceFile
from trap_ops.images.structure import content_sha256
from trap_ops.records.runs import MonitorPosition
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.images import images_of
from trap_ops.store.outcomes import rejected_units
from trap_ops.store.schema import extractedsource, image, runningcatalog

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

SIZE = 120
PLAN = SeriesPlan(
    n_epochs=2, size_px=SIZE, n_steady=6, n_variable=0, n_transient=0, seed=3, snr_max=60.0
)
# Sources are this much brighter from channel to channel; Stokes V is noise.
STEP = 0.5
NOISE_JY = 1e-3
SETTINGS = {
    "images": {"channels": [0, 2], "stokes": ["I", "V"]},
    "extraction": {"detection_threshold_sigma": 6.0, "margin_px": 2},
}


@pytest.fixture(scope="module")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of two nights, each with three channels in I and V."""
    plain = write_series(PLAN, tmp_path_factory.mktemp("plain"))
    directory = tmp_path_factory.mktemp("cubes")
    rng = np.random.default_rng(1)
    for path in plain:
        with fits.open(path) as hdus:
            data, header = np.squeeze(hdus[0].data), hdus[0].header
        sky = np.stack([data * (1.0 + STEP * channel) for channel in range(3)])
        cube = np.stack([sky, rng.normal(0.0, NOISE_JY, sky.shape)]).astype(np.float32)
        for axis, cards in {
            3: ("FREQ", 150e6, 2e6, "Hz"),
            4: ("STOKES", 1.0, 3.0, ""),
        }.items():
            for key, value in zip(("CTYPE", "CRVAL", "CDELT", "CUNIT"), cards, strict=True):
                header[f"{key}{axis}"] = value
            header[f"CRPIX{axis}"] = 1.0
        fits.PrimaryHDU(cube, header).writeto(directory / path.name)
    return sorted(directory.iterdir())


def run(
    store: Store, cubes: list[Path], dataset: str, directory: Path, at: tuple[float, float]
) -> None:
    local.run(
        cubes,
        dataset,
        store_url=store.url.render_as_string(hide_password=False),
        overrides=SETTINGS,
        monitor=[MonitorPosition(*at, "brightest")],
        output_dir=directory,
    )


def brightest(cubes: list[Path]) -> tuple[float, float]:
    from astropy.wcs import WCS

    with fits.open(cubes[0]) as hdus:
        y, x = np.unravel_index(np.argmax(hdus[0].data[0, 0]), (SIZE, SIZE))
        ra, dec = WCS(hdus[0].header).celestial.wcs_pix2world(x, y, 0)
    return float(ra), float(dec)


def test_each_chosen_plane_is_an_image(store: Store, cubes: list[Path], tmp_path: Path) -> None:
    at = brightest(cubes)
    run(store, cubes, "cubes", tmp_path, at)
    with store.read() as connection:
        rows = images_of(connection, dataset_id(connection, "cubes"))
        monitored = connection.execute(
            select(image.c.freq_eff, image.c.stokes, extractedsource.c.f_int)
            .join(image, image.c.id == extractedsource.c.image)
            .where(extractedsource.c.extract_type == 2)
        ).all()
        found = connection.execute(select(runningcatalog.c.stokes)).scalars().all()
    assert [(row.freq_eff_hz, row.stokes) for row in rows[:4]] == [
        (150e6, 1), (150e6, 4), (154e6, 1), (154e6, 4),
    ]  # fmt: skip
    assert len(rows) == 8
    assert {row.verdict for row in rows} == {"accepted"}
    assert {row.shown_name for row in rows[:2]} == {
        f"{cubes[0].name}[channel 0, Stokes {letter}]" for letter in "IV"
    }
    # Forced fits are made in the plane that they are of.
    assert len(monitored) == 8
    low = [row.f_int for row in monitored if (row.freq_eff, row.stokes) == (150e6, 1)]
    high = [row.f_int for row in monitored if (row.freq_eff, row.stokes) == (154e6, 1)]
    np.testing.assert_allclose(np.array(high) / low, 1.0 + 2 * STEP, rtol=1e-4)
    assert min(low) > 20 * NOISE_JY
    assert max(abs(row.f_int) for row in monitored if row.stokes == 4) < 5 * NOISE_JY
    # Nothing is found in V; monitoring positions are sources of the Stokes they are measured in.
    assert found.count(1) > 3
    before = checksum(store, "cubes")
    run(store, cubes, "cubes", tmp_path, at)
    assert checksum(store, "cubes") == before
    for one in reversed(cubes):
        run(store, [one], "late", tmp_path, at)
    assert checksum(store, "late") == before


def test_the_planes_of_a_file_share_its_checksum(
    cubes: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cube of a thousand channels is not hashed a thousand times."""
    hashed = []

    def count(source: SourceFile) -> str:
        hashed.append(source.name)
        return content_sha256(source)

    monkeypatch.setattr(structure, "content_sha256", count)
    url = f"sqlite:///{tmp_path / 'results.db'}"
    one_task = {**SETTINGS, "execution": {"parallel_tasks": 1}}
    local.run(cubes, "cubes", store_url=url, overrides=one_task, output_dir=tmp_path)
    assert hashed == [path.name for path in cubes]
    opened = Store(url)
    with opened.read() as connection:
        rows = images_of(connection, dataset_id(connection, "cubes"))
    opened.close()
    for row in rows:
        assert row.content_sha256 == hashlib.sha256(Path(row.path).read_bytes()).hexdigest()


def test_a_choice_that_was_not_made_is_explained(cubes: list[Path], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'results.db'}"
    local.run(cubes[:1], "none", store_url=url, output_dir=tmp_path)
    opened = Store(url)
    with opened.read() as connection:
        (refused,) = rejected_units(connection, dataset_id(connection, "none"))
    opened.close()
    assert refused.reason == "several planes"
    assert "3 channels (0 to 2: 150 MHz to 154 MHz) and 2 Stokes planes (I, V)" in refused.message
    assert 'images.channels = "all" or a list like [0]' in refused.message


def test_a_withdrawn_plane_can_be_added_again(
    store: Store, cubes: list[Path], tmp_path: Path
) -> None:
    at = brightest(cubes)
    run(store, cubes, "series", tmp_path, at)
    before = checksum(store)
    with store.read() as connection:
        rows = images_of(connection, dataset_id(connection, "series"))
    chosen = rows[3]
    where = {"store_url": store.url.render_as_string(hide_password=False), "output_dir": tmp_path}
    plane = chosen.plane.name_in(chosen.path)
    local.run([], "series", overrides=SETTINGS, withdraw=[plane], **where)
    with store.read() as connection:
        left = images_of(connection, dataset_id(connection, "series"))
    assert [row.id for row in left] == [row.id for row in rows if row is not chosen]
    assert checksum(store) != before
    local.run(cubes, "series", overrides=SETTINGS, **where)
    assert checksum(store) == before
    local.run([], "series", overrides=SETTINGS, withdraw=[chosen.file_name], **where)
    with store.read() as connection:
        left = images_of(connection, dataset_id(connection, "series"))
    assert {row.path for row in left} == {row.path for row in rows} - {chosen.path}
    local.run(cubes, "series", overrides=SETTINGS, **where)
    assert checksum(store) == before
