"""Streams to receive, made by hand, and a receiver that runs beside a test."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trap_ops.config.model import ImagesConfig
from trap_ops.receive.endpoints import Endpoint
from trap_ops.receive.service import Limits, Receiver
from trap_ops.receive.writing import Directory
from unit.images.fits_files import header

QUICK = Limits(image_s=60.0, retry_s=0.02, retry_max_s=0.1)
ANY_PORT = (Endpoint("127.0.0.1", 0),)


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(24, 32)).astype("<f4")


def cards_of(changes: dict[str, Any] | None = None, shape: tuple[int, int] = (24, 32)) -> bytes:
    made = header(changes)
    ny, nx = shape
    first = {"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": nx, "NAXIS2": ny}
    for key, value in reversed(first.items()):
        made.insert(0, (key, value))
    return made.tostring().encode("ascii")


def window(
    changes: dict[str, Any] | None = None, seed: int = 0, data: np.ndarray | None = None
) -> bytes:
    """An image as the emulator of classic TraP packs it."""
    data = pixels(seed) if data is None else data
    text, raw = cards_of(changes, data.shape), data.tobytes()
    return struct.pack("=QLL496x", 0x47494A53484F4D4F, len(text), len(raw)) + text + raw


def at(second: int) -> dict[str, str]:
    return {
        "DATE-OBS": f"2012-04-06T03:42:{second:02d}",
        "END_UTC": f"2012-04-06T03:42:{second + 1:02d}",
    }


def directory_of(path: Path, **options: Any) -> Directory:
    return Directory(path, lambda _: ImagesConfig(), options.pop("values", {}), **options)


def until(true: Callable[[], bool], what: str = "") -> None:
    end = time.monotonic() + 60.0
    while not true():
        assert time.monotonic() < end, what or "it did not happen"
        time.sleep(0.005)


@contextmanager
def receiving(
    directory: Directory,
    connect: tuple[Endpoint, ...] = (),
    listen: tuple[Endpoint, ...] = ANY_PORT,
    limits: Limits = QUICK,
) -> Iterator[Receiver]:
    """A receiver that runs in a thread; at the end it has written what it has received."""
    receiver = Receiver(connect, listen, directory, limits)
    told: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stop = asyncio.Event()
        told.append((asyncio.get_running_loop(), stop))
        await receiver.run(stop)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: asyncio.run(run()))
        try:
            until(lambda: running.done() or (bool(told) and len(receiver.addresses) == len(listen)))
            yield receiver
        finally:
            if not running.done():
                told[0][0].call_soon_threadsafe(told[0][1].set)
            running.result(timeout=60.0)
            directory.close()


@contextmanager
def connected(receiver: Receiver) -> Iterator[socket.socket]:
    with socket.create_connection(receiver.addresses[0], timeout=60.0) as connection:
        yield connection


def files(path: Path) -> list[str]:
    return sorted(each.name for each in path.glob("*.fits"))
