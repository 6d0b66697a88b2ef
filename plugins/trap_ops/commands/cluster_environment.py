"""The variables that make this checkout's Airflow one of a cluster: executor, broker, database."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import urlsplit

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from trap_ops.commands.cluster_sharing import sharing_variables
from trap_ops.commands.environment import CONFIGURATIONS, variables
from trap_ops.config.cluster import (
    BROKER_VARIABLE,
    CLUSTER_FILE,
    DATABASE_VARIABLE,
    FILE_VARIABLE,
    RETRIES_VARIABLE,
    RETRY_DELAY_VARIABLE,
    TIMEOUT_VARIABLE,
    ClusterConfig,
    MetricsConfig,
    load_cluster,
)
from trap_ops.errors import ConfigError

_SECRET = "AIRFLOW__API_AUTH__JWT_SECRET"  # noqa: S105 - the name of a variable
# HS512 wants as many.
_SECRET_BYTES = 64
# How long a server may take to answer whether it is there.
_PATIENCE_S = 5.0
# Seconds after which what was lost is noticed, and how often is tried what can pass by itself.
_RECOVERY = {
    # A task whose worker is gone; the default is 300.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    # A task that the broker has lost: it stays queued, and no worker ever takes it.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "180",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "30",
    # It is given to the broker again. Twice is the default, after which it fails: a task may wait
    # long for a worker that is away.
    "AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "1000000",
    # Tasks of a scheduler that has ended; the next one takes over its tasks then.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
    # While the broker is away a task waits in the scheduler: no try of it is lost by that.
    "AIRFLOW__CELERY__OPERATION_TIMEOUT": "2",
    "AIRFLOW__CELERY__TASK_PUBLISH_MAX_RETRIES": "1000000",
    # A row in the database for each task that begins: one more thing that can fail, read by none.
    "AIRFLOW__CELERY__TASK_TRACK_STARTED": "False",
    # What a task says to a server that is busy, or away for half a minute, gets there.
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "20",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "8",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "15",
}


def cluster_settings(environ: Mapping[str, str] = os.environ) -> ClusterConfig:
    """What cluster.toml and the environment say.

    Raises
    ------
    ConfigError
        If that cannot be used.
    """
    return load_cluster(cluster_file(environ), environ)


def cluster_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The file with the settings of the cluster: TRAP_CLUSTER, else that of this checkout."""
    named = environ.get(FILE_VARIABLE)
    return Path(named).expanduser().absolute() if named else CONFIGURATIONS / CLUSTER_FILE


def cluster_variables(
    cluster: ClusterConfig, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What to set so that plain ``airflow`` is one of the cluster.

    A variable that is set already is kept, except those that cluster.toml or the project decide.
    """
    database = (
        make_url(cluster.database.url)
        .set(drivername="postgresql+psycopg2")
        .render_as_string(hide_password=False)
    )
    fixed = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
        "AIRFLOW__CELERY__BROKER_URL": cluster.broker.url,
        "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS": "trap_ops.operators.celery_config.CONFIG",
        "AIRFLOW__API__HOST": cluster.server.host,
        "AIRFLOW__API__PORT": str(cluster.server.port),
        "AIRFLOW__API__BASE_URL": cluster.server.address,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{cluster.server.address}/execution/",
        TIMEOUT_VARIABLE: str(cluster.tasks.timeout_min),
        RETRIES_VARIABLE: str(cluster.tasks.retries),
        RETRY_DELAY_VARIABLE: str(cluster.tasks.retry_delay_s),
        **sharing_variables(cluster),
    }
    return (
        variables(environ)
        | fixed
        | metric_variables(cluster.metrics)
        | {key: environ.get(key, value) for key, value in _RECOVERY.items()}
    )


def metric_variables(metrics: MetricsConfig) -> dict[str, str]:
    """Where Airflow is to send its metrics; nothing if nowhere, so that a site's own hold."""
    if metrics.kind == "statsd":
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": metrics.host,
            "AIRFLOW__METRICS__STATSD_PORT": str(metrics.port),
            "AIRFLOW__METRICS__STATSD_PREFIX": metrics.prefix,
        }
    if metrics.kind == "otel":
        # Airflow's own variables for host and port are deprecated.
        address = f"http://{metrics.host}:{metrics.port}/v1/metrics"
        return {
            "AIRFLOW__METRICS__OTEL_ON": "True",
            "AIRFLOW__METRICS__OTEL_PREFIX": metrics.prefix,
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        }
    return {}


def process_environment(cluster: ClusterConfig) -> dict[str, str]:
    """All variables of a process of the cluster on this machine.

    A secret that is not set is made: what signs the passes of tasks is the same for all processes
    here. Airflow would make one of less than half the length that the signature asks for.
    """
    made = {**os.environ, **cluster_variables(cluster)}
    if not made.get(_SECRET):
        made[_SECRET] = _own_secret(Path(made["AIRFLOW_HOME"]) / "jwt_secret")
    return made


def _own_secret(path: Path) -> str:
    """A secret that is made once, for its user to read; several processes may begin together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # For its user only, and never seen half written.
        with NamedTemporaryFile("w", dir=path.parent, prefix=".jwt-") as file:
            file.write(secrets.token_hex(_SECRET_BYTES))
            file.flush()
            with suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text()


def masked(url: str) -> str:
    """An address without its password."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)


def check_broker(url: str) -> None:
    """See that there is a broker.

    Raises
    ------
    ConfigError
        If it does not answer, or refuses; the message has its address without the password.
    """
    from kombu import Connection

    try:
        with Connection(url, connect_timeout=_PATIENCE_S) as connection:
            connection.ensure_connection(max_retries=1, timeout=_PATIENCE_S, interval_start=0.1)
            connection.default_channel.close()
    except Exception as error:  # noqa: BLE001 - transports' own errors have no base in common
        reason = str(error).strip().splitlines()
        msg = (
            f"the broker {masked(url)} cannot be used "
            f"({reason[0] if reason else type(error).__name__}); check that RabbitMQ or Redis "
            f"runs there, that user, password and vhost are right, and broker.url in "
            f"{cluster_file()} or {BROKER_VARIABLE}"
        )
        raise ConfigError(msg) from None


def ensure_database(cluster: ClusterConfig) -> None:
    """Make Airflow's own database if its server has none of that name.

    Raises
    ------
    ConfigError
        If the server does not answer, or refuses.
    """
    url = make_url(cluster.database.url).set(drivername="postgresql+psycopg2")
    maintenance = create_engine(
        url.set(database="postgres"),
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": int(_PATIENCE_S)},
    )
    try:
        with maintenance.connect() as connection:
            query = text("SELECT count(*) FROM pg_database WHERE datname = :name")
            if not connection.execute(query, {"name": url.database}).scalar_one():
                quoted = maintenance.dialect.identifier_preparer.quote(str(url.database))
                connection.execute(text(f"CREATE DATABASE {quoted}"))
    except (OperationalError, ArgumentError) as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        msg = (
            f"Airflow's database {url.render_as_string()} cannot be used ({reason}); check that "
            f"PostgreSQL runs there, and database.url in {cluster_file()} or "
            f"{DATABASE_VARIABLE}"
        )
        raise ConfigError(msg) from None
    finally:
        maintenance.dispose()
