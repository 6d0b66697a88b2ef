"""Addresses of remote images, and the data roots that confine them and local files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from trap_ops.errors import ConfigError, ImageError
from trap_ops.records.names import shown_path

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# Buckets, by their old rules too; hosts with or without a port. Both are names without any of the
# characters that lead elsewhere.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What a path of a web address may hold unquoted.
_PLAIN = "/~!$&'()*+,;=:@"


@dataclass(frozen=True)
class Address:
    """Where a remote file is, in one spelling.

    Attributes
    ----------
    protocol : str
        ``s3`` or ``https``.
    authority : str
        Bucket; or host in lower case, with its port if that is not 443.
    path : str
        Key, or path without codes like ``%20``; no slash in front.
    """

    protocol: str
    authority: str
    path: str

    @property
    def text(self) -> str:
        """The address as it is stored and shown."""
        path = quote(self.path, safe=_PLAIN) if self.protocol == "https" else self.path
        return f"{self.protocol}://{self.authority}/{path}"

    @property
    def name(self) -> str:
        """Base name."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    def is_below(self, root: Address) -> bool:
        """Whether a root holds it."""
        if (self.protocol, self.authority) != (root.protocol, root.authority):
            return False
        top = root.path.rstrip("/")
        return not top or self.path == top or self.path.startswith(f"{top}/")


def is_address(text: str) -> bool:
    """Whether a text is an address, and no path of this machine."""
    return _SCHEME.match(text) is not None


def parse_address(text: str) -> Address:
    """Read an address of a remote file, directory or pattern.

    Raises
    ------
    ImageError
        If it is none that images are read from. The message has nothing that may be secret.
    """
    problem = _problem(text)
    if problem:
        msg = f"{shown_address(text)}: {problem}"
        raise ImageError(msg, reason="address")
    scheme, rest = text.split("://", 1)
    authority, _, path = rest.partition("/")
    if scheme.lower() == "https":
        return Address("https", authority.lower().removesuffix(":443"), unquote(path))
    return Address("s3", authority, path)


def local_path_of(text: str) -> str:
    """Path of a ``file://`` address; other texts as they are.

    Raises
    ------
    ImageError
        If it names another machine.
    """
    if not text.lower().startswith("file:"):
        return text
    host, slash, path = text[len("file:") :].removeprefix("//").partition("/")
    if host.lower() not in {"", "localhost"} or not slash:
        msg = f"{shown_address(text)}: write file:///directory/file.fits, or the path alone"
        raise ImageError(msg, reason="address")
    return f"/{unquote(path)}"


def kept_input(text: str) -> str:
    """Return an input as it may be kept: unchanged, unless there may be something secret in it."""
    text = text.strip()
    try:
        plain = local_path_of(text)
    except ImageError:
        return shown_address(text)
    return shown_address(text) if _may_be_secret(plain) else text


def shown_address(text: str) -> str:
    """Return an input for messages, without what may be secret in it: user, password, query."""
    if _may_be_secret(text):
        scheme = text.partition(":")[0]
        return shown_path(f"{scheme}:... (not shown: it may hold a password or a signature)")
    return shown_path(text)


def _may_be_secret(text: str) -> bool:
    """Whether a text is an address that is not read, with more than places in it."""
    like_one = is_address(text) or "://" in text
    return like_one and re.search(r"[@?#%]", text) is not None and bool(_problem(text))


def parse_root(text: str) -> Address | Path:
    """Read a data root.

    Raises
    ------
    ConfigError
        If it is neither an absolute directory nor an address.
    """
    try:
        plain = local_path_of(text)
        if is_address(plain):
            return parse_address(plain)
    except ImageError as error:
        msg = f"images.data_roots: {error.message}"
        raise ConfigError(msg) from error
    path = Path(plain).expanduser()
    if not path.is_absolute():
        msg = f"images.data_roots: {shown_path(text)} is neither an absolute path nor an address"
        raise ConfigError(msg)
    return path


def check_below_roots(address: Address, data_roots: Sequence[str]) -> None:
    """Check that an address is below one of the data roots.

    Raises
    ------
    ImageError
        If it is not, or if no root is remote.
    """
    roots = [root for root in map(parse_root, data_roots) if isinstance(root, Address)]
    if not roots:
        msg = (
            f"{shown_path(address.text)}: remote images are read from below the data roots of the "
            "site only, and none is remote; in include/configs/default.toml, write "
            f'[images] data_roots = ["{address.protocol}://{address.authority}/", ...]'
        )
        raise ImageError(msg, reason="outside the data roots")
    if not any(address.is_below(root) for root in roots):
        msg = (
            f"{shown_path(address.text)}: is not below a data root of this site "
            f"({', '.join(data_roots)})"
        )
        raise ImageError(msg, reason="outside the data roots")


def _problem(text: str) -> str:
    """Say what is wrong with an address; empty if nothing is."""
    scheme, _, rest = text.partition(":")
    if "::" in text:
        return "chains of protocols (::) are not read"
    if scheme.lower() not in {"s3", "https"} or not rest.startswith("//"):
        return "images are read from s3://bucket/..., https://host/..., file:///... and paths"
    if re.search(r"[?#]", rest):
        return "an address must have neither a query (?) nor a fragment (#): it is stored and shown"
    authority, _, path = rest[2:].partition("/")
    if "@" in authority:
        return (
            "an address must hold no user and password: it is stored and shown; they belong into "
            "the connection trap_images"
        )
    pattern = _BUCKET if scheme.lower() == "s3" else _HOST
    if not pattern.fullmatch(authority):
        return f"{'the bucket' if scheme.lower() == 's3' else 'the host'} has no valid name"
    return _problem_of_path(path)


def _problem_of_path(path: str) -> str:
    """Say what leads elsewhere in a path, also if it is written in codes, or in codes of codes."""
    while True:
        parts = path.rstrip("/").split("/") if path.rstrip("/") else []
        if path.endswith("//") or any(part in {"", ".", ".."} for part in parts):
            return "its path must have no empty part, '.' or '..'"
        if re.search(r"[\\?#]", path) or _CONTROL.search(path):
            return r"its path must have none of '?', '#', '\', and no characters that are unseen"
        plain = unquote(path)
        if plain == path:
            return ""
        path = plain
