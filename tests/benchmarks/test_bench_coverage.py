"""The benchmark itself works, on images that take a second. Its figures are not tested."""

from __future__ import annotations

import json

import pytest

from benchmarks import bench_coverage


@pytest.mark.slow
def test_the_last_line_is_json_with_all_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One is enough: each starts two processes.
    monkeypatch.setattr(bench_coverage, "CASES", bench_coverage.CASES[:1])
    bench_coverage.main(["--small"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["benchmark"] == "coverage"
    assert {"date", "cpu", "code", "settings"} <= set(result["environment"])
    (case,) = result["cases"]
    assert (case["images"], case["size_px"], case["moving"]) == (10, 128, False)
    assert case["shown"] == case["images"]
    # All but the margin of 10 pixels of 5 arcsec.
    side = (case["size_px"] - 20) * 5.0 / 3600.0
    assert case["area_deg2"] == pytest.approx(side**2, rel=0.05)
    for what in ("export", "position"):
        assert case[what]["wall_s"] > 0.0
        assert case[what]["peak_mb"] > 50.0
