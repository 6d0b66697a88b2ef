"""``trap-manage receive``: the image stream of a telescope, written to files."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
from pathlib import Path
from typing import Any

from trap_ops.commands.inject import read_text
from trap_ops.commands.inspect_images import Configurations, add_configuration
from trap_ops.errors import ConfigError
from trap_ops.images.parset import SECTION, read_parset
from trap_ops.receive.endpoints import parse_endpoint
from trap_ops.receive.service import Limits, Receiver
from trap_ops.receive.writing import Directory
from trap_ops.records.names import one_line, shown_path

_LOG = logging.getLogger(__name__)
_PIXEL_SIZE = 4
_DEFAULT = Limits()


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "receive",
        help="write the image stream of a telescope (AARTFAAC) to files",
        description="Take the images of streams, complete their headers, and write each as a FITS "
        "file, whole or not at all, named by its start, frequency and Stokes parameter. Runs until "
        "SIGTERM or Ctrl-C; what has been received by then is written.",
    )
    parser.add_argument(
        "--connect",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a telescope that sends to who connects; again and again if it is away",
    )
    parser.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="[HOST:]PORT",
        help="where telescopes may connect; without a host from this machine only",
    )
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIRECTORY", help="below a data root, if any"
    )
    parser.add_argument(
        "--inject", type=Path, metavar="PARSET", help="metadata that headers lack, as `inject` has"
    )
    parser.add_argument(
        "--value",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a line of such a parset, e.g. bmaj=1.2",
    )
    parser.add_argument("--over", action="store_true", help="they replace what headers have")
    parser.add_argument(
        "--buffer-images",
        type=int,
        default=_DEFAULT.images_max,
        metavar="N",
        help="images that may wait for the disk; default %(default)s",
    )
    parser.add_argument(
        "--buffer-mb",
        type=int,
        default=_DEFAULT.bytes_max >> 20,
        metavar="MB",
        help="memory for them and for those coming in; default %(default)s",
    )
    parser.add_argument(
        "--image-seconds",
        type=float,
        default=_DEFAULT.image_s,
        metavar="S",
        help="from the first byte of an image to its last; default %(default)s",
    )
    parser.add_argument(
        "--status", type=Path, metavar="FILE", help="what was received, as JSON, each second"
    )
    add_configuration(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Receive until told to end."""
    connect = tuple(dict.fromkeys(map(parse_endpoint, arguments.connect)))
    listen = tuple(dict.fromkeys(map(parse_endpoint, arguments.listen)))
    if not connect and not listen:
        msg = "nothing to receive from: give --connect HOST:PORT or --listen PORT"
        raise ConfigError(msg)
    configurations = Configurations(arguments.config, arguments.set)
    limits = _limits(arguments, configurations.images.max_pixels)
    values = _values(arguments)
    directory = Directory(
        arguments.to,
        configurations.rules_of,
        values,
        over=arguments.over,
        data_roots=configurations.images.data_roots,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        status = None if arguments.status is None else StatusFile(arguments.status)
        asyncio.run(_receive(Receiver(connect, listen, directory, limits, status)))
    finally:
        directory.close()
    return 0


class StatusFile:
    """A file with the latest status, whole at any moment.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ConfigError
        If it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._failed = False
        try:
            self._write({})
        except OSError as error:
            msg = f"the status file {shown_path(path)} cannot be written: {error.strerror}"
            raise ConfigError(msg, path=str(path)) from error

    def __call__(self, status: dict[str, object]) -> None:
        """Replace what is in it; a disk that is full is told once and stops nothing."""
        try:
            self._write(status)
        except OSError as error:
            if not self._failed:
                _LOG.warning("the status file cannot be written: %s", error.strerror)
            self._failed = True
        else:
            self._failed = False

    def _write(self, status: dict[str, object]) -> None:
        scratch = self._path.with_name(f".{self._path.name}.part")
        scratch.write_text(json.dumps(status, indent=1) + "\n", encoding="utf-8")
        scratch.replace(self._path)


async def _receive(receiver: Receiver) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for wish in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(wish) is not signal.SIG_IGN:  # `nohup` has one ignored
            loop.add_signal_handler(wish, stop.set)
    await receiver.run(stop)
    _LOG.info("stopped: %s", receiver.report.totals())


def _limits(arguments: argparse.Namespace, max_pixels: int) -> Limits:
    wanted = {
        "--buffer-images": (arguments.buffer_images, 1_000_000),
        "--buffer-mb": (arguments.buffer_mb, 1_000_000),
        "--image-seconds": (arguments.image_seconds, 86_400),
    }
    for option, (value, most) in wanted.items():
        if not 1 <= value <= most:
            msg = f"{option} {value:g}: give a number from 1 to {most}"
            raise ConfigError(msg, option=option, value=value)
    bytes_max = arguments.buffer_mb << 20
    return Limits(
        images_max=arguments.buffer_images,
        bytes_max=bytes_max,
        pixels_max=min(max_pixels * _PIXEL_SIZE, bytes_max),
        image_s=arguments.image_seconds,
    )


def _values(arguments: argparse.Namespace) -> dict[str, str | int | float]:
    values = {}
    if arguments.inject is not None:
        values = read_parset(read_text(arguments.inject), one_line(arguments.inject.name))
    if arguments.value:
        lines = "\n".join(map(one_line, arguments.value))
        values |= read_parset(f"[{SECTION}]\n{lines}\n", "--value")
    return values
