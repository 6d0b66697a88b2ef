"""Projects, jobs, and what `run` makes of them."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from trap_ops.commands import cluster_run
from trap_ops.commands import run as run_verb
from trap_ops.commands.__main__ import main
from trap_ops.commands.environment import store_url
from trap_ops.commands.jobs import read_job
from trap_ops.errors import ConfigError
from trap_ops.images.parset import KEYS, read_parset
from unit.commands.classic_files import write_project

JOB = """dataset = "night 1"
configuration = "lofar"
[extraction]
margin_px = 5
detection_threshold_sigma = 6
[images.header]
start = ["MYDATE"]
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "night1"
    folder.mkdir()
    (folder / "job.toml").write_text(JOB)
    (folder / "images.txt").write_text(
        "# all\n\n/data/a b.fits\n  more/*.fits  \ns3://bucket/x/\n~/here\n"
    )
    (folder / "monitor.txt").write_text("# mine\n123.4 -20.1 my source\n08:13:36 -20:06:10\n")
    return folder


def parameters(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    run_verb.add_parser(parser.add_subparsers())
    return run_verb.parameters(parser.parse_args(["run", *words]))


def refused(*words: str) -> str:
    with pytest.raises(ConfigError) as raised:
        parameters(*words)
    return raised.value.message


# ---- Running a job.


def test_a_job_is_a_run_with_its_values(job: Path) -> None:
    said = parameters(
        *("/data/a b.fits", str(job / "more" / "*.fits"), "s3://bucket/x/", "~/here"),
        *("--dataset", "night 1", "--config", "lofar"),
        *("--set", "extraction.margin_px=5", "--set", "extraction.detection_threshold_sigma=6"),
        *("--set", 'images.header.start=["MYDATE"]'),
        *("--monitor", "123.4 -20.1 my source", "--monitor", "08:13:36 -20:06:10"),
    )
    assert parameters(str(job)) == said
    assert len(said["images"]) == 4
    assert said["monitor"][0] == "123.4, -20.1, my source"


def test_the_cluster_and_this_process_get_the_same_of_a_job(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def keep(
        _console: object, _store: object, conf: Any, *_more: object, **_options: object
    ) -> int:
        given.append(conf)
        return 0

    monkeypatch.setenv("TRAP_DB", f"sqlite:///{tmp_path / 'results.db'}")
    monkeypatch.delenv(run_verb.EAGER, raising=False)
    monkeypatch.setattr(run_verb, "run_dag", keep)
    monkeypatch.setattr(cluster_run, "run_on_cluster", keep)
    assert main(["run", str(job), "--cluster"]) == 0
    monkeypatch.setattr(cluster_run, "run_on_cluster", None)
    assert main(["run", str(job)]) == 0
    assert given == [parameters(str(job))] * 2


def test_relative_paths_begin_at_the_job(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(job.parent)
    images = parameters("night1")["images"]
    assert images[1] == str(job / "more" / "*.fits")
    assert images[3] == str(Path("~/here").expanduser())


def test_the_folder_itself_is_no_pattern(job: Path, tmp_path: Path) -> None:
    (tmp_path / "set[1]").mkdir()
    moved = job.rename(tmp_path / "set[1]" / "night1")
    (moved / "images.txt").write_text("more/*.fits\none.fits\n")
    assert parameters(str(moved))["images"] == [
        f"{tmp_path}/set[[]1]/night1/more/*.fits",
        f"{tmp_path}/set[1]/night1/one.fits",
    ]


def test_the_command_line_wins(job: Path) -> None:
    made = parameters(
        *(str(job), "--dataset", "other", "--config", "auto"),
        *("--set", "extraction.margin_px=0", "--set", "quality.rms_max_jy=1"),
        *("--set", 'images.header.unit=["U"]'),
    )
    assert (made["dataset"], made["configuration"]) == ("other", "auto")
    assert made["overrides"] == {
        "extraction": {"margin_px": 0, "detection_threshold_sigma": 6},
        "quality": {"rms_max_jy": 1},
        "images": {"header": {"start": ["MYDATE"], "unit": ["U"]}},
    }


def test_lists_of_positions_are_joined_and_each_is_there_once(job: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.json"
    listed.write_text("[[10.5, 41.2], [123.4, -20.1]]")
    made = parameters(
        str(job), "-m", "[[1, 2], [-359, 2]]", "-l", str(listed), "--monitor", "1 2 x"
    )
    assert [text.split(", ")[:2] for text in made["monitor"]] == [
        ["123.4", "-20.1"],
        ["123.4", repr(-20 - 6 / 60 - 10 / 3600)],
        ["1.0", "2.0"],
        ["10.5", "41.2"],
    ]
    assert made["monitor"][0].endswith(", my source")
    assert made["monitor"][2].endswith(", x")
    assert parameters("/a", "--dataset", "d", "-m", "[[1, 2]]")["monitor"] == [
        "1.0, 2.0, monitor J000400.0+020000"
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/a.fits"], "say which dataset the images belong to"),
        (["/a.fits", "--dataset", ""], "the name of a dataset is blank"),
        (["JOB", "/a.fits"], "is a job, and is run alone"),
        (["JOB", "--config", "loffar"], "did you mean 'lofar'"),
        (["JOB", "-m", "1 2"], "--monitor-coords 1 2: write"),
        (["JOB", "-m", "[[1]]"], "position 1"),
        (["JOB", "-l", "/none"], "positions /none cannot be read"),
        (["JOB", "--monitor", "1"], "position '1' cannot be read"),
    ],
)
def test_what_is_wrong_on_the_command_line(job: Path, words: list[str], said: str) -> None:
    assert said in refused(*(str(job) if word == "JOB" else word for word in words))


def test_a_classic_job_is_told_to_be_converted(tmp_path: Path) -> None:
    old = write_project(tmp_path / "old")
    assert f"by `trap-manage import-job {old}`" in refused(str(old), "--dataset", "d")


def test_all_problems_of_a_job_are_told_together(job: Path) -> None:
    (job / "job.toml").write_text(
        'datset = "x"\nconfiguration = "default"\n[extraction]\nmargin_pxx = 3\n'
        "detection_threshold_sigma = -1\n[extracton]\n"
    )
    (job / "images.txt").write_text("/a\nftp://host/b.fits\n")
    (job / "monitor.txt").write_text("# fine\n1 2\n1 x\n1 95\n")
    with pytest.raises(ConfigError) as raised:
        read_job(job)
    lines = raised.value.message.splitlines()
    assert lines[0] == f"job {job} has 8 problems:"
    for part in (
        "job.toml: datset is neither a key nor a section of it (did you mean 'dataset'?)",
        "job.toml: extracton is neither a key nor a section of it (did you mean 'extraction'?)",
        'job.toml: dataset is missing: write dataset = "NAME"',
        "job.toml: extraction.margin_pxx is not a setting (did you mean 'margin_px'?)",
        "job.toml: extraction.detection_threshold_sigma = -1: input should be greater than 0",
        "images.txt, line 2: ",
        "monitor.txt, line 3: position '1 x' cannot be read",
        "monitor.txt, line 4: monitoring position (1.0, 95.0) is not on the sky",
    ):
        assert any(line.strip().startswith(part) for line in lines), (part, lines)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("job.toml", b"dataset = \n", "is not valid TOML: Invalid value (at line 1, column 11)"),
        ("job.toml", b"dataset = 3\n", "job.toml: dataset = 3 is no text"),
        ("job.toml", b'dataset = "x"\nconfiguration = "lofr"', "did you mean 'lofar'"),
        ("job.toml", b'dataset = "x"\nextraction = 3\n', "job.toml: extraction = 3"),
        ("job.toml", b'dataset = "x"\n[images]\ndata_roots = ["/"]\n', "guards the site"),
        ("images.txt", b"", "images.txt names no image"),
        ("images.txt", b"\xff", "images.txt cannot be read: it is not text in UTF-8"),
        ("images.txt", None, "images.txt is missing"),
        ("monitor.txt", b"\xff", "monitor.txt cannot be read"),
    ],
)
def test_what_is_wrong_in_a_file(job: Path, name: str, content: bytes | None, said: str) -> None:
    (job / name).unlink()
    if content is not None:
        (job / name).write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        read_job(job)
    assert said in raised.value.message


def test_a_job_needs_no_positions(job: Path) -> None:
    (job / "monitor.txt").unlink()
    assert read_job(job).monitor == ()


# ---- Making them.


def made(*words: str) -> int:
    return main([*words])


def test_a_project_and_a_job_are_made_and_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made("initproject", "My-survey_2", "-t", str(tmp_path)) == 0
    project = tmp_path / "My-survey_2"
    assert sorted(path.name for path in project.iterdir()) == ["README.md", "project.env"]
    monkeypatch.chdir(project)
    assert made("initjob", "night1") == 0
    monkeypatch.chdir(tmp_path)
    (project / "night1" / "images.txt").write_text("/data\n")
    (project / "README.md").write_text("mine")
    (project / "night1" / "monitor.txt").unlink()
    capsys.readouterr()
    assert made("initproject", "My-survey_2", "--target", str(tmp_path)) == 0
    assert made("initjob", "night1", "--project", str(project)) == 0
    said = capsys.readouterr().out
    assert said.count("kept ") == 5
    assert said.count("made ") == 1
    assert (project / "README.md").read_text() == "mine"
    job = read_job(project / "night1")
    assert (job.dataset, job.images, job.settings) == ("night1", ("/data",), {})


@pytest.mark.parametrize("verb", ["initproject", "initjob"])
@pytest.mark.parametrize("name", ["1a", "a b", "../a", "", "a/b", "ä", "x" * 101])
def test_names_are_those_of_classic_trap(
    verb: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert made(verb, name) == 1
    assert list(tmp_path.iterdir()) == []


def test_places_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert made("initproject", "p", "-t", str(tmp_path / "none")) == 1
    assert "there is no directory" in capsys.readouterr().err
    assert made("initjob", "j", "--project", str(tmp_path)) == 1
    assert "is no project, because it has no project.env" in capsys.readouterr().err


def test_a_shell_takes_the_project_s_variables(tmp_path: Path) -> None:
    directory = tmp_path / "a b"
    directory.mkdir()
    assert made("initproject", "My-survey", "-t", str(directory)) == 0
    path = directory / "My-survey" / "project.env"
    assert not re.search("(?m)^export", path.read_text())
    path.write_text(re.sub("(?m)^#export", "export", path.read_text()))
    printed = subprocess.run(
        ["bash", "-euc", '. "$1"; env -0', "bash", path],
        check=True, capture_output=True, text=True, env={},
    ).stdout  # fmt: skip
    found = dict(item.split("=", 1) for item in printed.rstrip("\0").split("\0"))
    assert found["TRAP_VAR"] == str(path.parent / "var")
    assert found["TRAP_EAGER"] == "1"
    # The second one of the two was last.
    assert store_url(found) == "postgresql://me@dbhost:5432/my_survey"


def test_the_example_of_a_parset_has_every_key(tmp_path: Path) -> None:
    assert made("initproject", "p", "-t", str(tmp_path)) == 0
    assert made("initjob", "j", "--project", str(tmp_path / "p")) == 0
    text = (tmp_path / "p" / "j" / "inject.cfg").read_text()
    assert set(read_parset(re.sub("(?m)^#(?=[a-z])", "", text), "inject.cfg")) == set(KEYS)
