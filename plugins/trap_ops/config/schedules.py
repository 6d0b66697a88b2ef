"""What runs by itself: ``include/configs/schedules.toml``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from trap_ops.config.section import Section
from trap_ops.config.toml_files import read_toml
from trap_ops.errors import ConfigError

SCHEDULES_FILE = "schedules.toml"
FILE_VARIABLE = "TRAP_SCHEDULES"
# What stands in the name of a dataset for the first folder below that of the series.
FOLDER = "{folder}"
NIGHT, ARRIVAL = "night", "arrival"

_Cron = Annotated[str, Field(min_length=9, max_length=100)]


class NightlyConfig(Section):
    """The DAG trap_nightly."""

    at: _Cron = "0 6 * * *"


class MaintenanceConfig(Section):
    """The DAG trap_maintenance; days of 0 stand for never."""

    at: _Cron = "0 12 * * *"
    keep_logs_days: float = Field(90, ge=0)
    keep_reports_days: float = Field(0, ge=0)
    give_up_failed_days: float = Field(14, ge=0)


class SeriesConfig(Section):
    """A folder that images come to.

    Attributes
    ----------
    name : str
        Of this entry.
    folder : str
        Absolute path.
    dataset : str
        Name of the dataset; may have ``{folder}`` in it.
    when : str
        ``night`` or ``arrival``.
    configuration : str
    overrides : dict
        ``{section: {key: value}}``.
    settle_s : float
        Seconds for which a file has not changed if it is complete.
    images_per_run : int
        Of trap_watch.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")
    folder: str
    dataset: str = Field(min_length=1, max_length=100)
    when: Literal["night", "arrival"]
    configuration: str = "auto"
    overrides: dict[str, dict[str, Any]] = Field(default_factory=dict)
    settle_s: float = Field(5.0, ge=0.1, le=86400)
    images_per_run: int = Field(200, ge=1, le=100_000)

    @field_validator("folder")
    @classmethod
    def _absolute(cls, folder: str) -> str:
        if not Path(folder).is_absolute():
            msg = "is not an absolute path"
            raise ValueError(msg)
        return folder

    @field_validator("dataset")
    @classmethod
    def _known_fields(cls, dataset: str) -> str:
        if set("{}") & set(dataset.replace(FOLDER, "")):
            msg = f"may have no other braces in it than {FOLDER}"
            raise ValueError(msg)
        return dataset


class SchedulesConfig(Section):
    """All of it."""

    nightly: NightlyConfig = NightlyConfig()
    maintenance: MaintenanceConfig = MaintenanceConfig()
    series: tuple[SeriesConfig, ...] = ()


def schedules_file(configurations: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The file: TRAP_SCHEDULES, else that of this checkout."""
    named = environ.get(FILE_VARIABLE)
    return Path(named).expanduser().absolute() if named else configurations / SCHEDULES_FILE


def load_schedules(path: Path) -> SchedulesConfig:
    """Read what runs by itself.

    Raises
    ------
    ConfigError
        One message for all problems.
    """
    try:
        made = SchedulesConfig.model_validate(read_toml(path))
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc']))}: {_said(item['type'], item['msg'])}"
            for item in error.errors(include_url=False)
        ]
        msg = f"{path} cannot be used:\n  " + "\n  ".join(problems)
        raise ConfigError(msg) from None
    names = [series.name for series in made.series]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        msg = f"{path}: series need names of their own, and there are several of {doubled[0]!r}"
        raise ConfigError(msg)
    for one in made.series:
        for other in made.series:
            if one is not other and Path(other.folder).is_relative_to(one.folder):
                msg = (
                    f"{path}: the folder of series {other.name!r} is that of {one.name!r} or below "
                    "it: each image would be taken twice"
                )
                raise ConfigError(msg)
    return made


def _said(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "is not a setting"
    return message.removeprefix("Value error, ")
