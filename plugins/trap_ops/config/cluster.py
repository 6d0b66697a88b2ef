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
WEBHOOK_VARIABLE = "TRAP_WEBHOOK"
_FROM_ENVIRONMENT = {
    BROKER_VARIABLE: ("broker", "url"),
    DATABASE_VARIABLE: ("database", "url"),
    WEBHOOK_VARIABLE: ("notify", "webhook"),
}

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


class ClusterConfig(Section):
    """All of it."""

    broker: BrokerConfig
    database: DatabaseConfig
    server: ServerConfig = ServerConfig()
    notify: NotifyConfig = NotifyConfig()
    metrics: MetricsConfig = MetricsConfig()
    workers: tuple[WorkerConfig, ...] = Field(min_length=1)


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
    return made


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
