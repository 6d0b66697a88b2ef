"""The benchmark of forced fits works, on a small image. Its figures are not tested."""

from __future__ import annotations

import json

import pytest

from benchmarks import bench_forced_fits


def test_the_last_line_is_json_with_all_figures(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--images", "2", "--size", "256", "--counts", "10,100", "--repetitions", "1"]
    bench_forced_fits.main(words)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["benchmark"] == "forced_fits"
    assert {"date", "cpu", "code", "settings"} <= set(result["environment"])
    assert list(result["speed"]) == ["10", "100"]
    assert list(result["accuracy"]) == list(bench_forced_fits.NAMES)
    for kinds in result["accuracy"].values():
        assert kinds["sources"]["positions"] > 20
        for entry in kinds.values():
            assert 0.5 < entry["pull"] < 1.5
            assert abs(entry["bias_sigma"]) < 1.0
