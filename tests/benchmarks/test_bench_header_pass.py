"""The benchmark of the header pass works, on a few files. Its figures are not tested."""

from __future__ import annotations

import json

import pytest

from benchmarks import bench_header_pass


def test_the_last_line_is_json_with_all_figures(capsys: pytest.CaptureFixture[str]) -> None:
    bench_header_pass.main(["--files", "3"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["benchmark"], result["files"]) == ("header_pass", 3)
    assert [kind["name"] for kind in result["kinds"]] == [k.name for k in bench_header_pass.KINDS]
    for kind in result["kinds"]:
        assert kind["files_per_cpu_s"] > 0
        # The pixels would be 4 MB; a long history is a quarter of that.
        assert 2880 < kind["bytes_read_per_file"] < 1e6
        assert kind["mb_at_the_end"] >= kind["mb_early"] > 20
