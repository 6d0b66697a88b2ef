"""``trap-manage import-job``: a job of classic TraP becomes one of this pipeline."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trap_ops.commands.classic.finding import Finding
from trap_ops.commands.classic.ini_files import read_ini
from trap_ops.commands.classic.job_conversion import ConvertedJob, convert_job, written
from trap_ops.commands.classic.project_conversion import (
    ConvertedProject,
    convert_celery,
    convert_pipeline,
)
from trap_ops.commands.classic.python_files import listed_images
from trap_ops.commands.classic.python_text import read_text
from trap_ops.commands.environment import CONFIGURATIONS
from trap_ops.commands.jobs import CLASSIC_FILE, IMAGES_FILE, JOB_FILE, MONITOR_FILE, image_below
from trap_ops.commands.templates import TEMPLATES, check_folder_name, write_missing
from trap_ops.errors import ConfigError
from trap_ops.images.discovery import absolute_input
from trap_ops.images.parset import read_parset
from trap_ops.records.names import one_line

_REPORT = "import-report.txt"
_INJECT = "inject.cfg"
# As classic TraP wrote it into the paths of its logs.
_START = "%Y-%m-%dT%H:%M:%S"


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "import-job",
        help="convert a job of classic TraP",
        description="Make a job from one of classic TraP: its job_params.cfg, "
        "images_to_process.py and inject.cfg, pipeline.cfg and celeryconfig.py of its project. "
        "Python files are read and never executed. Nothing of the old job is changed, no file is "
        "overwritten, and passwords are not copied. A report says what became of every key. Exit "
        "status 1 if something is left for you to do.",
    )
    parser.add_argument("job", type=Path, help="folder of the old job, with job_params.cfg")
    parser.add_argument(
        "--project",
        type=Path,
        metavar="DIR",
        help="folder of the old project; default: the one that the job's is in",
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="folder to make; default: in this one, same name"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Convert, write, report."""
    old = arguments.job.absolute()
    project = (arguments.project or old.parent).absolute()
    to = (arguments.to or Path(old.name)).absolute()
    check_folder_name(to.name, "job")
    if (to / JOB_FILE).exists():
        msg = f"{one_line(str(to))} has a {JOB_FILE} already: name another folder by --to"
        raise ConfigError(msg, to=str(to))
    made = import_job(old, project, to.name)
    report = made.report(old)
    write_missing(to, {**made.files, _REPORT: report})
    print(f"\n{report}", end="")
    return 1 if any(finding.problem for finding in made.findings) else 0


@dataclass
class Imported:
    """Files of a new job by name, and what is to be said.

    Attributes
    ----------
    files : dict of str
    findings : list of Finding
    lines : list of str
        For ``project.env`` or the shell.
    commands : list of str
    """

    files: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def report(self, old: Path) -> str:
        """All of it as text; never with a password."""
        parts = [f"Import of {one_line(str(old))}"]
        todo = [item for item in self.findings if item.problem]
        done = [item for item in self.findings if not item.problem]
        for title, items in (("For you to do", todo), ("What became of every key", done)):
            if items:
                parts.append("\n".join([title, *(f"  {i.where}: {i.said}" for i in items)]))
        if self.lines:
            title = "For project.env, or your shell, if you want the same servers"
            parts.append("\n".join([title, *(f"  {line}" for line in self.lines)]))
        if self.commands:
            title = "The job listened to streams of images; they are received by"
            parts.append("\n".join([title, *(f"  {line}" for line in self.commands)]))
        return "\n\n".join(parts) + "\n"


def import_job(old: Path, project: Path, name: str) -> Imported:
    """Convert a job of classic TraP.

    Parameters
    ----------
    old, project : Path
        Folders of classic TraP.
    name : str
        Of the new job.

    Raises
    ------
    ConfigError
        If there is no ``job_params.cfg``, or it cannot be read.
    """
    made = Imported()
    variables = {
        "cwd": str(project),
        "job_name": old.name,
        "start_time": datetime.now(UTC).strftime(_START),
    }
    job = convert_job(
        read_ini(read_text(old / CLASSIC_FILE), CLASSIC_FILE, variables), name, CONFIGURATIONS
    )
    made.findings += job.findings
    made.files[JOB_FILE] = _job_toml(name, job)
    if job.streams:
        connections = " ".join(f"--connect {stream}" for stream in job.streams)
        made.commands.append(f"trap-manage receive {connections}")
    made.files[IMAGES_FILE] = _images(old / "images_to_process.py", project, name, job, made)
    made.files[MONITOR_FILE] = _template(MONITOR_FILE, name)
    _inject(old / _INJECT, name, made)
    converters: Mapping[str, Callable[[str], ConvertedProject]] = {
        "pipeline.cfg": lambda text: convert_pipeline(read_ini(text, "pipeline.cfg", variables)),
        "celeryconfig.py": convert_celery,
    }
    for file, convert in converters.items():
        if (project / file).exists():
            _project_file(project / file, convert, made)
    return made


def _project_file(path: Path, convert: Callable[[str], ConvertedProject], made: Imported) -> None:
    try:
        found = convert(read_text(path))
    except ConfigError as error:
        made.findings.append(Finding(error.message, "is left out", problem=True))
        return
    made.findings += found.findings
    made.lines += found.lines


def _job_toml(name: str, job: ConvertedJob) -> str:
    head = _template(JOB_FILE, name).replace(
        f'dataset = "{name}"', f"dataset = {written(job.dataset)}"
    )
    # Its examples of settings make room for real ones.
    lines = [line for line in head.splitlines() if not line.startswith(("#[", "#detection"))]
    lines += [f"# Those of classic TraP; {_REPORT} says what became of every key."]
    for section, values in job.nested().items():
        lines += [
            "",
            f"[{section}]",
            *(f"{key} = {written(value)}" for key, value in values.items()),
        ]
    return "\n".join(lines) + "\n"


def _template(file: str, name: str) -> str:
    text = (TEMPLATES / "job" / file).read_text(encoding="utf-8")
    return text.replace("${name}", name)


def _images(path: Path, project: Path, name: str, job: ConvertedJob, made: Imported) -> str:
    """Text of ``images.txt``; paths were relative to the project, in which classic TraP ran."""
    head = _template(IMAGES_FILE, name)
    if not path.exists():
        said = f"is not there: {'images come by streams' if job.streams else f'fill {IMAGES_FILE}'}"
        made.findings.append(Finding(path.name, said, problem=not job.streams))
        return head
    found = listed_images(read_text(path), path.name)
    made.findings += [Finding("images", problem, problem=True) for problem in found.problems]
    lines = []
    for line in found.lines:
        below = image_below(project, line)
        try:
            absolute_input(below)
        except ConfigError as error:
            # Its message has nothing of an address that may be secret.
            made.findings.append(Finding(path.name, f"{error.message}; left out", problem=True))
        else:
            lines.append(f"{below}\n")
    if lines:
        said = f"{len(lines)} paths or patterns are in {IMAGES_FILE}"
        made.findings.append(Finding(path.name, said))
    return head + "".join(lines)


def _inject(path: Path, name: str, made: Imported) -> None:
    """Take over the metadata that were to be written into files, if they can be read."""
    if not path.exists():
        made.files[_INJECT] = _template(_INJECT, name)
        return
    text = read_text(path)
    made.files[_INJECT] = text
    try:
        read_parset(text, _INJECT)
    except ConfigError as error:
        said = f"is copied, but `trap-manage inject` will refuse it: {error.message}"
        made.findings.append(Finding(_INJECT, said, problem=True))
    else:
        said = "is copied: `trap-manage inject inject.cfg IMAGES` writes it into images"
        made.findings.append(Finding(_INJECT, said))
