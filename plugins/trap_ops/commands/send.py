"""``trap-manage send``: image files as the stream of a telescope, to try a receiver."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path
from typing import Any

from trap_ops.commands.environment import image_access
from trap_ops.commands.inspect_images import Configurations
from trap_ops.config.load import AUTO
from trap_ops.errors import ConfigError
from trap_ops.images.addresses import is_address
from trap_ops.images.discovery import absolute_input, find_files
from trap_ops.receive.endpoints import Endpoint, parse_endpoint
from trap_ops.simulate.stream import send, stream_bytes


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "send",
        help="send image files as AARTFAAC streams its images, to try `receive`",
        description="Send FITS files, in the order of their names, in the protocol of the image "
        "stream; the first HDU of each is the image. With --listen it waits for a receiver to "
        "connect, as the telescope does.",
    )
    parser.add_argument("images", nargs="+", help="files, directories or globs (no addresses)")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--listen", metavar="[HOST:]PORT", help="wait here for a receiver")
    where.add_argument("--connect", metavar="HOST:PORT", help="a receiver that listens")
    parser.add_argument(
        "--every", type=float, default=1.0, metavar="SECONDS", help="between images; default 1"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send the files."""
    if not 0.0 <= arguments.every <= 86400.0:
        msg = f"--every {arguments.every:g}: give 0 to 86400 seconds"
        raise ConfigError(msg)
    inputs = [absolute_input(item) for item in arguments.images]
    settings = Configurations(AUTO, []).images
    found = find_files(inputs, settings.suffixes, settings.data_roots, image_access())
    paths = [Path(path) for path in found.paths if not is_address(path)]
    images = (stream_bytes(path) for path in sorted(paths, key=lambda path: path.name))
    late = 0.0
    sent = 0
    try:
        with _connected(arguments) as connection:
            for seconds in send(connection, images, arguments.every):
                sent += 1
                late = max(late, seconds)
    except OSError as error:
        msg = f"the receiver has ended the connection after {sent} images: {error.strerror}"
        raise ConfigError(msg, sent=sent) from error
    print(f"{sent} images sent, at most {late:.2f} s late")
    return 0


def _connected(arguments: argparse.Namespace) -> socket.socket:
    endpoint = parse_endpoint(arguments.listen or arguments.connect)
    try:
        if arguments.connect:
            return socket.create_connection((endpoint.host, endpoint.port), timeout=30.0)
        return _accepted(endpoint)
    except OSError as error:
        doing = "connect to" if arguments.connect else "listen on"
        msg = f"cannot {doing} {endpoint}: {error.strerror or error}; is the receiver there?"
        raise ConfigError(msg, endpoint=str(endpoint)) from error


def _accepted(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with socket.create_server((endpoint.host, endpoint.port), family=family) as server:
        print(f"waiting for a receiver on {endpoint}", flush=True)
        return server.accept()[0]
