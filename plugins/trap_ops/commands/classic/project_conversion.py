"""``pipeline.cfg`` and ``celeryconfig.py``: what of them has a meaning here, without passwords."""

from __future__ import annotations

import getpass
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from trap_ops.commands.classic.finding import Finding
from trap_ops.commands.classic.ini_files import value_of
from trap_ops.commands.classic.python_files import assigned
from trap_ops.commands.classic.python_values import Unknown
from trap_ops.config.load import nearest_name
from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line

_PIPELINE, _CELERY = "pipeline.cfg", "celeryconfig.py"
_PORT = 5432
# The classic tables stay where they are: results need a database of their own.
_OWN = "_trap"
# Sections and keys without a setting here, and why.
_NO_MEANING = {
    ("DEFAULT", "runtime_directory"): "a job is a folder that is named to `run`",
    ("DEFAULT", "job_directory"): "a job is a folder that is named to `run`",
    ("logging", "log_dir"): "logs are in var/logs, or where TRAP_VAR says",
    ("logging", "debug"): "`run --verbose` shows all output",
    ("logging", "colorlog"): "the variable NO_COLOR=1 turns colours off",
    (
        "database",
        "dump_backup_copy",
    ): "use pg_dump; runs are transactions, and `check` tries results",
    ("database", "passphrase"): "it was MonetDB's",
    ("image_cache", "copy_images"): "images stay in their files, cut-outs are in the report",
    ("image_cache", "mongo_host"): "images stay in their files, cut-outs are in the report",
    ("image_cache", "mongo_port"): "images stay in their files, cut-outs are in the report",
    ("image_cache", "mongo_db"): "images stay in their files, cut-outs are in the report",
    ("parallelise", "method"): "`run` is serial, `run --cluster` uses all workers",
    ("parallelise", "cores"): "workers.concurrency of cluster.toml",
}
_DATABASE = ("engine", "database", "user", "password", "host", "port")
_EAGER = ("CELERY_ALWAYS_EAGER", "task_always_eager")
_BROKER = ("BROKER_URL", "broker_url")
_BROKERS = ("amqp", "amqps", "redis", "rediss", "sentinel")


@dataclass
class ConvertedProject:
    """What a project says about its surroundings.

    Attributes
    ----------
    lines : list of str
        To be written into ``project.env`` or the shell.
    findings : list of Finding
    """

    lines: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def find(self, where: str, said: str, *, problem: bool = False) -> None:
        """Note what became of a key."""
        self.findings.append(Finding(where, said, problem))


def convert_pipeline(given: Mapping[str, Mapping[str, str]]) -> ConvertedProject:
    """Convert ``pipeline.cfg``, given as texts by section and key."""
    made = ConvertedProject()
    names = {key: section for section, key in _NO_MEANING} | dict.fromkeys(_DATABASE, "database")
    for section, values in given.items():
        for key in values:
            where = f"{_PIPELINE} [{one_line(section)}] {one_line(key)}"
            if (section, key) in _NO_MEANING:
                made.find(where, f"has no meaning here: {_NO_MEANING[section, key]}")
            elif section != "database" or key not in _DATABASE:
                near = nearest_name(key, names)
                made.find(where, f"is no key of classic TraP{near}", problem=True)
    if "database" in given:
        _database({key: value_of(text) for key, text in given["database"].items()}, made)
    return made


def _database(given: Mapping[str, object], made: ConvertedProject) -> None:
    """Say where the results of the classic database's server can be kept."""
    where = f"{_PIPELINE} [database]"
    engine = given.get("engine") or "postgresql"
    if engine != "postgresql":
        said = "results are in PostgreSQL, or in the SQLite file var/results.db: set TRAP_DB"
        made.find(
            f"{where} engine", f"is not postgresql, which is all that is read; {said}", problem=True
        )
        return
    user = str(given.get("user") or getpass.getuser())
    name = str(given.get("database") or user)
    host = str(given.get("host") or "localhost")
    port = given.get("port") or _PORT
    if not isinstance(port, int) or not 0 < port < 65536:
        made.find(f"{where} port", "cannot be used: must be a number from 1 to 65535", problem=True)
        port = _PORT
    if not all(text.isprintable() for text in (user, name, host)):
        said = "cannot be used: there are characters that cannot be seen in user, database or host"
        made.find(where, said, problem=True)
        return
    url = URL.create("postgresql", user, host=host, port=port, database=f"{name}{_OWN}")
    made.lines.append(f"export TRAP_DB={shlex.quote(url.render_as_string())}")
    said = "converted to TRAP_DB, with a database of its own: the classic tables stay as they are"
    made.find(where, f"{said} (`createdb {shlex.quote(name + _OWN)}` makes it)")
    if given.get("password"):
        said = "is not copied: write it into ~/.pgpass (mode 0600), as psql does"
        made.find(f"{where} password", said)


def convert_celery(text: str) -> ConvertedProject:
    """Convert the text of ``celeryconfig.py``, which is not executed."""
    made = ConvertedProject()
    try:
        names = assigned(text, _CELERY)
    except ConfigError as error:
        said = "look up BROKER_URL in it, and set TRAP_BROKER to that"
        made.find(error.message, said, problem=True)
        return made
    for name, value in names.items():
        where = f"{_CELERY} {one_line(name)}"
        if name in (*_BROKER, *_EAGER) and isinstance(value, Unknown):
            # What stands there may be a password.
            said = f"only Python could tell what line {value.line} says"
            variable = "TRAP_BROKER" if name in _BROKER else "TRAP_EAGER"
            made.find(where, f"{said}: set {variable} by hand", problem=True)
        elif name in _BROKER:
            _broker(where, value, made)
        elif name in _EAGER:
            _eager(where, value, made)
        elif name.lower() in {"celeryd_concurrency", "worker_concurrency"}:
            made.find(where, "has no meaning here: workers.concurrency of cluster.toml")
        else:
            made.find(where, "has no meaning here: Airflow's Celery executor sets it")
    return made


def _eager(where: str, value: object, made: ConvertedProject) -> None:
    if value is True:
        made.lines.append("export TRAP_EAGER=1")
        made.find(where, "converted to TRAP_EAGER=1")
    else:
        made.find(where, "has no meaning here: `run --cluster` asks for the workers")


def _broker(where: str, value: object, made: ConvertedProject) -> None:
    try:
        url = make_url(str(value))
    except (ArgumentError, ValueError):
        made.find(where, "cannot be used: it is no address like amqp://host:5672//", problem=True)
        return
    if url.drivername not in _BROKERS or not str(value).isprintable():
        said = f"cannot be used: tasks wait in RabbitMQ or Redis ({', '.join(_BROKERS)})"
        made.find(where, said, problem=True)
        return
    shown = str(value)
    if url.password:
        # What is between the last "@" and a "?" has no password.
        place = shown.rpartition("@")[2].partition("?")[0]
        shown = f"{url.drivername}://{url.username or ''}:PASSWORD@{place}"
        made.find(
            where, "converted to TRAP_BROKER, to be set with its password, which is not copied"
        )
    else:
        made.find(where, "converted to TRAP_BROKER, or broker.url of cluster.toml")
    made.lines.append(f"export TRAP_BROKER={shlex.quote(shown)}")
