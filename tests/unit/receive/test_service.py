"""The receiver with real connections: what arrives is written, and nothing stops it."""

from __future__ import annotations

import errno
import logging
import os
import random
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from trap_ops.errors import ConfigError
from trap_ops.images.stream import announce
from trap_ops.receive import service
from trap_ops.receive.counts import Counts
from trap_ops.receive.endpoints import Endpoint, parse_endpoint
from trap_ops.receive.service import Limits, Receiver
from trap_ops.receive.writing import Directory, Saved
from unit.receive.made_streams import (
    ANY_PORT,
    QUICK,
    at,
    connected,
    directory_of,
    files,
    pixels,
    receiving,
    until,
    window,
)


def check_sums(total: Counts, *, broken: int = 0) -> None:
    """Every image is somewhere; what broke before it was one is refused, too."""
    ends = total.written + total.duplicates + total.dropped + total.refused
    assert ends == total.received + broken
    assert total.connections == 0


def test_images_of_several_connections_are_written(tmp_path: Path) -> None:
    with receiving(directory_of(tmp_path)) as receiver:
        with connected(receiver) as first, connected(receiver) as second:
            for second_of in range(3):
                first.sendall(window(at(second_of), seed=second_of))
                second.sendall(window({**at(second_of), "RESTFRQ": 140e6}))
        # Twice the same, as a telescope that repeats itself.
        with connected(receiver) as third:
            third.sendall(window(at(2), seed=2))
        until(lambda: receiver.report.total.received == 7)
    total = receiver.report.total
    assert (total.written, total.duplicates) == (6, 1)
    check_sums(total)
    names = files(tmp_path)
    assert len(names) == 6
    with fits.open(tmp_path / names[-1]) as hdus:
        np.testing.assert_array_equal(hdus[0].data, pixels(2))


def test_silence_between_images_is_no_error(tmp_path: Path) -> None:
    """Classic TraP gave a connection up after 5 s without an image (tkp issue 557)."""
    limits = replace(QUICK, image_s=1.0)
    with receiving(directory_of(tmp_path), limits=limits) as receiver:
        with connected(receiver) as connection:
            connection.sendall(window(at(0)))
            time.sleep(1.3)
            connection.sendall(window(at(1)))
        until(lambda: receiver.report.total.received == 2)
    assert receiver.report.total.refused == 0


def test_bytes_may_come_one_by_one(tmp_path: Path) -> None:
    with receiving(directory_of(tmp_path)) as receiver:
        with connected(receiver) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw = window()
            for start in range(700):
                connection.send(raw[start : start + 1])
            connection.sendall(raw[700:])
        until(lambda: receiver.report.total.received == 1)
    assert receiver.report.total.written == 1


def bad_header() -> bytes:
    return window().replace(b"BITPIX  =                  -32", b"BITPIX  =                  -64")


@pytest.mark.parametrize(
    ("raw", "said", "received"),
    [
        (b"GET / HTTP/1.1\r\n\r\n" + bytes(512), "it is no image stream", 0),
        (announce(2880, 1 << 31), "bytes of pixels; images have up to", 0),
        (announce(1 << 31, 4), "a header of 2147483648 bytes", 0),
        (window()[:700], "in the middle of an image", 0),
        (window()[:4000], "in the middle of an image", 0),
        (window()[:100], "in the middle of an image", 0),
        # What comes behind these is an image.
        (bad_header() + window(at(9)), "BITPIX = -64", 2),
        (window({"DATE-OBS": "never"}) + window(at(9)), "'never' is not a date", 2),
    ],
)
def test_garbage_is_refused_with_its_peer_and_others_are_served(
    raw: bytes, said: str, received: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO),
        receiving(directory_of(tmp_path)) as receiver,
        connected(receiver) as good,
    ):
        with connected(receiver) as bad:
            peer = "{}:{}".format(*bad.getsockname())
            bad.sendall(raw)
        until(lambda: receiver.report.total.refused == 1)
        good.sendall(window(at(1)))
        until(lambda: receiver.report.total.received == received + 1)
        until(lambda: receiver._buffer.held == 0)
    assert receiver.report.total.written == received // 2 + 1
    check_sums(receiver.report.total, broken=not received)
    (line,) = [each for each in caplog.messages if "refused: " in each]
    assert f"{peer}: refused: " in line
    assert said in line


@pytest.mark.parametrize("sent", [100, 700, 4000])
def test_a_peer_that_stalls_in_an_image_is_given_up(
    sent: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = replace(QUICK, image_s=0.4)
    with (
        receiving(directory_of(tmp_path), limits=limits) as receiver,
        connected(receiver) as connection,
    ):
        connection.sendall(window()[:sent])
        until(lambda: receiver.report.total.refused == 1)
        assert connection.recv(1) == b""
        assert receiver._buffer.held == 0
    assert "not whole 0.4 s after its first byte" in caplog.text


def test_an_image_of_nothing_is_for_quality_to_judge(tmp_path: Path) -> None:
    raw = bytearray(window())
    raw[-pixels().nbytes :] = np.full(pixels().size, np.nan, "<f4").tobytes()
    with receiving(directory_of(tmp_path)) as receiver, connected(receiver) as connection:
        connection.sendall(raw)
        until(lambda: receiver.report.total.written == 1)


def test_random_bytes_do_not_stop_it(tmp_path: Path) -> None:
    rng = random.Random(1)
    good = window()
    with receiving(directory_of(tmp_path)) as receiver:
        for _ in range(60):
            raw = bytearray(good if rng.random() < 0.7 else rng.randbytes(1500))
            for _ in range(rng.randrange(8)):
                raw[rng.randrange(4000) % len(raw)] = rng.randrange(256)
            with connected(receiver) as connection:
                connection.sendall(raw[: rng.randrange(1, len(raw) + 1)])
        with connected(receiver) as connection:
            connection.sendall(window(at(33)))
            until(lambda: "20120406T034233.000000-150.000000MHz-I.fits" in files(tmp_path))
        until(lambda: receiver._buffer.held == 0 and receiver.report.total.connections == 0)
    total = receiver.report.total
    assert total.refused > 20
    check_sums(total, broken=total.written + total.duplicates + total.refused - total.received)


class Slow(Directory):
    """A disk that waits until it is allowed to write."""

    free = threading.Event()

    def save(self, image):
        assert self.free.wait(60.0)
        return super().save(image)


def slow(path: Path) -> Slow:
    Slow.free = threading.Event()
    directory = directory_of(path)
    directory.__class__ = Slow
    return directory


@pytest.mark.parametrize(
    "limits",
    [replace(QUICK, images_max=2), replace(QUICK, bytes_max=int(3.5 * pixels().nbytes))],
    ids=["images", "bytes"],
)
def test_where_the_disk_is_slow_the_oldest_are_dropped_and_counted(
    limits: Limits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = slow(tmp_path)
    with receiving(directory, limits=limits) as receiver, connected(receiver) as connection:
        for number in range(8):
            connection.sendall(window(at(number)))
            until(lambda n=number: receiver.report.total.received == n + 1)
            assert receiver._buffer.held <= limits.bytes_max
        Slow.free.set()
        until(lambda: receiver.report.total.written == 3)
    # One was with the disk, two waited.
    assert [name[13:15] for name in files(tmp_path)] == ["00", "06", "07"]
    assert receiver.report.total.dropped == 5
    check_sums(receiver.report.total)
    assert "the disk is slower than the stream" in caplog.text
    assert "(and 4 more)" in caplog.text


def test_what_finds_no_room_at_all_is_dropped_and_the_connection_goes_on(tmp_path: Path) -> None:
    # Larger than what is read at a time.
    large = np.ones((700, 700), "<f4")
    limits = replace(QUICK, bytes_max=int(1.5 * large.nbytes))
    with receiving(slow(tmp_path), limits=limits) as receiver, connected(receiver) as connection:
        connection.sendall(window(at(0), data=large))
        until(lambda: receiver.report.total.received == 1 and len(receiver._buffer) == 0)
        connection.sendall(window(at(1), data=large))
        until(lambda: receiver.report.total.dropped == 1)
        Slow.free.set()
        until(lambda: receiver._buffer.held == 0)
        connection.sendall(window(at(2)))
        until(lambda: receiver.report.total.written == 2)
    assert [name[13:15] for name in files(tmp_path)] == ["00", "02"]
    check_sums(receiver.report.total)


def test_what_has_been_received_is_written_at_the_end(tmp_path: Path) -> None:
    with receiving(slow(tmp_path)) as receiver:
        with connected(receiver) as connection:
            for number in range(5):
                connection.sendall(window(at(number)))
            connection.sendall(window(at(9))[:2000])
            until(lambda: receiver.report.total.received == 5)
        threading.Timer(0.2, Slow.free.set).start()
    assert len(files(tmp_path)) == 5


def test_a_full_disk_costs_the_images_that_it_has_no_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with receiving(directory_of(tmp_path)) as receiver, connected(receiver) as connection:
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", full)
            connection.sendall(window(at(0)))
            until(lambda: receiver.report.total.dropped == 1)
        connection.sendall(window(at(1)))
        until(lambda: receiver.report.total.written == 1)
    check_sums(receiver.report.total)
    assert f"cannot be written to {tmp_path}: No space left on device" in caplog.text


def test_what_a_header_says_cannot_flood_or_forge_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = Receiver((), ANY_PORT, directory_of(tmp_path), QUICK).report
    report.say("a\nforged line" + "x" * 100_000)
    report.tick()
    (line,) = caplog.messages
    assert "\n" not in line
    assert len(line) < 800


def test_a_fault_of_ours_costs_one_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save = Directory.save
    calls = iter(range(10))

    def faulty(self, image) -> Saved:
        if next(calls) == 0:
            raise KeyError("planted")
        return save(self, image)

    monkeypatch.setattr(Directory, "save", faulty)
    with receiving(directory_of(tmp_path)) as receiver, connected(receiver) as connection:
        connection.sendall(window(at(0)) + window(at(1)))
        until(lambda: receiver.report.total.written == 1)
    assert receiver.report.total.refused == 1
    assert "planted" in caplog.text
    assert "Traceback" in caplog.text


def test_a_telescope_that_is_away_is_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with receiving(
        directory_of(tmp_path), connect=(Endpoint("127.0.0.1", port),), listen=()
    ) as receiver:
        time.sleep(0.1)
        for number in range(2):  # It goes away and comes back.
            with socket.create_server(("127.0.0.1", port)) as server:
                connection = server.accept()[0]
                with connection:
                    connection.sendall(window(at(number)))
                    until(lambda n=number: receiver.report.total.written == n + 1)
    assert receiver.report.sources[f"127.0.0.1:{port}"].written == 2
    check_sums(receiver.report.total)


def test_too_many_connections_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "CONNECTIONS_MAX", 1)
    with receiving(directory_of(tmp_path)) as receiver, connected(receiver) as first:
        until(lambda: receiver.report.total.connections == 1)
        with connected(receiver) as second:
            assert second.recv(1) == b""
        first.sendall(window())
        until(lambda: receiver.report.total.written == 1)
    assert "1 connections are open" in caplog.text


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Endpoint("127.0.0.1", other.getsockname()[1])
        with (
            pytest.raises(ConfigError, match=r"cannot listen on .*: Address already in use"),
            receiving(directory_of(tmp_path), listen=(taken,)),
        ):
            pass


def test_the_log_has_a_line_a_second_at_most(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver((), ANY_PORT, directory_of(tmp_path), QUICK)
    report = receiver.report
    with caplog.at_level(logging.INFO):
        report.say("it comes", logging.INFO)
        for number in range(1000):
            report.say(f"garbage {number}")
        report.tick()
        report.tick()
    (line,) = caplog.messages
    assert line.startswith("garbage 0 (and 999 more); 0 images received, 0 written")


@pytest.mark.parametrize(
    ("text", "endpoint", "shown"),
    [
        ("6666", Endpoint("127.0.0.1", 6666), "127.0.0.1:6666"),
        (":6666", Endpoint("127.0.0.1", 6666), "127.0.0.1:6666"),
        ("ais002.control:6666", Endpoint("ais002.control", 6666), "ais002.control:6666"),
        ("[::1]:6666", Endpoint("::1", 6666), "[::1]:6666"),
    ],
)
def test_endpoints(text: str, endpoint: Endpoint, shown: str) -> None:
    assert parse_endpoint(text) == endpoint
    assert str(endpoint) == shown


@pytest.mark.parametrize("text", ["", "host", "host:", "::1:6666", "host:70000", "a b:1", "h:6\n7"])
def test_what_is_no_endpoint_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_endpoint(text)
