"""Remote images through fsspec: which there are, parts of them, and copies of them."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO

from trap_ops.errors import ConfigError, DiskUnavailable, ImageError, can_pass
from trap_ops.images.access import Access
from trap_ops.images.addresses import (
    Address,
    check_below_roots,
    parse_address,
)
from trap_ops.images.files import SourceFile
from trap_ops.images.remote_errors import unreachable
from trap_ops.images.remote_systems import WholeFilesOnly, file_system

# A header is read in pieces of this size, each once.
_BLOCK_BYTES = 64 << 10
_BLOCKS_MAX = 32
_COPY_BYTES = 4 << 20


@dataclass
class _Sink:
    """A local file that a remote one is copied to, of the size that was announced."""

    file: BinaryIO
    size: int
    digest: Any = field(default_factory=hashlib.sha256)

    def write(self, data: bytes) -> None:
        if self.file.tell() + len(data) > self.size:
            raise _longer(self.size)
        with _kept():
            self.file.write(data)
        self.digest.update(data)


def checked_address(text: str) -> str:
    """Return an address in the spelling in which it is stored.

    Raises
    ------
    ImageError
        If it is none that images are read from.
    """
    return parse_address(text).text


def expand(item: str, suffixes: Sequence[str], access: Access) -> list[str]:
    """Return the addresses that an input stands for.

    Parameters
    ----------
    item : str
        Of a file; of a directory, with a slash at its end or known as one; or, on S3, a pattern.
    suffixes : sequence of str
        Of the files that are taken from a directory.
    access : Access

    Raises
    ------
    ImageError
        If it leads nowhere, or out of the data roots.
    """
    address = parse_address(item)
    literal = re.split(r"[*\[]", address.path, maxsplit=1)[0]
    pattern = address.protocol == "s3" and literal != address.path
    # What is listed must be below a root too, not only what is found.
    top = literal.rpartition("/")[0] if pattern else address.path.rstrip("/")
    check_below_roots(Address(address.protocol, address.authority, top), access.data_roots)
    if address.protocol == "https":
        if not address.path or address.path.endswith("/"):
            msg = f"{address.text}: a web server lists no directory; name its files"
            raise ImageError(msg, reason="address")
        return [address.text]
    with _told(address):
        return _listed(address, suffixes, access, pattern=pattern)


@contextmanager
def partial_file(location: str, access: Access) -> Iterator[SourceFile]:
    """Give a remote file of which only those parts are fetched that are read.

    Of a server that sends no parts it is a copy.

    Raises
    ------
    ImageError
        If it cannot be reached; also for what happens while it is read, whatever the reader made
        of it.
    """
    address = _confined(location, access)
    with _told(address):
        system, path = file_system(address, access)
        status = _status(system, path)
    with tempfile.TemporaryFile(dir=_scratch(access)) as copy:
        parts = _Parts(system, path, status, address, copy)
        try:
            yield SourceFile(address.text, address.name, status.size, status.mtime_ns, parts.opened)
        except Exception:
            if parts.failure is not None:
                raise parts.failure from None
            raise


@contextmanager
def copied_file(location: str, access: Access) -> Iterator[tuple[SourceFile, str]]:
    """Give an unnamed copy of a remote file, and the SHA-256 of its bytes; it is deleted after.

    Raises
    ------
    ImageError
        If it cannot be copied whole.
    """
    address = _confined(location, access)
    with tempfile.TemporaryFile(dir=_scratch(access)) as copy:
        with _told(address):
            system, path = file_system(address, access)
            status = _status(system, path)
            checksum = _copy(system, path, status.size, copy)
        yield (
            SourceFile(
                address.text,
                address.name,
                status.size,
                status.mtime_ns,
                lambda: _reopened(copy),
            ),
            checksum,
        )


@dataclass(frozen=True)
class _Status:
    size: int
    mtime_ns: int


@dataclass
class _Parts:
    """A remote file that is read in parts; what fails is kept, as readers change errors."""

    system: Any
    path: str
    status: _Status
    address: Address
    copy: BinaryIO
    failure: ImageError | DiskUnavailable | None = None
    whole: bool = False
    blocks: dict[int, bytes] = field(default_factory=dict)

    def opened(self) -> BinaryIO:
        """Open at the beginning."""
        if not self.whole and self.status.size:
            self.block(0)
        if self.whole:
            return _reopened(self.copy)
        return io.BufferedReader(_PartsReader(self), _BLOCK_BYTES)

    def block(self, number: int) -> bytes:
        """Fetch a piece, or take it from those that are kept."""
        if number not in self.blocks:
            while len(self.blocks) >= _BLOCKS_MAX:
                del self.blocks[next(iter(self.blocks))]
            self.blocks[number] = self._fetch(number)
        return self.blocks[number]

    def _fetch(self, number: int) -> bytes:
        start = number * _BLOCK_BYTES
        end = min(start + _BLOCK_BYTES, self.status.size)
        try:
            with _told(self.address):
                try:
                    data = self.system.cat_file(self.path, start=start, end=end)
                except WholeFilesOnly:
                    _copy(self.system, self.path, self.status.size, self.copy)
                    self.whole = True
                    return b""
                if len(data) != end - start:
                    raise _shorter(start + len(data), self.status.size)
                return bytes(data)
        except (ImageError, DiskUnavailable) as error:
            self.failure = error
            raise


class _PartsReader(io.RawIOBase):
    """What Python's buffered readers need of a file in parts."""

    def __init__(self, parts: _Parts) -> None:
        self._parts = parts
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._parts.status.size}
        place = base[whence] + offset
        if place < 0:
            msg = "before the beginning of the file"
            raise ValueError(msg)
        self._place = place
        return place

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        if self._place >= self._parts.status.size:
            return 0
        number, offset = divmod(self._place, _BLOCK_BYTES)
        data = self._parts.block(number)[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def _confined(location: str, access: Access) -> Address:
    address = parse_address(location)
    check_below_roots(address, access.data_roots)
    return address


def _listed(
    address: Address, suffixes: Sequence[str], access: Access, *, pattern: bool
) -> list[str]:
    """Addresses on S3: the file itself, what is in the directory, or what fits the pattern."""
    system, path = file_system(address, access)
    wanted = tuple(suffix.lower() for suffix in suffixes)
    if not address.path.endswith("/") and system.isfile(path):
        return [address.text]
    if pattern:
        found = [path for path, item in _glob(system, path).items() if item["type"] == "file"]
    else:
        found = [
            item["name"]
            for item in system.ls(path.rstrip("/"), detail=True)
            if item["type"] == "file" and item["name"].lower().endswith(wanted)
        ]
    if not found and pattern:
        msg = f"{address.text}: no such file, and no file matches it as a pattern"
        raise ImageError(msg, reason="no such file", passing=True)
    return [f"s3://{name}" for name in found]


def _glob(system: Any, path: str) -> dict[str, Any]:  # noqa: ANN401 - fsspec has no types
    found: dict[str, Any] = system.glob(path, detail=True)
    return found


def _status(system: Any, path: str) -> _Status:  # noqa: ANN401 - as above
    info = system.info(path)
    if info.get("type") == "directory":
        msg = "it is a directory; name its files, or write a slash at its end"
        raise ImageError(msg, reason="not a file")
    if info.get("size") is None:
        msg = "its server does not say how large it is, so a copy could not be known to be whole"
        raise ImageError(msg, reason="no size")
    return _Status(
        int(info["size"]), _mtime_ns(info.get("LastModified") or info.get("Last-Modified"))
    )


def _mtime_ns(time: datetime | str | None) -> int:
    """Nanoseconds since 1970 of a time of S3, or as web servers write it; 0 if there is none."""
    if isinstance(time, str):
        try:
            time = parsedate_to_datetime(time)
        except ValueError:
            return 0
    if time is None:
        return 0
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 1_000_000_000


def _copy(system: Any, path: str, size: int, file: BinaryIO) -> str:  # noqa: ANN401 - as above
    """Copy a whole file once; return the SHA-256 of its bytes."""
    disk = shutil.disk_usage(f"/proc/self/fd/{file.fileno()}")
    if size > disk.free:
        msg = f"there is no room for a copy of its {size} bytes: {disk.free} are free; set TRAP_VAR"
        if size > disk.total:
            raise ImageError(msg, reason="no room", passing=True)
        # An image is not bad because others fill the disk meanwhile.
        raise DiskUnavailable(msg)
    sink = _Sink(file, size)
    with system.open(path, mode="rb", **_STREAMED.get(_protocol(system), {})) as remote:
        while data := remote.read(_COPY_BYTES):
            sink.write(data)
    if file.tell() != size:
        raise _shorter(file.tell(), size)
    with _kept():
        file.flush()
    return str(sink.digest.hexdigest())


@contextmanager
def _kept() -> Iterator[None]:
    """Tell troubles of this machine's disk from those of the network."""
    try:
        yield
    except OSError as error:
        msg = f"no copy of it can be written here: {error.strerror}; make room, or set TRAP_VAR"
        if can_pass(error):
            raise DiskUnavailable(msg) from None
        raise ImageError(msg, reason="no room", passing=True) from None


# How files are read once from beginning to end.
_STREAMED: dict[str, dict[str, Any]] = {
    "https": {"block_size": 0},
    "s3": {"block_size": _COPY_BYTES, "cache_type": "none"},
}


def _protocol(system: Any) -> str:  # noqa: ANN401 - as above
    return "s3" if "s3" in system.protocol else "https"


def _reopened(file: BinaryIO) -> BinaryIO:
    """Another handle on a file without a name, at its beginning."""
    return open(f"/proc/self/fd/{file.fileno()}", "rb")  # noqa: PTH123


def _scratch(access: Access) -> str | None:
    if access.scratch_dir is None:
        return None
    try:
        access.scratch_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = (
            f"copies of remote images cannot be kept in {access.scratch_dir} ({error.strerror}); "
            "set TRAP_VAR to a directory that can be written"
        )
        raise ConfigError(msg) from error
    return str(access.scratch_dir)


def _shorter(had: int, size: int) -> ImageError:
    msg = f"the transfer ended early: {had} of {size} bytes came; the next run tries again"
    return ImageError(msg, reason="unreachable", passing=True)


def _longer(size: int) -> ImageError:
    msg = f"more bytes came than the {size} that were announced; the next run tries again"
    return ImageError(msg, reason="unreachable", passing=True)


@contextmanager
def _told(address: Address) -> Iterator[None]:
    """Say in plain words what goes wrong on the way to a remote file.

    The words of libraries are left out, and so are their errors: they may hold what was sent.
    """
    try:
        yield
    except ImageError as error:
        if error.message.startswith(address.text):
            raise
        msg = f"{address.text}: {error.message}"
        raise ImageError(msg, reason=error.reason, passing=error.passing) from None
    except DiskUnavailable as error:
        if error.message.startswith(address.text):
            raise
        msg = f"{address.text}: {error.message}"
        raise DiskUnavailable(msg) from None
    except Exception as error:  # noqa: BLE001 - of three libraries and the network below them
        raise unreachable(address.text, error) from None
