"""Images out of a connection, and what is wrong with what comes instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from trap_ops.errors import ImageError
from trap_ops.images.stream import ANNOUNCEMENT_SIZE, parse_announcement, parse_header
from trap_ops.receive.buffer import Buffer, StreamImage

NO_ROOM = "no room"
_CHUNK = 1 << 18


async def read_images(
    stream: asyncio.StreamReader,
    source: str,
    peer: str,
    buffer: Buffer,
    *,
    pixels_max: int,
    image_s: float,
) -> AsyncIterator[StreamImage | ImageError]:
    """Read images one after the other, until the other side closes the connection between two.

    Silence between images is no error, however long. Memory is taken as bytes come, never because
    they are announced.

    Parameters
    ----------
    stream : asyncio.StreamReader
    source, peer : str
    buffer : Buffer
        Has the room for pixels.
    pixels_max : int
        Bytes of pixels that an image may have.
    image_s : float
        Seconds from the first byte of an image to its last.

    Yields
    ------
    StreamImage or ImageError
        An error is an image that cannot be used; the next one can be.

    Raises
    ------
    ImageError
        If the connection cannot be used any more.
    """
    while first := await _first_byte(stream):
        try:
            async with asyncio.timeout(image_s):
                found = await _read_image(stream, first, buffer, pixels_max)
        except TimeoutError as error:
            msg = f"an image was not whole {image_s:g} s after its first byte"
            raise ImageError(msg, reason="stalled") from error
        except (asyncio.IncompleteReadError, OSError) as error:
            msg = f"the connection ended in the middle of an image{_detail(error)}"
            raise ImageError(msg, reason="connection lost") from error
        if isinstance(found, ImageError):
            yield found
        else:
            yield StreamImage(source, peer, *found, received_at=time.monotonic())


async def _first_byte(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.read(1)
    except OSError as error:
        msg = f"the connection was lost{_detail(error)}"
        raise ImageError(msg, reason="connection lost") from error


async def _read_image(
    stream: asyncio.StreamReader, first: bytes, buffer: Buffer, pixels_max: int
) -> tuple[bytes, bytearray] | ImageError:
    raw = first + await stream.readexactly(ANNOUNCEMENT_SIZE - len(first))
    announced = parse_announcement(raw, pixels_max)
    header = await stream.readexactly(announced.header_size)
    try:
        cards = parse_header(header, announced)
    except ImageError as error:
        await _skip(stream, announced.pixels_size)
        return error
    return await _read_pixels(stream, announced.pixels_size, cards, buffer)


async def _read_pixels(
    stream: asyncio.StreamReader, size: int, cards: bytes, buffer: Buffer
) -> tuple[bytes, bytearray] | ImageError:
    pixels = bytearray()
    try:
        while len(pixels) < size:
            chunk = await _some(stream, size - len(pixels))
            if not buffer.reserve(len(chunk)):
                missing = size - len(pixels) - len(chunk)
                buffer.release(len(pixels))
                pixels.clear()
                await _skip(stream, missing)
                msg = (
                    f"an image of {size} bytes found no room beside those that are coming in, in "
                    f"a buffer of {buffer.bytes_max} bytes; give it more"
                )
                return ImageError(msg, reason=NO_ROOM, size=size)
            pixels += chunk
    except BaseException:
        buffer.release(len(pixels))
        raise
    return cards, pixels


async def _skip(stream: asyncio.StreamReader, size: int) -> None:
    while size > 0:
        size -= len(await _some(stream, size))


async def _some(stream: asyncio.StreamReader, most: int) -> bytes:
    chunk = await stream.read(min(most, _CHUNK))
    if not chunk:
        nothing = b""
        raise asyncio.IncompleteReadError(nothing, most)
    return chunk


def _detail(error: OSError | asyncio.IncompleteReadError) -> str:
    return f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
