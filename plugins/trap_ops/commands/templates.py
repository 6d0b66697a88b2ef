"""Folders of projects and jobs, made from ``include/templates``; no file is ever overwritten."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from trap_ops.commands.environment import CHECKOUT
from trap_ops.errors import ConfigError
from trap_ops.records.names import MAX_NAME_LENGTH, one_line

TEMPLATES = CHECKOUT / "include" / "templates"
# As in classic TraP.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def check_folder_name(name: str, what: str) -> None:
    """Check the name of a project or a job.

    Raises
    ------
    ConfigError
        If it is not letters, digits, ``_`` and ``-``, a letter or ``_`` first.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        msg = (
            f"{one_line(name)!r} cannot be the name of a {what}: begin with a letter or '_', go on "
            f"with letters, digits, '_' and '-', at most {MAX_NAME_LENGTH} characters"
        )
        raise ConfigError(msg, name=name)


def fill_folder(template: str, folder: Path, values: Mapping[str, str]) -> None:
    """Make a folder and the files of a template that it lacks, and say so.

    Parameters
    ----------
    template : str
        Name of a directory in ``include/templates``.
    folder : Path
    values : mapping
        For the ``${words}`` in them.

    Raises
    ------
    ConfigError
        If something cannot be written.
    """
    texts = {
        path.name: Template(path.read_text(encoding="utf-8")).substitute(values)
        for path in sorted((TEMPLATES / template).iterdir())
    }
    write_missing(folder, texts)


def write_missing(folder: Path, texts: Mapping[str, str]) -> None:
    """Make a folder and the files that it lacks, and say so; files that are there are kept.

    Raises
    ------
    ConfigError
        If something cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            shown = one_line(str(folder / name))
            try:
                with (folder / name).open("x", encoding="utf-8") as file:
                    file.write(text)
            except FileExistsError:
                print(f"kept  {shown}, which is there already")
            else:
                print(f"made  {shown}")
    except OSError as error:
        msg = f"{one_line(str(folder))} cannot be filled: {error.strerror}"
        raise ConfigError(msg, folder=str(folder)) from error
