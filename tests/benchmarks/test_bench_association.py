"""The benchmark of association works, on few sources. Its figures are not tested."""

from __future__ import annotations

import json

import pytest

from benchmarks import bench_association


def test_the_last_line_is_json_with_all_figures(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--detections", "500", "--repetitions", "1", "--images", "8", "--timed", "2"]
    bench_association.main([*words, "--drawn", "12", "--sources", "30"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["benchmark"] == "association"
    # Steady sources, so nearly each finds its own.
    assert result["one_image"]["pairs"] >= 0.95 * result["one_image"]["detections"] > 400
    grown = result["appended"]["sqlite"]
    assert grown["images"] == 8
    assert grown["points"] >= 0.95 * 8 * grown["sky_sources"] > 0
    assert grown["wall"]["ratio"] > 0.0
    drawn = result["drawn"]["sqlite"]
    assert drawn["points"] >= 0.9 * 13 * 30
    assert drawn["points_per_s"] > 0.0
