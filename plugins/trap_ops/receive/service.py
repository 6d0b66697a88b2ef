"""The receiver: connections to telescopes and from them, a buffer, and one writer."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from trap_ops.errors import ConfigError, ImageError
from trap_ops.receive.buffer import Buffer, StreamImage
from trap_ops.receive.counts import Report
from trap_ops.receive.endpoints import Endpoint
from trap_ops.receive.reading import NO_ROOM, read_images
from trap_ops.receive.writing import DISK, Directory, Outcome, Saved

_LOG = logging.getLogger(__name__)
# Of all listening ports together; telescopes have a connection for each subband.
CONNECTIONS_MAX = 64
_READ_AHEAD = 1 << 20
_TICK_S = 1.0
# A peer whose machine has died is noticed after two minutes, however rare its images are.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


@dataclass(frozen=True)
class Limits:
    """What the receiver bears.

    Attributes
    ----------
    images_max, bytes_max : int
        Of the buffer.
    pixels_max : int
        Bytes of pixels of an image.
    image_s : float
        Seconds from the first byte of an image to its last.
    retry_s, retry_max_s : float
        Seconds before a connection is tried again; doubled each time up to the second one.
    """

    images_max: int = 100
    bytes_max: int = 512 << 20
    pixels_max: int = 512 << 20
    image_s: float = 30.0
    retry_s: float = 1.0
    retry_max_s: float = 60.0


class Receiver:
    """Takes the images of streams and writes them into a directory.

    Parameters
    ----------
    connect, listen : tuple of Endpoint
        Telescopes to connect to, and where telescopes may connect.
    directory : Directory
    limits : Limits
    told : callable
        Gets the status once a second.
    """

    def __init__(
        self,
        connect: tuple[Endpoint, ...],
        listen: tuple[Endpoint, ...],
        directory: Directory,
        limits: Limits,
        told: Callable[[dict[str, object]], None] | None = None,
    ) -> None:
        self.report = Report(str(endpoint) for endpoint in (*connect, *listen))
        self.addresses: list[tuple[str, int]] = []
        self._connect = connect
        self._listen = listen
        self._directory = directory
        self._limits = limits
        self._told = told
        self._buffer = Buffer(limits.images_max, limits.bytes_max, self._dropped)
        self._accepted: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Receive until told to stop; then write what has been received.

        Raises
        ------
        ConfigError
            If a port cannot be listened on.
        """
        servers = [await self._serve(endpoint) for endpoint in self._listen]
        self.addresses = [server.sockets[0].getsockname()[:2] for server in servers]
        writer = asyncio.create_task(self._write())
        running: list[asyncio.Task[Any]] = [
            asyncio.create_task(work)
            for work in (
                stop.wait(),
                self._tick(),
                *(self._keep_connected(endpoint) for endpoint in self._connect),
            )
        ]
        # None but the first ends by itself: what does has failed.
        await asyncio.wait((writer, *running), return_when=asyncio.FIRST_COMPLETED)
        for server in servers:
            server.close()
        ended = await _cancelled([*running, *self._accepted])
        self._buffer.close()
        await writer
        self._tell()
        for error in ended:
            if error is not None and not isinstance(error, asyncio.CancelledError):
                raise error

    async def _serve(self, endpoint: Endpoint) -> asyncio.Server:
        source = str(endpoint)

        async def accept(stream: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is None or len(self._accepted) >= CONNECTIONS_MAX:
                self._refused(
                    source,
                    _peer_of(answer),
                    f"{CONNECTIONS_MAX} connections are open; close one of them",
                )
                answer.close()
                return
            self._accepted.add(task)
            try:
                await self._receive(source, _peer_of(answer), stream, answer)
            except asyncio.CancelledError:
                pass  # The service ends, and the server does not want to hear of it.
            finally:
                self._accepted.discard(task)

        try:
            server = await asyncio.start_server(
                accept, endpoint.host, endpoint.port, limit=_READ_AHEAD
            )
        except OSError as error:
            msg = f"cannot listen on {source}: {os.strerror(error.errno or 0)}; take another port"
            raise ConfigError(msg, endpoint=source) from error
        _LOG.info("listening on %s", source)
        return server

    async def _keep_connected(self, endpoint: Endpoint) -> None:
        source = str(endpoint)
        pause = self._limits.retry_s
        while True:
            try:
                stream, answer = await asyncio.wait_for(
                    asyncio.open_connection(endpoint.host, endpoint.port, limit=_READ_AHEAD),
                    self._limits.image_s,
                )
            except (OSError, TimeoutError) as error:
                self.report.say(
                    f"{source}: cannot connect: {_detail(error)}; trying again in {pause:g} s"
                )
            else:
                before = self.report.sources[source].received
                await self._receive(source, source, stream, answer)
                if self.report.sources[source].received > before:
                    pause = self._limits.retry_s
            await asyncio.sleep(pause)
            pause = min(2.0 * pause, self._limits.retry_max_s)

    async def _receive(
        self,
        source: str,
        peer: str,
        stream: asyncio.StreamReader,
        answer: asyncio.StreamWriter,
    ) -> None:
        """Take images until the connection ends or cannot be used any more."""
        counts = self.report.sources[source]
        counts.connections += 1
        self.report.say(f"{peer}: connected", logging.INFO)
        _keep_alive(answer)
        try:
            async for found in read_images(
                stream,
                source,
                peer,
                self._buffer,
                pixels_max=self._limits.pixels_max,
                image_s=self._limits.image_s,
            ):
                counts.received += 1
                if isinstance(found, StreamImage):
                    self._buffer.put(found)
                elif found.reason == NO_ROOM:
                    counts.dropped += 1
                    self.report.say(f"{peer}: {found.message}")
                else:
                    self._refused(source, peer, found.message)
            self.report.say(f"{peer}: closed the connection", logging.INFO)
        except ImageError as error:
            self._refused(source, peer, f"{error.message}; the connection is closed")
        finally:
            counts.connections -= 1
            answer.close()
            with suppress(OSError):
                await answer.wait_closed()

    async def _write(self) -> None:
        while (image := await self._buffer.get()) is not None:
            try:
                saved = await asyncio.to_thread(self._directory.save, image)
            except ImageError as error:
                if error.reason == DISK:
                    self.report.sources[image.source].dropped += 1
                    self.report.say(f"{image.peer}: {error.message}")
                else:
                    self._refused(image.source, image.peer, error.message)
            except Exception as error:  # noqa: BLE001 - one image must not end a night of receiving
                _LOG.exception("%s: an image cannot be written", image.peer)
                self._refused(image.source, image.peer, f"{type(error).__name__}, see the log")
            else:
                self._saved(image, saved)
            finally:
                self._buffer.release(len(image.pixels))

    def _saved(self, image: StreamImage, saved: Saved) -> None:
        counts = self.report.sources[image.source]
        if saved.outcome is Outcome.DUPLICATE:
            counts.duplicates += 1
            return
        counts.written += 1
        self.report.delayed(time.monotonic() - image.received_at)
        if saved.lacks:
            counts.incomplete += 1
            self.report.say(f"{image.peer}: a run will refuse {saved.path.name}: {saved.lacks}")

    def _dropped(self, image: StreamImage) -> None:
        self.report.sources[image.source].dropped += 1
        self.report.say(
            f"{image.peer}: the disk is slower than the stream, and the oldest image that waited "
            f"is dropped (buffer of {self._limits.images_max} images, "
            f"{self._limits.bytes_max / 1e6:.0f} MB)"
        )

    def _refused(self, source: str, peer: str, reason: str) -> None:
        self.report.sources[source].refused += 1
        self.report.say(f"{peer}: refused: {reason}")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._tell()

    def _tell(self) -> None:
        self.report.tick()
        if self._told is not None:
            buffer = self._buffer
            self._told(self.report.status(len(buffer), buffer.waiting_s, buffer.held))


async def _cancelled(tasks: list[asyncio.Task[Any]]) -> list[BaseException | None]:
    """Cancel tasks and wait for their ends; their results are errors or nothing."""
    for task in tasks:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [result if isinstance(result, BaseException) else None for result in found]


def _detail(error: OSError | TimeoutError) -> str:
    number = error.errno or 0
    # Names that cannot be looked up have numbers of their own, below 0.
    said = os.strerror(number) if number > 0 else error.strerror
    # Of a host with several addresses one error tells them all.
    return said or str(error) or "no answer"


def _peer_of(answer: asyncio.StreamWriter) -> str:
    peer = answer.get_extra_info("peername")
    return str(Endpoint(*peer[:2])) if peer else "a peer that has gone"


def _keep_alive(answer: asyncio.StreamWriter) -> None:
    connection = answer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
