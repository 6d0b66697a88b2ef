"""The benchmark of association works, on few sources. Its figures are not tested."""

from __future__ import annotations

import json

import pytest

from benchmarks import bench_association


def test_the_last_line_is_json_with_all_figures(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--detections", "500", "--repetitions", "1", "--images", "24", "--sources", "30"]
    bench_association.main(words)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["benchmark"] == "association"
    # Steady sources, so nearly each finds its own.
    assert result["one_image"]["pairs"] >= 0.95 * result["one_image"]["detections"] > 400
    assert set(result["appended"]) == {"sqlite"}
    assert result["appended"]["sqlite"]["ratio"] > 0.0
