"""Credentials of remote images, from the environment."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from trap_ops.commands.environment import image_access
from trap_ops.errors import ConfigError

NAME = "AIRFLOW_CONN_TRAP_IMAGES"
S3 = {"key": "me", "secret": "a/b+c", "anon": False, "endpoint_url": "http://s3.example.org:9000"}


@pytest.mark.parametrize(
    "extra",
    ['{"endpoint_url": "http://s3.example.org:9000"}', {"endpoint_url": S3["endpoint_url"]}],
)
def test_a_connection_of_the_environment(extra: object, tmp_path: Path) -> None:
    fields = {"conn_type": "aws", "login": "me", "password": "a/b+c", "extra": extra}
    access = image_access({NAME: json.dumps(fields), "TRAP_VAR": str(tmp_path)})
    assert access.options == {"s3": S3}
    assert access.scratch_dir == tmp_path / "scratch"


@pytest.mark.parametrize(
    "query",
    [
        {"endpoint_url": S3["endpoint_url"]},
        {"__extra__": json.dumps({"endpoint_url": S3["endpoint_url"]})},
    ],
)
def test_a_connection_as_a_uri(query: dict[str, str]) -> None:
    text = f"aws://me:{quote('a/b+c', safe='')}@/?{urlencode(query)}"
    assert image_access({NAME: text}).options == {"s3": S3}


def test_a_web_server() -> None:
    access = image_access({NAME: "http://me:secret@Archive.example.org:8443/?ca_file=/ca.pem"})
    assert access.options["https"] == {
        "host": "archive.example.org:8443",
        "headers": {"Authorization": "Basic bWU6c2VjcmV0"},
        "ca_file": "/ca.pem",
    }


def test_without_one_there_are_no_credentials() -> None:
    assert image_access({}).options == {}


@pytest.mark.parametrize("text", ["{secret", "[1]", "aws://me:secret@host:port/", '{"port": "se"}'])
def test_what_is_no_connection(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        image_access({NAME: text})
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
