"""Settings of the cluster: ``include/configs/cluster.toml`` and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from trap_ops.config.section import Section
from trap_ops.config.toml_files import read_toml
from trap_ops.errors import ConfigError

CLUSTER_FILE = "cluster.toml"
# What names another file, and what takes the place of a key, so that passwords need be in none.
FILE_VARIABLE = "TRAP_CLUSTER"
BROKER_VARIABLE = "TRAP_BROKER"
DATABASE_VARIABLE = "TRAP_AIRFLOW_DB"
# What the commands of the cluster tell its processes of [tasks].
TIMEOUT_VARIABLE = "TRAP_TASK_TIMEOUT_MIN"
RETRIES_VARIABLE = "TRAP_TASK_RETRIES"
RETRY_DELAY_VARIABLE = "TRAP_TASK_RETRY_DELAY_S"
WEBHOOK_VARIABLE = "TRAP_WEBHOOK"
_FROM_ENVIRONMENT = {
    BROKER_VARIABLE: ("broker", "url"),
    DATABASE_VARIABLE: ("database", "url"),
    WEBHOOK_VARIABLE: ("notify", "webhook"),
}

# Queues of the DAGs: work on pixels, which takes cores and memory, and all else.
PIXELS, DATABASE = "pixels", "database"

_Mail = Annotated[str, Field(pattern=r"^[^@\s<>,]+@[^@\s<>,]+$")]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]


class BrokerConfig(Section):
    """Where tasks wait for workers."""

    url: str = Field(pattern=r"^(amqps?|rediss?|sentinel)://.+")


class DatabaseConfig(Section):
    """Airflow's own database."""

    url: str = Field(pattern=r"^postgres(ql)?(\+psycopg2)?://.+/.+")


class ServerConfig(Section):
    """The server of Airflow's pages and of the interface that tasks use.

    It listens at host and port; ``url`` is where others reach it, if that is elsewhere.
    """

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8080, ge=1, le=65535)
    url: str = Field("", pattern=r"^$|^https?://[^/]+$")

    @property
    def address(self) -> str:
        """Where others reach it."""
        return self.url or f"http://{self.host}:{self.port}"


class WorkerConfig(Section):
    """A worker that is started on this machine."""

    name: _Name
    queues: tuple[_Name, ...] = Field(min_length=1)
    concurrency: int = Field(ge=1, le=1000)


class NotifyConfig(Section):
    """Whom to tell when a run has failed: nobody, a webhook, or people by e-mail."""

    webhook: str = Field("", pattern=r"^$|^https?://.+")
    mail_to: tuple[_Mail, ...] = ()
    mail_from: _Mail | Literal[""] = ""


class MetricsConfig(Section):
    """Where Airflow's processes send their metrics."""

    kind: Literal["none", "statsd", "otel"] = "none"
    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8125, ge=1, le=65535)
    prefix: str = Field("airflow", pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")


class TasksConfig(Section):
    """How long a task may take, and how often it is tried."""

    timeout_min: float = Field(720.0, ge=0.1, le=1380.0)
    retries: int = Field(6, ge=0, le=100)
    retry_delay_s: float = Field(15.0, ge=0.0, le=600.0)


class PoolsConfig(Section):
    """How many tasks are given to workers at the same time, over all hosts.

    0 stands for as many as the listed workers do.
    """

    pixels: int = Field(0, ge=0, le=100_000)
    database: int = Field(0, ge=0, le=100_000)


class GroupConfig(Section):
    """Users whose tasks wait in queues of their own.

    Attributes
    ----------
    name : str
    users : tuple of str
        Who triggers the runs, by their names in Airflow; ``trap_nightly`` and ``trap_watch`` are
        those of scheduled runs.
    pixels, database : str
        Queues in place of those names.
    priority : int
        Tasks of a higher one go first.
    """

    name: _Name
    users: tuple[str, ...] = Field(min_length=1)
    pixels: _Name = PIXELS
    database: _Name = DATABASE
    priority: int = Field(0, ge=0, le=9)


class ClusterConfig(Section):
    """All of it."""

    broker: BrokerConfig
    database: DatabaseConfig
    server: ServerConfig = ServerConfig()
    notify: NotifyConfig = NotifyConfig()
    metrics: MetricsConfig = MetricsConfig()
    tasks: TasksConfig = TasksConfig()
    workers: tuple[WorkerConfig, ...] = Field(min_length=1)
    pools: PoolsConfig = PoolsConfig()
    groups: tuple[GroupConfig, ...] = ()

    def slots(self, queue: str) -> int:
        """Tasks of ``pixels`` or ``database`` that are given to workers at the same time."""
        return getattr(self.pools, queue) or self.capacity(queue) or 1

    def capacity(self, queue: str) -> int:
        """Tasks of a queue that the listed workers do at the same time."""
        return sum(worker.concurrency for worker in self.workers if queue in worker.queues)


def load_cluster(path: Path, environ: Mapping[str, str]) -> ClusterConfig:
    """Read the settings of the cluster.

    Parameters
    ----------
    path : Path
        The file.
    environ : mapping
        May have TRAP_BROKER, TRAP_AIRFLOW_DB and TRAP_WEBHOOK.

    Raises
    ------
    ConfigError
        One message for all problems, without the addresses, which may hold passwords.
    """
    settings = read_toml(path)
    origin: dict[tuple[int | str, ...], str] = {}
    for variable, (section, key) in _FROM_ENVIRONMENT.items():
        if environ.get(variable):
            written = settings.get(section)
            others = written if isinstance(written, dict) else {}
            settings[section] = {**others, key: environ[variable]}
            origin[section, key] = variable
    try:
        made = ClusterConfig.model_validate(settings)
    except ValidationError as error:
        problems = [
            f"{origin.get(item['loc'][:2], path.name)}: "
            f"{'.'.join(map(str, item['loc']))}: {_said(item['type'], item['msg'])}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        msg = "the settings of the cluster cannot be used:\n  " + "\n  ".join(problems)
        raise ConfigError(msg) from None
    names = [worker.name for worker in made.workers]
    if len(set(names)) < len(names):
        msg = f"{path.name}: workers need names of their own, and these are {', '.join(names)}"
        raise ConfigError(msg)
    _check_groups(made, path)
    return made


def _check_groups(made: ClusterConfig, path: Path) -> None:
    """Check that nobody is in two groups, and that no group has the name of another.

    Raises
    ------
    ConfigError
    """
    for what, all_of_them in (
        ("group", [group.name for group in made.groups]),
        ("user", [user for group in made.groups for user in group.users]),
    ):
        doubled = sorted({item for item in all_of_them if all_of_them.count(item) > 1})
        if doubled:
            msg = f"{path.name}: {what} {doubled[0]!r} is named more than once in groups"
            raise ConfigError(msg)


def _said(kind: str, message: str) -> str:
    """What is wrong; pydantic's own words about a pattern say little."""
    if kind == "extra_forbidden":
        return "is not a setting"
    if kind == "string_pattern_mismatch":
        return (
            "is not of the form that is wanted: amqp://user:password@host:5672/vhost or "
            "redis://:password@host:6379/0 for the broker, "
            "postgresql://user:password@host:5432/name for the database, http://host:8080 for "
            "the server, https://host/... for the webhook, name@host for e-mail, letters, digits, "
            "'-' and '_' for names"
        )
    return message[:1].lower() + message[1:]
