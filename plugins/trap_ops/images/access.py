"""What reading images needs beside their place: where it is allowed, and keys to remote storage."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trap_ops.errors import ConfigError

CONNECTION = "trap_images"
# The same without Airflow's database.
VARIABLE = f"AIRFLOW_CONN_{CONNECTION.upper()}"
_STORES = {"aws": "s3", "s3": "s3", "http": "https", "https": "https"}


@dataclass(frozen=True)
class Access:
    """Where images may be read, and with which credentials: never shown, logged or stored.

    Attributes
    ----------
    options : mapping
        By protocol. Of ``s3`` what s3fs takes; of ``https`` the ``host`` that ``headers`` are sent
        to, and ``ca_file``, a file of certificates that are trusted. A protocol without any is
        used without credentials.
    data_roots : tuple of str
        Only what is below these is read. Empty: every file of this machine, and nothing remote.
    scratch_dir : Path or None
        For copies of remote images while they are read; None: the system's directory for such.
    """

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    data_roots: tuple[str, ...] = ()
    scratch_dir: Path | None = None

    def below(self, data_roots: Sequence[str]) -> Access:
        """Return the same for other data roots."""
        return replace(self, data_roots=tuple(data_roots))


LOCAL_ONLY = Access()


def options_of_connection(
    conn_type: str,
    host: str | None,
    port: int | None,
    login: str | None,
    password: str | None,
    extra: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Return the options that the Airflow connection ``trap_images`` describes.

    Raises
    ------
    ConfigError
        If it is of another type than aws, http or https. The message has no value of it.
    """
    protocol = _STORES.get(conn_type)
    if protocol is None:
        msg = (
            f"the connection {CONNECTION} is of type {conn_type!r}; images are read with "
            "connections of type aws (s3://) or http (https://)"
        )
        raise ConfigError(msg, conn_type=conn_type)
    if protocol == "s3":
        return {"s3": _of_s3(login, password, extra)}
    return {"https": _of_https(host, port, login, password, extra)}


def _of_s3(login: str | None, password: str | None, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Options of s3fs. Without a login those of the machine are used, unless it is anonymous."""
    region = extra.get("region_name") or extra.get("region")
    options = {
        "anon": bool(extra.get("anonymous") or extra.get("anon")),
        "key": login or extra.get("aws_access_key_id"),
        "secret": password or extra.get("aws_secret_access_key"),
        "token": extra.get("aws_session_token"),
        "endpoint_url": extra.get("endpoint_url"),
        "profile": extra.get("profile_name") or extra.get("profile"),
        "client_kwargs": {"region_name": region} if region else None,
    }
    return {key: value for key, value in options.items() if value is not None}


def _of_https(
    host: str | None,
    port: int | None,
    login: str | None,
    password: str | None,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    name = re.sub(r"^https?://", "", (host or "").lower()).partition("/")[0]
    if port and port != 443 and ":" not in name:
        name = f"{name}:{port}"
    token = extra.get("token") or (password if not login else None)
    headers = {}
    if token:
        headers = {"Authorization": f"Bearer {token}"}
    elif login:
        pair = base64.b64encode(f"{login}:{password or ''}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}"}
    if headers and not name:
        msg = f"the connection {CONNECTION} names no host: its password would be sent to any server"
        raise ConfigError(msg)
    return {"host": name, "headers": headers, "ca_file": extra.get("ca_file")}
