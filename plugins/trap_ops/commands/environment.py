"""The variables that make Airflow and the pipeline work from this checkout, from any directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sqlalchemy.engine import URL, make_url

from trap_ops.errors import ConfigError
from trap_ops.images.access import VARIABLE, Access, options_of_connection
from trap_ops.records.names import one_line
from trap_ops.store.database import database_url, in_memory, url_of_connection

CHECKOUT = Path(__file__).resolve().parents[3]
CONFIGURATIONS = CHECKOUT / "include" / "configs"
# What makes numpy fast and its results repeatable; to be set before a process starts.
FOR_NUMPY = {
    # Results must not depend on the number of cores, and tasks share the cores anyway.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc gives arrays of more than 128 kB back to the system at once, which then clears the same
    # pages for every image anew: up to 5 ms an image.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}
# As a file and with -P: neither this directory nor the one it is called in gets onto Python's path.
AIRFLOW_COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("airflow_main.py")))


def var_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Directory of everything that a run writes: TRAP_VAR, else var/ in the checkout."""
    return Path(environ.get("TRAP_VAR") or CHECKOUT / "var").absolute()


def store_url(environ: Mapping[str, str] = os.environ) -> str:
    """URL of the results database: TRAP_DB, else the Airflow connection, else SQLite in var/.

    Raises
    ------
    ConfigError
        If it is not the URL of a database that results can be kept in.
    """
    name = "TRAP_DB" if environ.get("TRAP_DB") else "AIRFLOW_CONN_TRAP_STORE"
    url = environ.get(name)
    if not url:
        return _sqlite_url(var_dir(environ) / "results.db")
    parsed = database_url(_url_of_json(url, name) if url.lstrip().startswith("{") else url, name)
    if parsed.get_backend_name() != "sqlite":
        # Without a driver psql knows it too.
        return parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    if in_memory(parsed):
        msg = (
            f"{name} keeps results in memory, where each task would have others; write "
            "sqlite:////path/file.db"
        )
        raise ConfigError(msg)
    path = Path(str(parsed.database))
    # Tasks run in directories of their own.
    return _sqlite_url((path.expanduser() if path.parts[0] == "~" else path).absolute())


def image_access(environ: Mapping[str, str] = os.environ) -> Access:
    """Access to remote images by AIRFLOW_CONN_TRAP_IMAGES, as JSON or URI like Airflow's own.

    Raises
    ------
    ConfigError
        If it is neither. The message has nothing of it.
    """
    text = environ.get(VARIABLE, "").strip()
    scratch = var_dir(environ) / "scratch"
    if not text:
        return Access(scratch_dir=scratch)
    try:
        fields = json.loads(text) if text.startswith("{") else _fields_of_uri(text)
        extra = fields.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
        port = int(fields["port"]) if fields.get("port") else None
    except (ValueError, AttributeError):
        msg = f"{VARIABLE} is neither the URI nor the JSON of an Airflow connection"
        raise ConfigError(msg) from None
    options = options_of_connection(
        str(fields.get("conn_type", "")),
        fields.get("host"),
        port,
        fields.get("login"),
        fields.get("password"),
        extra,
    )
    return Access(options, scratch_dir=scratch)


def _fields_of_uri(text: str) -> dict[str, Any]:
    """Fields of an Airflow connection that is written as a URI."""
    parts = urlsplit(text)
    query = dict(parse_qsl(parts.query))
    return {
        "conn_type": parts.scheme,
        "host": unquote(parts.hostname or ""),
        "port": parts.port,
        "login": unquote(parts.username or "") or None,
        "password": unquote(parts.password or "") or None,
        "extra": query.get("__extra__") or query,
    }


def variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What to set so that plain ``airflow`` is the project's, with the facts of Airflow 3.3.

    A variable that is set already is kept, except those that name this checkout and the store.

    Raises
    ------
    ConfigError
        If Airflow cannot have its files in the directory of what is written.
    """
    var = var_dir(environ)
    if set("%?") & set(str(var)):
        msg = (
            f"Airflow cannot have its files below {one_line(str(var))}: its paths must have "
            "neither '%' nor '?'; set TRAP_VAR to another directory"
        )
        raise ConfigError(msg, var=str(var))
    url = store_url(environ)
    fixed = {
        "TRAP_DB": url,
        "TRAP_VAR": str(var),
        "AIRFLOW_HOME": str(var / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "AIRFLOW_CONN_TRAP_STORE": airflow_connection(url),
        "PATH": _with_first(str(Path(sys.executable).parent), environ.get("PATH", os.defpath)),
    }
    defaults = {
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # With the default of 5 s every short task takes 5 s to be noticed as finished.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # New DAG files are found after this many seconds; the default is 300.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        # A file that is known is read again after so many seconds, which costs a process that loads
        # Airflow each time; the default is 30.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
        # The default is all interfaces.
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        **FOR_NUMPY,
    }
    return fixed | {key: environ.get(key, value) for key, value in defaults.items()}


def _sqlite_url(path: Path) -> str:
    return URL.create("sqlite", database=str(path)).render_as_string()


def _url_of_json(text: str, name: str) -> str:
    """URL of an Airflow connection that is written as JSON."""
    try:
        fields = json.loads(text)
        extra = fields.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
    except ValueError as error:
        msg = f"{name} is not a database URL, and not the JSON of an Airflow connection: {error}"
        raise ConfigError(msg) from error
    return url_of_connection(
        fields.get("conn_type", ""),
        fields.get("host"),
        fields.get("port"),
        fields.get("login"),
        fields.get("password"),
        fields.get("schema"),
        extra,
    )


def airflow_connection(url: str) -> str:
    """Return a database URL as an Airflow connection, as JSON with the password in its field."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return json.dumps({"conn_type": "sqlite", "host": parsed.database})
    fields = {
        "conn_type": "postgres",
        "host": parsed.host,
        "port": parsed.port,
        "login": parsed.username,
        "password": parsed.password,
        "schema": parsed.database,
        "extra": json.dumps(dict(parsed.query)) if parsed.query else None,
    }
    return json.dumps({key: value for key, value in fields.items() if value is not None})


def prepare_airflow(environ: Mapping[str, str]) -> None:
    """Create Airflow's own database in var/, once for each version of Airflow.

    Raises
    ------
    ConfigError
        If Airflow cannot; its output says why.
    """
    home = Path(environ["AIRFLOW_HOME"])
    done = home / f".migrated-{version('apache-airflow-core')}"
    if done.exists() or "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" in environ:
        return
    home.mkdir(parents=True, exist_ok=True)
    print("Preparing Airflow's database in var/airflow (once, some seconds) ...", file=sys.stderr)
    migrate_airflow(environ)
    done.touch()


def migrate_airflow(environ: Mapping[str, str]) -> None:
    """Bring Airflow's own database to its version, from nothing or from an older one.

    Raises
    ------
    ConfigError
        If Airflow cannot; its output says why.
    """
    result = subprocess.run(
        [*AIRFLOW_COMMAND, "db", "migrate"],
        env=dict(environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        msg = f"`airflow db migrate` failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
        raise ConfigError(msg)


def full_environment() -> dict[str, str]:
    """Return this process' environment with the project's variables in it."""
    return {**os.environ, **variables()}


def _with_first(directory: str, path: str) -> str:
    rest = [part for part in path.split(os.pathsep) if part != directory]
    return os.pathsep.join([directory, *rest])
