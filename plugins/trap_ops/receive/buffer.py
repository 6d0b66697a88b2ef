"""Images that wait to be written: so many, and so many bytes, and no more."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StreamImage:
    """An image as it came.

    Attributes
    ----------
    source : str
        Where it comes from, as the user has named it.
    peer : str
        Who sent it, for messages.
    cards : bytes
        Its header, without END.
    pixels : bytearray
        In the byte order of the stream.
    received_at : float
        Seconds of a clock that only goes forward.
    """

    source: str
    peer: str
    cards: bytes
    pixels: bytearray
    received_at: float


class Buffer:
    """Holds images between the connections and the disk.

    Bytes count from their arrival until their image is on the disk. Where there is no room for
    more, the oldest image that waits is dropped: what is written is then as recent as can be, and
    an alert is worth most when it is early.

    Parameters
    ----------
    images_max, bytes_max : int
    dropped : callable
        Is told of each image that had to go.
    """

    def __init__(
        self, images_max: int, bytes_max: int, dropped: Callable[[StreamImage], None]
    ) -> None:
        self.images_max = images_max
        self.bytes_max = bytes_max
        self.held = 0
        self._dropped = dropped
        self._waiting: deque[StreamImage] = deque()
        self._of_waiting = 0
        self._changed = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting_s(self) -> float:
        """How long the oldest image has waited."""
        return time.monotonic() - self._waiting[0].received_at if self._waiting else 0.0

    def reserve(self, size: int) -> bool:
        """Take room for bytes that have come; whether there is so much.

        Nothing is dropped for what would not find room even so.
        """
        if self.held - self._of_waiting + size > self.bytes_max:
            return False
        while self.held + size > self.bytes_max:
            self._drop_oldest()
        self.held += size
        return True

    def release(self, size: int) -> None:
        """Give room back."""
        self.held -= size

    def put(self, image: StreamImage) -> None:
        """Let an image wait, for whose pixels there is room already."""
        if len(self._waiting) >= self.images_max:
            self._drop_oldest()
        self._waiting.append(image)
        self._of_waiting += len(image.pixels)
        self._changed.set()

    async def get(self) -> StreamImage | None:
        """Wait for the next image; None when the buffer is closed and empty.

        Its bytes count until they are given back.
        """
        while not self._waiting:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._take()

    def close(self) -> None:
        """No more images will come."""
        self._closed = True
        self._changed.set()

    def _take(self) -> StreamImage:
        image = self._waiting.popleft()
        self._of_waiting -= len(image.pixels)
        return image

    def _drop_oldest(self) -> None:
        image = self._take()
        self.release(len(image.pixels))
        self._dropped(image)
