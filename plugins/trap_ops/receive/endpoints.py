"""Where streams come from: a host and a port."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line

LOOPBACK = "127.0.0.1"
_FORM = re.compile(r"(?:(?:\[([0-9A-Fa-f:.%\w]+)\]|([\w.-]+))?:)?(\d{1,5})")


@dataclass(frozen=True)
class Endpoint:
    """One end of connections.

    Attributes
    ----------
    host : str
    port : int
        0 for any free one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """Read ``HOST:PORT``, ``[IPv6]:PORT``, or a port of this machine that others do not reach.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None or int(match[3]) > 65535:
        msg = f"{one_line(text)} is no HOST:PORT, e.g. localhost:6666; ports go up to 65535"
        raise ConfigError(msg, endpoint=text)
    return Endpoint(match[1] or match[2] or LOOPBACK, int(match[3]))
