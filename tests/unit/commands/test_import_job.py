"""Jobs of classic TraP become jobs of this pipeline, and every key is accounted for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trap_ops.commands.__main__ import main
from trap_ops.commands.classic.ini_files import read_ini, value_of
from trap_ops.commands.classic.job_conversion import ConvertedJob, convert_job, written
from trap_ops.commands.classic.job_keys import KEYS
from trap_ops.commands.classic.project_conversion import convert_celery, convert_pipeline
from trap_ops.commands.environment import CONFIGURATIONS
from trap_ops.commands.jobs import read_job
from trap_ops.config.load import load_configuration
from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line
from unit.commands.classic_files import (
    CELERY,
    JOB_PARAMS,
    OLD_JOB_PARAMS,
    PIPELINE,
    write_project,
)

HIDDEN, RABBIT = "s3cr%t", "rabbit.example.org:5672/trap"


def converted(text: str, name: str = "night1") -> ConvertedJob:
    return convert_job(read_ini(text, "job_params.cfg"), name, CONFIGURATIONS)


def said_of(job: ConvertedJob, key: str) -> str:
    (found,) = [item for item in job.findings if re.search(rf"\] {key}\b", item.where)]
    return found.said


def problems(job: ConvertedJob) -> list[str]:
    return [f"{item.where}: {item.said}" for item in job.findings if item.problem]


# ---- The keys of a job.


def test_every_key_of_the_template_is_accounted_for() -> None:
    job = converted(JOB_PARAMS)
    assert problems(job) == []
    for key in KEYS:
        if key.name != "back_size_y":  # Told with the other.
            assert re.match(
                r"converted to |has no meaning here: \w|left at the default: \w|is the template's",
                said_of(job, key.name),
            ), key.name
    assert all(key.setting in {"", *job.settings} for key in KEYS if key.name != "min_separation")


def test_the_settings_are_those_of_the_file_and_not_the_defaults() -> None:
    """Every number is changed, so that a key that leads elsewhere is seen."""
    text, count = re.subn(r"(?m)^(\w+ *= *)(\d+(\.\d+)?)$", r"\g<1>\g<2>7", JOB_PARAMS)
    assert count == 26
    text = text.replace("rms_est_fraction = 87", "rms_est_fraction = 9").replace("True", "False")
    job = converted(text.replace("back_size_y = 507", "back_size_y = 128"))
    assert problems(job) == []
    assert job.settings == {
        "quality.rms_clip_sigma": 47.0,
        "quality.rms_fraction": 9,
        "images.bandwidth_max_hz": 0.07,
        "quality.rms_history_images": 1007,
        "quality.rms_max_jy": 1007.0,
        "quality.rms_min_jy": 0.07,
        "quality.rms_rejection_sigma": 37.0,
        "quality.beam_max_px": 307.0,
        "quality.beam_max_ratio": 2.07,
        "quality.noise_low_factor": 17.0,
        "quality.noise_high_factor": 807.0,
        "quality.bright_reject_deg": 107.0,
        "extraction.detection_threshold_sigma": 87.0,
        "extraction.analysis_threshold_sigma": 37.0,
        "extraction.background_cell_px": 254.747,
        "extraction.margin_px": 107,
        "extraction.radius_px": 2507.0,
        "extraction.force_beam": False,
        "extraction.ew_sys_err_arcsec": 107.0,
        "extraction.ns_sys_err_arcsec": 107.0,
        "forced_fits.expiration": 107,
        "association.deruiter_radius": 5.687,
        "association.beamwidths_limit": 3.07,
        "new_sources.sigma_margin": 17.0,
    }


def test_older_places_names_and_comments() -> None:
    job = converted(OLD_JOB_PARAMS)
    assert problems(job) == []
    assert job.dataset == "Night 1; the first"
    assert job.settings == {
        "quality.rms_clip_sigma": 5.0,
        "quality.rms_fraction": 4,
        "quality.rms_max_jy": 0.5,
        "quality.beam_max_px": 20.0,
        "quality.beam_max_ratio": 1.5,
        "extraction.background_cell_px": 40.0,
        "extraction.force_beam": False,
        "forced_fits.forward": False,
    }
    assert said_of(job, "deruiter_radius").startswith("is not there: left at the default of assoc")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rms_est_maxx = 3", r"rms_est_maxx = 3: is no key .* \(did you mean 'rms_est_max'\?\)"),
        ("margin = 3", r"margin = 3: is no key .*\(is it meant for \[source_extraction\]\?\)"),
        ("rms_est_min = 3 Jy", r"rms_est_min = 3 Jy: cannot be used: must be a number$"),
        ("rms_est_min = True", r"rms_est_min = True: cannot be used: must be a number$"),
        ("rms_est_history = 2.5", "must be a whole number of usual size"),
        ("rms_est_history = 0", r"rms_history_images = 0: .* is left out: quality.rms_history_im"),
        ("rms_est_max = 1e999", "must be a number of usual size"),
        ("rms_est_max = 0x" + "f" * 5000, r"0xf+\.\.\.: cannot be used: must be a number of usual"),
        ("rms_est_max = " + "9" * 5000, r"9+\.\.\.: cannot be used: must be a number$"),
        ("rms_est_max = " + "(" * 5000, r"\.\.\.: cannot be used: must be a number$"),
        ("rms_est_max = __import__('os').getcwd()", "must be a number$"),
        (
            "rms_est_min = 2\nrms_est_max = 1",
            "rms_min_jy = 2.0 .* must be below quality.rms_max_jy",
        ),
    ],
)
def test_what_cannot_be_used_is_named_and_the_rest_goes_on(line: str, said: str) -> None:
    job = converted(f"[quality]\n{line}\nelliptical_x = 1.7\n")
    (problem,) = problems(job)
    assert re.search(said, problem), problem
    assert job.settings.pop("quality.beam_max_ratio") == 1.7
    assert job.settings == {}
    assert not any(item.said.startswith("converted") for item in job.findings[:3])


def test_a_key_in_two_places() -> None:
    job = converted("[quality]\nrms_est_max = 1\n[persistence]\nrms_est_max = 2\n")
    assert job.settings == {"quality.rms_max_jy": 1.0}
    (problem,) = problems(job)
    assert problem == (
        "job_params.cfg [persistence] rms_est_max: is not used: "
        "[quality] rms_est_max is there as well"
    )


@pytest.mark.parametrize(
    ("lines", "streams"),
    [
        ("hosts = ',,'\nports = '6666,6667,6668'", "localhost:6666 localhost:6667 localhost:6668"),
        ("hosts = 'a.b, c-d'\nports = 6666,6667", "a.b:6666 c-d:6667"),
        ("hosts = struis\nports = 6666", "struis:6666"),
        ("hosts = ','\nports = '6666'", None),
        ("hosts = ''\nports = '66666'", None),
        ("hosts = 'a;rm -r b'\nports = '6666'", None),
        ("", None),
    ],
)
def test_streams(lines: str, streams: str | None) -> None:
    job = converted(f"[pipeline]\nmode = 'stream' ; batch or stream\n{lines}\n")
    assert " ".join(job.streams) == (streams or "")
    assert bool(problems(job)) is (streams is None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[a]\nx = 1\nx = 2", 3),
        ("[a]\n[a]", 2),
        ("password = hunter2", 1),
        ("[a]\nhunter2", 2),
    ],
)
def test_what_is_no_ini_file_is_told_without_its_text(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=f"job_params.cfg, line {line}: ") as raised:
        converted(text)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("8 ; eight", 8),
        ("'a ; b' ; c", "a ; b"),
        ("postgresql ;(or monetdb)", "postgresql"),
        (";(monetdb)", ""),
        ("a;b", "a;b"),
        ("True", True),
    ],
)
def test_values(text: str, value: object) -> None:
    assert value_of(text) == value


def test_time_stamps_and_interpolation() -> None:
    assert str(value_of("2013-01-02T03:04:05.6")) == "2013-01-02 03:04:05.600000+00:00"
    text = "[DEFAULT]\na = %(cwd)s/x\n[s]\nb = %(a)s/%(none)s\nloop = %(loop)s%(loop)s\n"
    read = read_ini(text, "pipeline.cfg", {"cwd": "/p"})
    assert read["s"]["b"] == "/p/x/%(none)s"
    assert len(read["s"]["loop"]) < 20_000


# ---- Hostile jobs.

VALUES = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.text(max_size=30),
    st.sampled_from(
        ["None", "[[1]]", "{}", "b'x'", "''", "1j", "-1", "0", "\0", "'\\ud800'", "0x" + "f" * 300]
    ),
    st.recursive(st.just("1"), lambda inner: inner.map(lambda text: f"[{text}]"), max_leaves=5),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.dictionaries(st.sampled_from([(k.section, k.name) for k in KEYS]), VALUES, max_size=8)
)
def test_whatever_is_converted_is_valid(texts: dict[tuple[str, str], str]) -> None:
    given_texts: dict[str, dict[str, str]] = {}
    for (section, name), text in texts.items():
        given_texts.setdefault(section, {})[name] = text
    job = convert_job(given_texts, "night1", CONFIGURATIONS)
    load_configuration(CONFIGURATIONS, "default", job.nested())
    assert tomllib.loads(f"x = {written(job.dataset)}")["x"] == job.dataset
    told = [text for item in job.findings for text in (item.said, item.where)]
    assert [text for text in told if one_line(text) != text] == []


# ---- The project.


def test_the_database_and_its_password() -> None:
    made = convert_pipeline(read_ini(PIPELINE, "pipeline.cfg", {"cwd": "/p"}))
    assert made.lines == ["export TRAP_DB='postgresql://gijs@db.example.org:5432/lofar night_trap'"]
    assert [item for item in made.findings if item.problem] == []
    assert HIDDEN not in str(made)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("engine = 'monetdb'", "engine: is not postgresql"),
        ("port = 'x'", "port: cannot be used"),
        ("user = '\\n'", "cannot be seen"),
        ("passwrd = 'hunter2'", "passwrd: is no key of classic TraP .did you mean 'password'"),
    ],
)
def test_a_database_that_cannot_be_used(lines: str, said: str) -> None:
    made = convert_pipeline(read_ini(f"[database]\n{lines}\n", "pipeline.cfg"))
    told = "\n".join(f"{item.where}: {item.said}" for item in made.findings if item.problem)
    assert re.search(said, told)
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("text", "lines", "said"),
    [
        (CELERY, ["TRAP_EAGER=1", f"TRAP_BROKER=amqp://gijs:PASSWORD@{RABBIT}"], ""),
        ("BROKER_URL = 'amqp://guest@localhost//'", ["TRAP_BROKER=amqp://guest@localhost//"], ""),
        ("broker_url = 'redis://:s3cr%t@h:1/0?a=1'", ["TRAP_BROKER=redis://:PASSWORD@h:1/0"], ""),
        ("CELERY_ALWAYS_EAGER = False", [], ""),
        ("BROKER_URL = 'django://'", [], "tasks wait in RabbitMQ or Redis"),
        ("BROKER_URL = 'x'", [], "it is no address"),
        ("BROKER_URL = 'amqp://a:s3cr%t@' + host()", [], "only Python could tell what line 1 says"),
        ("BROKER_URL = url('s3cr%t')", [], "only Python could tell what line 1 says"),
        ("BROKER_URL = 's3cr%t", [], "look up BROKER_URL in it"),
        ("CELERY_ALWAYS_EAGER = yes", [], "set TRAP_EAGER by hand"),
    ],
)  # fmt: skip
def test_celery(text: str, lines: list[str], said: str) -> None:
    made = convert_celery(text)
    assert made.lines == [f"export {line}" for line in lines]
    told = [item.said for item in made.findings if item.problem]
    assert bool(told) is bool(said)
    assert said in "".join(told)
    assert HIDDEN not in str(made)


# ---- The verb.


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(["import-job", *words])
    said = capsys.readouterr()
    return status, said.out + said.err


def contents(folder: Path) -> dict[str, Any]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_job_is_imported_and_can_be_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_project(tmp_path / "old", images="images = ['/data/a.fits', 'here/b.fits']")
    (old / "inject.cfg").write_text("[inject]\nbmaj = 0.5\n")
    before = contents(old)
    monkeypatch.chdir(tmp_path)
    status, said = run(str(old), capsys=capsys)
    assert status == 0
    assert contents(old) == before
    new = contents(tmp_path / "night1")
    assert said.endswith(new["import-report.txt"])
    assert new["inject.cfg"] == before["inject.cfg"]
    assert HIDDEN not in said + "".join(new.values())
    assert "export TRAP_EAGER=1" in said
    job = read_job(tmp_path / "night1")
    assert job.dataset == "night1"
    assert job.images == ("/data/a.fits", str(tmp_path / "old" / "here" / "b.fits"))
    assert job.settings == converted(JOB_PARAMS).nested()
    assert run(str(old), capsys=capsys)[0] == 1
    assert contents(tmp_path / "night1") == new


def test_what_is_left_to_do_is_said_first_and_by_the_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = f"{JOB_PARAMS}beamwidth_limit = 3\n".replace("'batch'", "'stream'")
    old = write_project(
        tmp_path / "old", job=job, images="images = open('x')", celery="x = (", pipeline="x"
    )
    (old / "inject.cfg").write_text("[inject]\nbmja = 0.5\n")
    status, said = run(str(old), "--to", str(tmp_path / "new"), capsys=capsys)
    assert status == 1
    todo = said.split("What became of every key")[0]
    for part in (
        "beamwidth_limit = 3: is no key of classic TraP (did you mean 'beamwidths_limit'?)",
        "line 1: only Python could tell what `open('x')` is; write the paths into images.txt",
        "bmja is no key (did you mean 'bmaj'?)",
        "celeryconfig.py, line 1: this is no Python",
        "pipeline.cfg, line 1: this is neither [section] nor key = value",
    ):
        assert part in todo
    assert "\n  trap-manage receive --connect localhost:6666 --connect localhost:6667 " in said
    with pytest.raises(ConfigError, match=r"images\.txt names no image"):
        read_job(tmp_path / "new")


def test_addresses_with_passwords_are_not_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = f"images = ['https://me:{HIDDEN}@host/a.fits', 's3://bucket/b.fits']"
    old = write_project(tmp_path / "old", images=images)
    status, said = run(str(old), "--to", str(tmp_path / "new"), capsys=capsys)
    new = contents(tmp_path / "new")
    assert status == 1
    assert HIDDEN not in said + "".join(new.values())
    assert new["images.txt"].splitlines()[-1] == "s3://bucket/b.fits"


def test_nothing_to_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(str(tmp_path), "--to", str(tmp_path / "new"), capsys=capsys)
    assert (status, (tmp_path / "new").exists()) == (1, False)
    assert "job_params.cfg cannot be read: No such file" in said
