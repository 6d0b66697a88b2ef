"""A telescope that sends its images as AARTFAAC does: files become a stream."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits

from trap_ops.errors import ImageError
from trap_ops.images.stream import announce
from trap_ops.records.names import shown_path


def stream_bytes(path: Path) -> bytes:
    """The image of a FITS file as it goes over the wire.

    Raises
    ------
    ImageError
        If the file cannot be read, or its first HDU is no image.
    """
    try:
        with fits.open(path) as hdus:
            header, data = hdus[0].header, hdus[0].data
            if data is None:
                msg = f"{shown_path(path)}: its first HDU holds no image"
                raise ImageError(msg, reason="no image")
            # Of other types the pixels are made float32, which the header then has to say.
            header["BITPIX"] = -32
            text: bytes = header.tostring().encode("ascii")
            pixels: bytes = np.asarray(data, "<f4").tobytes()
    except OSError as error:
        msg = f"{shown_path(path)}: the file cannot be read: {error.strerror or error}"
        raise ImageError(msg, reason="unreadable file") from error
    return announce(len(text), len(pixels)) + text + pixels


def send(connection: socket.socket, images: Iterable[bytes], every_s: float) -> Iterator[float]:
    """Send images, one each so many seconds.

    Yields
    ------
    float
        Seconds that an image was late, as the other side did not take it sooner.
    """
    begun = time.monotonic()
    for number, image in enumerate(images):
        due = begun + number * every_s
        time.sleep(max(0.0, due - time.monotonic()))
        connection.sendall(image)
        yield time.monotonic() - due
