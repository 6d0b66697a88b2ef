"""Images of the stream as files: whole or not at all, with a name that no other image has."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from trap_ops.errors import ConfigError, ImageError
from trap_ops.images.files import SourceFile, confine
from trap_ops.images.injection import whole_header, with_values
from trap_ops.images.inspection import inspect_source
from trap_ops.images.planes import STOKES_LETTERS
from trap_ops.images.reading import RulesOf
from trap_ops.images.replacing import sync_directory
from trap_ops.images.stream import file_pixels
from trap_ops.images.structure import BLOCK
from trap_ops.receive.buffer import StreamImage
from trap_ops.records.images import ImageFile
from trap_ops.records.names import shown_path

DISK = "disk"
# Hidden, and with an ending that no image has: nothing that looks for images takes it for one.
_SCRATCH = ".trap-receive.part"
_LOCK = ".trap-receive.lock"
_CHUNK = 1 << 20


class Outcome(Enum):
    """What became of an image."""

    WRITTEN = "written"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Saved:
    """A file that an image is in.

    Attributes
    ----------
    path : Path
    outcome : Outcome
    lacks : str
        What a run will miss in it; empty if nothing.
    """

    path: Path
    outcome: Outcome
    lacks: str = ""


class Directory:
    """A directory that one receiver writes into.

    Parameters
    ----------
    path : Path
        Is made if it is not there.
    rules_of : callable
        Gives the settings for images of a telescope: how headers are read.
    values : mapping
        Metadata that headers lack, by key of a parset.
    over : bool
        They replace what headers have.
    data_roots : tuple of str
        If not empty, it must be below one of these.

    Raises
    ------
    ConfigError
        If nothing can be written there, or another receiver does.
    ImageError
        If it is outside the data roots.
    """

    def __init__(
        self,
        path: Path,
        rules_of: RulesOf,
        values: Mapping[str, str | int | float],
        *,
        over: bool = False,
        data_roots: tuple[str, ...] = (),
    ) -> None:
        self.path = confine(path.absolute(), data_roots)
        self._rules_of = rules_of
        self._values = values
        self._over = over
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.path)
            (self.path / _SCRATCH).unlink(missing_ok=True)
        except OSError as error:
            msg = f"{shown_path(self.path)}: no images can be written there: {error.strerror}"
            raise ConfigError(msg, path=str(self.path)) from error

    def close(self) -> None:
        """Leave it to others."""
        os.close(self._lock)

    def save(self, image: StreamImage) -> Saved:
        """Write an image with its header completed, unless it is there.

        Raises
        ------
        ImageError
            If it has no place in a series, and so no name; or if it cannot be written.
        """
        cards = with_values(image.cards, self._values, over=self._over)
        header = whole_header(cards)
        found, lacks = self._read(header, len(image.pixels))
        pixels = file_pixels(image.pixels)
        stem = _stem(found)
        number, path = 1, self.path / f"{stem}.fits"
        try:
            while path.exists():
                if _is_same(path, header, pixels):
                    return Saved(path, Outcome.DUPLICATE)
                number += 1
                path = self.path / f"{stem}-{number}.fits"
            self._write(path, header, pixels)
        except OSError as error:
            msg = f"an image cannot be written to {shown_path(self.path)}: {error.strerror}"
            raise ImageError(msg, reason=DISK, passing=True) from error
        return Saved(path, Outcome.WRITTEN, lacks)

    def _read(self, header: bytes, size: int) -> tuple[ImageFile, str]:
        """What the pipeline will read of the file, and what it will miss."""
        source = SourceFile(
            location=str(self.path / "image.fits"),
            name="the image",
            size=len(header) + _padded(size),
            mtime_ns=0,
            open=lambda: io.BytesIO(header),
        )
        inspection = inspect_source(source, self._rules_of)[0]
        problems = inspection.problems
        if inspection.image is None or {"start", "freq_eff_hz"} & inspection.unknown:
            raise problems[0]
        return inspection.image, "; ".join(problem.message for problem in problems)

    def _write(self, path: Path, header: bytes, pixels: memoryview) -> None:
        scratch = self.path / _SCRATCH
        scratch.unlink(missing_ok=True)
        try:
            with scratch.open("xb") as file:
                file.write(header)
                file.write(pixels)
                file.write(bytes(_padded(pixels.nbytes) - pixels.nbytes))
                file.flush()
                os.fsync(file.fileno())
            # Nobody else writes here, so the name is still free.
            scratch.replace(path)
        except OSError:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)
            raise
        sync_directory(self.path)


def _stem(image: ImageFile) -> str:
    """Name of an image, made of numbers only: no stream chooses where something is written."""
    stokes = STOKES_LETTERS.get(image.stokes, str(image.stokes))
    start = image.start.strftime("%Y%m%dT%H%M%S.%f")
    return f"{start}-{image.freq_eff_hz / 1e6:.6f}MHz-{stokes}"


def _is_same(path: Path, header: bytes, pixels: memoryview) -> bool:
    size = len(header) + _padded(pixels.nbytes)
    if path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            return False
        parts = (pixels[start : start + _CHUNK] for start in range(0, len(pixels), _CHUNK))
        return all(file.read(len(part)) == part for part in parts)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _locked(directory: Path) -> int:
    """Hold a lock on a directory until the file that is returned is closed."""
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        msg = f"{shown_path(directory)}: another receiver writes there; give this one its own"
        raise ConfigError(msg, path=str(directory)) from error
    except OSError:
        pass  # Some file systems have no locks.
    return lock
