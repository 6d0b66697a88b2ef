"""The benchmark itself works, on tiny images, and its judgement sees what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from benchmarks.finder_process import OURS, Finder, FinderError, finder_pool
from benchmarks.finder_targets import expected_false, judge

from benchmarks import bench_finders

HELD = "ours, shape held"
SPLIT = "ours, held, split"
FINDERS = {
    HELD: Finder(HELD, Path(sys.executable), OURS, ("held",)),
    SPLIT: Finder(SPLIT, Path(sys.executable), OURS, ("held", "split")),
}
ROW = {
    "snr": [100.0, None], "n": 5000, "completeness": 0.999, "completeness_error": 0.0004,
    "pulls": [1.0, 1.0, 1.0, 1.0], "pull_error": 0.01,
    **{
        f"{quantity}_{key}_{unit}{end}": value
        for quantity in ("peak", "flux")
        for key in ("bias", "mean_bias")
        for unit in ("sigma", "percent")
        for end, value in (("", 0.01), ("_error", 0.005))
    },
}  # fmt: skip
PAIR = {"snr": [5.0, 6.0], "difference": -0.01, "in_errors": -1.0, "best_other": "sep"}
GOOD = {
    "accuracy": {
        "base": {HELD: {"bins": [ROW]}},
        "blend": {HELD: {"bins": [ROW]}, SPLIT: {"bins": [ROW]}},
        "noise": {HELD: {"bins": [], "spurious": 6, "megapixels": 64.0}},
    },
    "faint": {
        "base": {
            "noise_megapixels": 64.0,
            "finders": {HELD: {"false_above": {"4": 400, "5": 8}, "bins": [PAIR]}},
        }
    },
    "speed": {
        HELD: {"1024": {"cpu_s": {"min": 0.06}, "peak_mb": 150.0}},
        "sep": {"1024": {"cpu_s": {"min": 0.06}, "peak_mb": 80.0}},
    },
    "import_cpu_s": 0.4,
}
# Where it is, what stands there instead, and words of the target that is then not met.
FAULTS = [
    (("accuracy", "base", HELD, "bins", 0, "pulls", 2), 1.09, "pulls of peak"),
    (("accuracy", "base", HELD, "bins", 0, "pulls", 1), 0.91, "pulls of peak"),
    (("accuracy", "blend", SPLIT, "bins", 0, "pulls", 0), 1.16, "pulls of peak"),
    (("accuracy", "blend", SPLIT, "bins", 0, "completeness"), 0.99, "found above 100"),
    (("accuracy", "noise", HELD, "spurious"), 20, "false detections at 5 sigma"),
    (("faint", "base", "finders", HELD, "false_above", "4"), 300, "false detections at 4 sigma"),
    (("faint", "base", "finders", HELD, "bins", 0, "in_errors"), -2.1, "equal false rate"),
    (("speed", HELD, "1024", "cpu_s", "min"), 0.073, "CPU time"),
    (("speed", HELD, "1024", "peak_mb"), 193.0, "memory"),
    (("import_cpu_s",), 0.61, "import of the modules"),
]


def test_good_figures_meet_all_targets() -> None:
    targets = judge(FINDERS, **GOOD)
    assert {item.verdict for item in targets} == {"met"}
    # Blends are judged with splitting only.
    assert not any(item.where == f"blend, {HELD}" for item in targets)
    assert any(item.where == f"blend, {SPLIT}" for item in targets)


@pytest.mark.parametrize(("place", "value", "what"), FAULTS)
def test_a_fault_is_the_one_target_not_met(place: tuple, value: float, what: str) -> None:
    figures = json.loads(json.dumps(GOOD))
    part = figures
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (missed,) = [item for item in judge(FINDERS, **figures) if not item.met]
    assert what in missed.what


@pytest.mark.parametrize(
    ("sigma", "percent", "verdict"),
    [(0.3, 0.05, "met"), (0.04, 5.0, "met"), (-0.3, -0.3, "NOT MET"),
     (0.06, 0.3, "NOT MET, within 3 errors")],
)  # fmt: skip
def test_a_bias_must_be_small_in_one_of_both_units(
    sigma: float, percent: float, verdict: str
) -> None:
    figures = json.loads(json.dumps(GOOD))
    row = figures["accuracy"]["base"][HELD]["bins"][0]
    row["flux_mean_bias_sigma"], row["flux_mean_bias_percent"] = sigma, percent
    (target,) = [
        item for item in judge(FINDERS, **figures)
        if item.what.startswith("flux mean") and item.where.startswith("base")
    ]  # fmt: skip
    assert target.verdict == verdict


def test_noise_of_a_set_has_the_peaks_of_its_beam() -> None:
    assert 64.0 * expected_false("base", 5.0) == pytest.approx(5.2, abs=0.1)
    # Half the area of correlation, or 0.28 of it; less what falls between the pixels.
    assert expected_false("nat", 5.0) / expected_false("base", 5.0) == pytest.approx(1.7, abs=0.1)
    assert expected_false("coarse", 5.0) / expected_false("base", 5.0) == pytest.approx(
        2.5, abs=0.1
    )


FOLDER = str(Path(bench_finders.__file__).with_name("finders"))
SCRIPT = f"""
import sys
sys.path.insert(0, {FOLDER!r})
from catalogue import COLUMNS, main
def load():
    # Here it loads.
    def find(path, threshold, options):
        print("words of the finder itself")
        if path.stem == "bad":
            raise ValueError("no such beam")
        return {{name: [threshold, len(path.stem)] for name in COLUMNS}}
    return find
main(load, lambda: "fake 1")
"""


class TestFinderPool:
    @pytest.fixture
    def finder(self, tmp_path: Path) -> Finder:
        script = tmp_path / "fake.py"
        script.write_text(SCRIPT)
        return Finder("fake", Path(sys.executable), str(script))

    def test_catalogues_come_in_the_order_of_the_images(
        self, finder: Finder, tmp_path: Path
    ) -> None:
        images = [tmp_path / f"{'i' * n}.fits" for n in range(1, 8)]
        with finder_pool(2) as pool:
            catalogues, seconds = pool.catalogues(finder, images, 4.5)
            assert pool.version(finder) == "fake 1"
        assert [item["snr"].tolist() for item in catalogues] == [[4.5, n] for n in range(1, 8)]
        assert len(seconds) == 7

    def test_a_finder_that_is_not_there_says_so(self, finder: Finder, tmp_path: Path) -> None:
        Path(finder.script).write_text(SCRIPT.replace("# Here it loads.", "import nobodys"))
        with finder_pool(1) as pool, pytest.raises(FinderError, match="nobodys"):
            pool.catalogues(finder, [tmp_path], 5.0)

    def test_an_image_that_fails_is_reported_and_the_next_one_works(
        self, finder: Finder, tmp_path: Path
    ) -> None:
        with finder_pool(1) as pool:
            with pytest.raises(FinderError, match=r"(?s)fake failed: .*no such beam"):
                pool.catalogues(finder, [tmp_path / "bad.fits"], 5.0)
            assert len(pool.catalogues(finder, [tmp_path / "good.fits"], 5.0)[0]) == 1


@pytest.mark.slow
def test_the_last_line_is_json_and_tables_are_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "tables.md"
    tiny = ["--images", "2", "--size", "256", "--faint-images", "1", "--noise-images", "2"]
    few = ["--sets", "base,blend,noise", "--faint-sets", "base", "--repetitions", "1"]
    bench_finders.main([*tiny, *few, "--speed", "128", "--only", "held", "--markdown", str(table)])
    made = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert made["benchmark"] == "finders"
    assert set(made["accuracy"]["base"]) == {HELD}
    assert set(made["accuracy"]["blend"]) == {HELD, SPLIT}
    assert made["accuracy"]["noise"][HELD]["megapixels"] == 0.125
    assert set(made["speed"]) == {HELD, SPLIT}
    assert set(made["equal_false_rate"]["base"]["finders"]) == {HELD}
    assert {item["what"][:6] for item in made["targets"]} >= {"pulls ", "memory", "import"}
    rows = table.read_text().splitlines()
    assert sum(row.startswith("| blend") for row in rows) == 2
    assert {row.count("|") for row in rows if row.startswith("| blend")} == {14}
