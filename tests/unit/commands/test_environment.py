"""Where results go and what Airflow is told, by the variables of the user's shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from trap_ops.commands.environment import airflow_connection, store_url, variables
from trap_ops.errors import ConfigError
from trap_ops.store.database import url_of_connection


def test_without_variables_results_are_in_the_checkout() -> None:
    root = Path(__file__).resolve().parents[3]
    assert store_url({}) == f"sqlite:///{root}/var/results.db"
    assert store_url({"TRAP_VAR": "/scratch/me"}) == "sqlite:////scratch/me/results.db"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"TRAP_DB": "sqlite:////data/x.db"}, "sqlite:////data/x.db"),
        ({"TRAP_DB": "postgresql://me@host/db"}, "postgresql://me@host/db"),
        (
            {"TRAP_DB": "sqlite:////data/x.db", "AIRFLOW_CONN_TRAP_STORE": "sqlite:////other.db"},
            "sqlite:////data/x.db",
        ),
        (
            {"AIRFLOW_CONN_TRAP_STORE": "postgresql://me:secret@host:5433/db"},
            "postgresql://me:secret@host:5433/db",
        ),
        (
            {"AIRFLOW_CONN_TRAP_STORE": '{"conn_type": "sqlite", "host": "/data/x.db"}'},
            "sqlite:////data/x.db",
        ),
    ],
)
def test_variables_say_where_results_go(environ: dict[str, str], url: str) -> None:
    assert store_url(environ) == url


def test_a_relative_file_is_meant_from_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_url({"TRAP_DB": "sqlite:///mine.db"}) == f"sqlite:///{tmp_path}/mine.db"


def test_a_file_in_the_home_directory_is_meant_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert store_url({"TRAP_DB": "sqlite:///~/x.db"}) == "sqlite:////home/me/x.db"


@pytest.mark.parametrize("name", ["v?1", "v%202", "v 3", "v#4"])
def test_the_directory_of_results_may_have_any_name(name: str) -> None:
    url = store_url({"TRAP_VAR": f"/data/{name}"})
    assert make_url(url).database == f"/data/{name}/results.db"
    assert store_url({"TRAP_DB": url}) == url
    assert store_url({"AIRFLOW_CONN_TRAP_STORE": airflow_connection(url)}) == url


@pytest.mark.parametrize("name", ["v?1", "v%202"])
def test_a_directory_that_airflow_cannot_work_in_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="neither '%' nor"):
        variables({"TRAP_VAR": f"/data/{name}"})


@pytest.mark.parametrize("verb", [store_url, variables])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:secret@host/db", "TRAP_DB to sqlite"),
        ("sqlite://", "TRAP_DB keeps results in memory"),
        ("sqlite:///:memory:", "TRAP_DB keeps results in memory"),
        ("postgresql://me:se@secret@host/db", "TRAP_DB has an '@' too many"),
    ],
)
def test_databases_that_do_not_serve_are_refused(
    verb: Callable[..., object], url: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        verb({"TRAP_DB": url})
    assert "secret" not in str(caught.value)


def test_user_and_password_may_stand_in_the_options() -> None:
    url = store_url({"TRAP_DB": "postgresql+psycopg2://host/db?user=me&password=p&sslmode=require"})
    assert url == "postgresql://me:p@host/db?sslmode=require"


@pytest.mark.parametrize("name", ["TRAP_DB", "AIRFLOW_CONN_TRAP_STORE"])
@pytest.mark.parametrize("url", ["/data/results.db", "{not json"])
def test_a_variable_that_is_no_url_is_named(name: str, url: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is not a database URL"):
        store_url({name: url})


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////data/x.db",
        "postgresql://me:p%40ss%2Fword@host:5433/db?sslmode=require",
        "postgresql://host/db",
        "postgresql://:secret@host/db",
    ],
)
def test_the_connection_leads_back_to_the_url(url: str) -> None:
    connection = airflow_connection(url)
    assert store_url({"AIRFLOW_CONN_TRAP_STORE": connection}) == url
    fields = json.loads(connection)
    rebuilt = url_of_connection(
        fields["conn_type"],
        fields.get("host"),
        fields.get("port"),
        fields.get("login"),
        fields.get("password"),
        fields.get("schema"),
        json.loads(fields.get("extra", "{}")),
    )
    assert make_url(rebuilt) == make_url(url)


def test_the_users_own_choices_are_kept_and_this_checkout_named() -> None:
    root = Path(__file__).resolve().parents[3]
    found = variables(
        {
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "9",
            "AIRFLOW__CORE__DAGS_FOLDER": "/another/checkout/dags",
            "PATH": "/usr/bin",
        }
    )
    assert found["AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"] == "9"
    assert found["AIRFLOW__CORE__DAGS_FOLDER"] == str(root / "dags")
    assert found["AIRFLOW_HOME"] == str(root / "var" / "airflow")
    assert found["PATH"].endswith(":/usr/bin")
