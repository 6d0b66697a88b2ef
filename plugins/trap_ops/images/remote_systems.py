"""File systems of fsspec for each protocol, with the limits that hold for all."""

from __future__ import annotations

from functools import cache
from typing import Any

from trap_ops.errors import ImageError
from trap_ops.images.access import CONNECTION, Access
from trap_ops.images.addresses import Address

# Seconds for a connection, and of silence on one. Nothing waits longer.
CONNECT_S = 10
SILENCE_S = 60
_ATTEMPTS = 2


class WholeFilesOnly(Exception):  # noqa: N818 - it is a way of servers, not an error
    """A web server sends no parts of files."""


def file_system(address: Address, access: Access) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the path in it.

    fsspec keeps one a process and thread for equal options, and makes new ones after a fork.

    Raises
    ------
    ImageError
        If a package is missing.
    """
    options = dict(access.options.get(address.protocol, {}))
    try:
        if address.protocol == "s3":
            return _s3(options), f"{address.authority}/{address.path}"
        return _https(address, options), address.text
    except ImportError as error:
        msg = f"reading {address.protocol}:// needs the package {error.name}: run make setup"
        raise ImageError(msg, reason="package missing", passing=True) from error


def _s3(options: dict[str, Any]) -> Any:  # noqa: ANN401 - fsspec has no types
    import s3fs  # noqa: PLC0415 - slow, and of no use without remote images

    system = s3fs.S3FileSystem(
        **(options or {"anon": True}),
        use_listings_cache=False,
        config_kwargs={
            "connect_timeout": CONNECT_S,
            "read_timeout": SILENCE_S,
            "retries": {"max_attempts": _ATTEMPTS, "mode": "standard"},
        },
    )
    # s3fs would do all of these attempts again, five times.
    system.retries = 1
    return system


def _https(address: Address, options: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    """A web server. Passwords go to the host of the connection only, and are part of no address."""
    import aiohttp  # noqa: PLC0415 - slow, and of no use without remote images
    from fsspec.implementations.http import HTTPFileSystem  # noqa: PLC0415

    mine = address.authority == str(options.get("host")).removesuffix(":443")
    per_request: dict[str, Any] = {"headers": dict(options["headers"])} if mine else {}
    if options.get("ca_file") and mine:
        per_request["ssl"] = _trusting(options["ca_file"])
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
    return HTTPFileSystem(
        encoded=True,
        use_listings_cache=False,
        allow_redirects=False,
        client_kwargs={"timeout": timeout, "raise_for_status": _check_response},
        **per_request,
    )


@cache
def _trusting(ca_file: str) -> Any:  # noqa: ANN401 - of a module that is imported late
    import ssl  # noqa: PLC0415

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # Those of ssl are some too.
        msg = (
            f"the file of certificates that the connection {CONNECTION} names as ca_file cannot "
            f"be used on this machine: {_detail(error)}"
        )
        raise ImageError(msg, reason="unreachable", passing=True) from None


def _detail(error: OSError) -> str:
    from ssl import SSLError  # noqa: PLC0415

    if isinstance(error, SSLError):
        return "there is no certificate in it"
    return error.strerror or type(error).__name__


async def _check_response(response: Any) -> None:  # noqa: ANN401 - aiohttp is imported late
    """Refuse what is not the file that was asked for."""
    if response.status >= 300:
        response.close()
        response.raise_for_status()
        msg = (
            f"the server leads on to another address (status {response.status}), which is not "
            "followed; give the address that the file is at"
        )
        raise ImageError(msg, reason="redirected")
    wanted = response.request_info.headers.get("Range")
    if wanted and response.status != 206:
        response.close()
        raise WholeFilesOnly
