"""The benchmark itself works, on a series that takes seconds. Its figures are not tested."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from benchmarks.bench_main_job import AIRFLOW, STAGES, TRAP, Sample, Series

from benchmarks import bench_main_job, environment, trap_peer

TINY = ["--images", "2", "--size", "128", "--sources", "8", "1", "1", "--repeat", "1"]
STAGE_NAMES = {
    "register_images", "measure_quality", "judge_quality", "extract_sources", "associate",
    "fit_forced", "measure_variability", "find_candidates", "publish",
}  # fmt: skip


def test_the_last_line_is_json_with_all_figures(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bench_main_job.main([*TINY, "--no-airflow", "--no-warm-up", "--cache", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("stages alone") for line in lines)
    result = json.loads(lines[-1])
    assert result["benchmark"] == "main_job"
    assert result["repeat"] == 1
    assert result["budgets"] == {AIRFLOW: 6.0, STAGES: 15.0}
    assert {"date", "cpu", "cores", "load", "python", "packages", "code", "settings"} <= set(
        result["environment"]
    )
    assert {"code_changed_meanwhile", "warm_up", "trap", "finished"} <= set(result)
    (series,) = result["series"]
    assert (series["images"], series["size_px"], series["ratios"]) == (2, 128, {})
    figures = series["programs"].pop(STAGES)
    assert not series["programs"]
    assert set(figures["inside_s"]) == STAGE_NAMES
    inside, outside = sum(figures["inside_s"].values()), sum(figures["outside_s"].values())
    wall = figures["wall_s"]["min"]
    assert 0 < inside < wall
    assert inside + outside == pytest.approx(wall, abs=0.05)
    assert min(figures["outside_s"].values()) > -0.01
    assert figures["wall_s"]["all"] == [wall]
    assert figures["cpu_s"]["min"] > 0
    assert figures["found"]["images"] == 2
    # Of numpy and astropy alone.
    assert figures["peak_mb"] > 50


def test_all_programs_run_in_turns_on_all_series(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = [Series(n, 128, 8, 1, 1) for n in (2, 3)]
    calls: list[tuple[str, str]] = []

    def run(self: object, program: str, images: Path) -> Sample:
        calls.append((program, images.name))
        number = int(images.name)
        wall = {AIRFLOW: 3.0, STAGES: 1.0, TRAP: 12.0}[program] + 0.5 * (len(calls) > 6)
        measured = environment.Measured(0.0, wall, wall, wall / 2, 100.0, 0.0)
        found = {"images": number, "detections": number * 10, "sky sources": 10, "forced fits": 0}
        return Sample(measured, {"a": 0.25}, {"b": wall - 0.25}, found, (0.5, 0.75))

    monkeypatch.setattr(bench_main_job.Bench, "run", run)
    bench = bench_main_job.Bench(tmp_path, tmp_path, "threads")
    everything = {one: tmp_path / str(one.images) for one in series}
    found = bench_main_job.measure(bench, [AIRFLOW, STAGES, TRAP], everything, 2)
    assert calls == [(p, n) for n in ("2", "3") for p in (AIRFLOW, STAGES, TRAP)] * 2
    figures = found[series[0]]
    assert figures[STAGES]["wall_s"] == {"min": 1.0, "median": 1.25, "all": [1.0, 1.5]}
    assert figures[STAGES]["outside_s"] == {"b": 0.75}
    ratios = bench_main_job.ratios(figures)
    assert ratios[AIRFLOW] == {
        "wall_min": 4.0,
        "wall_median": 3.77,
        "cpu_min": 4.0,
        "cpu_median": 3.77,
    }
    bench_main_job.print_series(series[0], figures)
    assert "TraP / whole job through Airflow: wall 4.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [{"images": 1}, {"detections": 9}, {"sky sources": 14}, {"sky sources": 0}]
)
def test_a_program_that_did_not_do_the_job_is_refused(wrong: dict[str, int]) -> None:
    right = {"images": 2, "detections": 19, "sky sources": 9, "forced fits": 1}
    bench_main_job.check_found(STAGES, Series(2, 128, 8, 1, 1), right)
    with pytest.raises(bench_main_job.NotTheJobError, match="did not do the job"):
        bench_main_job.check_found(STAGES, Series(2, 128, 8, 1, 1), right | wrong)


def test_a_process_is_measured(tmp_path: Path) -> None:
    script = "import time; block = b'x' * 400_000_000; time.sleep(0.2)"
    before = time.time()
    measured = environment.run_measured(
        [sys.executable, "-c", script],
        tmp_path / "log",
        environ=environment.child_environment(),
        directory=tmp_path,
    )
    assert before <= measured.started < measured.ended <= time.time()
    assert measured.wall_s > 0.2
    assert measured.cpu_s > 0
    assert measured.peak_mb > 400


def test_a_process_that_fails_shows_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(environment.ProcessFailedError, match=r"exit status 3:\nthe reason"):
        environment.run_measured(
            [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"],
            tmp_path / "log",
            environ=environment.child_environment(),
            directory=tmp_path,
        )


def test_children_get_the_same_settings_and_nothing_of_the_pipeline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRAP_DB", "sqlite:////somewhere/else.db")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    made = environment.child_environment({"TRAP_VAR": "/here"})
    assert made["OMP_NUM_THREADS"] == made["NUMBA_NUM_THREADS"] == "1"
    assert int(made["MALLOC_MMAP_THRESHOLD_"]) > 1024**2 * 4
    assert made["TRAP_VAR"] == "/here"
    assert "TRAP_DB" not in made
    assert "PYTHONDONTWRITEBYTECODE" not in made
    assert "PATH" in made


def test_what_trap_did_is_read_from_its_database_and_log(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "trap.db")
    connection.executescript(
        "CREATE TABLE images (id, rejected); INSERT INTO images VALUES (0, 0), (1, 0), (2, 1);"
        "CREATE TABLE extracted_sources (id, is_force_fit);"
        "INSERT INTO extracted_sources VALUES (0, 0), (1, 0), (2, 1);"
        "CREATE TABLE variability (id); INSERT INTO variability VALUES (0), (1);"
    )
    connection.close()
    log = tmp_path / "log"
    colour = "\x1b[38;20m2026-11-23 12:40:"
    log.write_text(
        f"{colour}45,038 - TraP - INFO - Gathering .fits files in: /x (cli.py:519)\x1b[0m\n"
        "Number of detected sources = 2\n"
        f"{colour}46,684 - TraP - INFO - freq_band: 0.0 (io.py:417)\x1b[0m\n"
        f"{colour}47,710 - TraP - INFO - freq_band: 0.0 (io.py:417)\x1b[0m\n"
    )
    done = trap_peer.read_trap_run(tmp_path / "trap.db", log)
    assert done.found == {"images": 2, "detections": 2, "sky sources": 2, "forced fits": 1}
    ready = datetime(2026, 11, 23, 12, 40, 45, 38000).astimezone()
    assert done.ready == ready.timestamp()
    assert done.seconds_an_image == pytest.approx((1.026, 1.026))
    log.write_text("")
    with pytest.raises(ValueError, match="is this TraP"):
        trap_peer.read_trap_run(tmp_path / "trap.db", log)


def test_an_environment_without_trap_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        bench_main_job.parse_arguments(["--trap-env", str(tmp_path)])
    assert "there is no bin/trap-run" in capsys.readouterr().err
