"""Remote images, from servers on this machine."""

from __future__ import annotations

import hashlib
import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ConfigError, DiskUnavailable, ImageError
from trap_ops.images import reading, remote, remote_systems
from trap_ops.images.access import Access, options_of_connection
from trap_ops.images.addresses import parse_address
from trap_ops.images.discovery import find_files
from trap_ops.records.images import Plane
from unit.images.fits_files import pixels, write
from unit.images.servers import SECRET, WebServer, s3_server, web_server

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

SUFFIXES = (".fits",)
RULES = ImagesConfig()
BIG = (600, 800)


@pytest.fixture(scope="module")
def image_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = write(tmp_path_factory.mktemp("made") / "a.fits", data=pixels(BIG))
    return path.read_bytes()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, image_bytes: bytes) -> Iterator[WebServer]:
    with web_server(tmp_path_factory.mktemp("web")) as server:
        server.files = {"a.fits": image_bytes, "text.fits": b"no image" * 1000, "empty.fits": b""}
        yield server


@pytest.fixture
def access(web: WebServer, tmp_path: Path) -> Access:
    web.requests.clear()
    web.passwords.clear()
    web.sent = 0
    extra = {"ca_file": web.ca_file}
    options = options_of_connection("http", "localhost", web.port, "me", SECRET, extra)
    return Access(options, (web.root,), tmp_path / "scratch")


@dataclass
class Bucket:
    put: Callable[[str, bytes], None]
    access: Access


@pytest.fixture(scope="module")
def bucket(image_bytes: bytes) -> Iterator[Bucket]:
    with s3_server() as (endpoint, put):
        for key in ("s3://night/one/a.fits", "s3://night/one/deeper/b.fits", "s3://other/c.fits"):
            put(key, image_bytes)
        put("s3://night/one/notes.txt", b"notes")
        put("s3://night/one-more/d.fits", image_bytes)
        options = options_of_connection(
            "aws", None, None, "me", SECRET, {"endpoint_url": endpoint, "region_name": "us-east-1"}
        )
        yield Bucket(put, Access(options, ("s3://night/one",)))


def reason_of(call: Callable[..., object], *arguments: Any) -> tuple[str, str]:
    with pytest.raises(ImageError) as raised:
        call(*arguments)
    assert SECRET not in str(raised.value)
    return raised.value.reason, str(raised.value)


def read_headers(location: str, access: Access) -> Any:
    (made,) = reading.read_headers(location, lambda _: RULES, access)
    return made


# ---- The web


def test_a_header_comes_in_parts_and_an_image_once(
    web: WebServer, access: Access, image_bytes: bytes
) -> None:
    made = read_headers(web.url("plain/a.fits"), access)
    assert (made.nx, made.ny) == BIG[::-1]
    assert made.path == web.url("plain/a.fits")
    assert made.file_name == "a.fits"
    assert made.file_size == len(image_bytes)
    assert made.file_mtime_ns == int(datetime(2012, 4, 6, 3, 42, tzinfo=UTC).timestamp()) * 10**9
    assert web.sent <= 128 << 10 < len(image_bytes) / 10
    assert [method for method, *_ in web.requests].count("GET") <= 2

    web.sent = 0
    image, checksum = reading.read_image_and_checksum(made.path, made.plane, RULES, access)
    assert web.sent == len(image_bytes)
    assert checksum == hashlib.sha256(image_bytes).hexdigest()
    np.testing.assert_array_equal(image.pixels, pixels(BIG))
    assert list((access.scratch_dir or Path()).iterdir()) == []


def test_a_server_that_sends_whole_files_only_will_do(
    web: WebServer, access: Access, image_bytes: bytes
) -> None:
    made = read_headers(web.url("whole/a.fits"), access)
    assert (made.nx, made.ny) == BIG[::-1]
    image = reading.read_image(made.path, made.plane, RULES, access)
    np.testing.assert_array_equal(image.pixels, pixels(BIG))


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("plain/away.fits", "no such file", "no such file (404)"),
        ("broken/a.fits", "unreachable", "(503)"),
        ("moved/a.fits", "redirected", "leads on to another address (status 302)"),
    ],
)
def test_what_a_web_server_refuses(
    web: WebServer, access: Access, path: str, reason: str, words: str
) -> None:
    for call in (read_headers, reading.content_sha256):
        found, message = reason_of(call, web.url(path), access)
        assert (found, words in message) == (reason, True), message
        assert message.startswith(web.url(path))
    # It was not followed, neither to another protocol.
    assert not any(asked == "/plain/a.fits" for _, asked, _ in web.requests)


def test_a_transfer_that_ends_early(web: WebServer, access: Access) -> None:
    for call in (
        lambda: reading.content_sha256(web.url("cut/a.fits"), access),
        lambda: reading.read_image(web.url("cut/a.fits"), Plane(), RULES, access),
    ):
        reason, message = reason_of(call)
        assert (reason, "ended early" in message) == ("unreachable", True), message


def test_a_server_that_keeps_silent(
    web: WebServer, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_systems, "SILENCE_S", 0.3)
    reason, message = reason_of(read_headers, web.url("slow/a.fits"), access)
    assert (reason, "in time" in message) == ("unreachable", True), message


def test_no_server_and_no_trust(web: WebServer, access: Access) -> None:
    nobody = replace(access, data_roots=("https://localhost:1/",))
    reason, message = reason_of(read_headers, "https://localhost:1/a.fits", nobody)
    assert (reason, "cannot be reached" in message) == ("unreachable", True), message
    unknown = Access({}, access.data_roots)
    reason, message = reason_of(read_headers, web.url("plain/a.fits"), unknown)
    assert (reason, "not trusted" in message) == ("unreachable", True), message


def test_bad_files_are_bad_for_their_own_reasons(web: WebServer, access: Access) -> None:
    assert reason_of(read_headers, web.url("plain/text.fits"), access)[0] == "not a FITS file"
    assert reason_of(read_headers, web.url("plain/empty.fits"), access)[0] == "empty file"


def test_a_password_opens_and_stays_with_its_host(web: WebServer, access: Access) -> None:
    assert read_headers(web.url("locked/a.fits"), access).nx == BIG[1]
    assert all(web.passwords)
    wrong = options_of_connection(
        "http", "localhost", web.port, "me", f"{SECRET}!", {"ca_file": web.ca_file}
    )
    reason, message = reason_of(
        read_headers, web.url("locked/a.fits"), replace(access, options=wrong)
    )
    assert (reason, "trap_images" in message) == ("access refused", True), message
    # The certificate is trusted for the connection's host only, so the other name is not asked.
    web.passwords.clear()
    other = f"https://127.0.0.1:{web.port}/"
    reason, _ = reason_of(
        read_headers, f"{other}locked/a.fits", replace(access, data_roots=(other,))
    )
    assert reason == "unreachable"
    assert web.passwords == []
    address = parse_address(f"{other}locked/a.fits")
    assert "headers" not in remote_systems.file_system(address, access)[0].kwargs


def test_a_token_is_sent_as_one(web: WebServer, access: Access) -> None:
    options = options_of_connection(
        "https", f"https://localhost:{web.port}", None, "", "abc", {"ca_file": web.ca_file}
    )
    read_headers(web.url("plain/a.fits"), replace(access, options=options))
    assert set(web.passwords) == {"Bearer abc"}


def test_a_password_without_a_host_is_refused() -> None:
    with pytest.raises(ConfigError, match="names no host") as raised:
        options_of_connection("http", None, None, "me", SECRET, {})
    assert SECRET not in str(raised.value)
    with pytest.raises(ConfigError, match="of type 'ftp'"):
        options_of_connection("ftp", None, None, "me", SECRET, {})


def test_access_shows_no_secret(access: Access) -> None:
    assert SECRET not in repr(access)
    assert "Basic" not in repr(access)


# ---- S3


def test_directories_patterns_and_keys_of_s3(bucket: Bucket) -> None:
    def found(*inputs: str, roots: tuple[str, ...] = ("s3://night/one",)) -> list[str]:
        return list(find_files(inputs, SUFFIXES, roots, bucket.access).paths)

    one, deeper = "s3://night/one/a.fits", "s3://night/one/deeper/b.fits"
    assert found("s3://night/one/") == [one]
    assert found("s3://night/one") == [one]
    assert found(one, "S3://night/one/a.fits") == [one]
    assert found("s3://night/one/notes.txt") == ["s3://night/one/notes.txt"]
    assert found("s3://night/one/*.fits") == [one]
    assert found("s3://night/one/**/*.fits") == [one, deeper]
    assert found("s3://night/*/*.fits", roots=("s3://night",)) == [
        "s3://night/one-more/d.fits",
        one,
    ]
    for away in ("s3://night/one/away.fits", "s3://night/one/*.fit", "s3://nobody/x.fits"):
        with pytest.raises(ConfigError, match="no image files") as raised:
            found(away, roots=("s3://night", "s3://nobody"))
        assert SECRET not in str(raised.value)


def test_an_image_of_s3_is_read_and_noticed_when_it_changes(
    bucket: Bucket, image_bytes: bytes
) -> None:
    access = bucket.access.below(["s3://other/two"])
    bucket.put("s3://other/two/changing.fits", image_bytes)
    made = read_headers("s3://other/two/changing.fits", access)
    assert (made.nx, made.file_size) == (BIG[1], len(image_bytes))
    assert made.file_mtime_ns > 0
    image, checksum = reading.read_image_and_checksum(made.path, made.plane, RULES, access)
    np.testing.assert_array_equal(image.pixels, pixels(BIG))
    assert checksum == hashlib.sha256(image_bytes).hexdigest()
    row: Any = type("Row", (), {**vars(made), "content_sha256": checksum})
    np.testing.assert_array_equal(reading.read_registered(row, RULES, access).pixels, pixels(BIG))
    # As large as before, and within the second that S3 tells.
    bucket.put("s3://other/two/changing.fits", image_bytes[:-3000] + b"x" * 3000)
    reason, message = reason_of(reading.read_registered, row, RULES, access)
    assert reason == "file changed"
    assert "changing.fits" in message


def test_it_works_in_threads_and_after_a_fork(bucket: Bucket) -> None:
    location = "s3://night/one/a.fits"
    read_headers(location, bucket.access)  # This process has an event loop and connections now.
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(read_headers(location, bucket.access).nx))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [BIG[1]] * 3
    queue = multiprocessing.get_context("fork").SimpleQueue()
    process = multiprocessing.get_context("fork").Process(
        target=lambda: queue.put(read_headers(location, bucket.access).nx)
    )
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert queue.get() == BIG[1]


def test_a_server_of_s3_that_keeps_silent_is_not_asked_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote_systems, "SILENCE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = []

        def take() -> None:
            while True:
                try:
                    asked.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        extra = {"endpoint_url": f"http://127.0.0.1:{server.getsockname()[1]}"}
        options = options_of_connection("aws", None, None, "me", SECRET, extra)
        reason, message = reason_of(
            read_headers, "s3://night/a.fits", Access(options, ("s3://night",))
        )
        assert (reason, "in time" in message) == ("unreachable", True), message
        # The whole of the attempts that are configured, for each of the two ways in which S3 is
        # asked what a name is; s3fs made thirty of it.
        assert 1 <= len(asked) <= 4
        server.close()


def test_a_disk_without_room_is_not_the_servers_fault(
    web: WebServer, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = open("/dev/full", "r+b", buffering=0)  # noqa: PTH123, SIM115 - where nothing has room
    monkeypatch.setattr(remote.tempfile, "TemporaryFile", lambda **_: full)
    free = type("Usage", (), {"free": 1 << 40})
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda _: free)
    with pytest.raises(DiskUnavailable) as raised:
        reading.content_sha256(web.url("plain/a.fits"), access)
    assert raised.value.message.startswith(web.url("plain/a.fits"))
    assert "No space left on device" in raised.value.message
    assert "TRAP_VAR" in raised.value.message


def test_an_image_is_not_rejected_for_a_disk_that_others_fill(
    web: WebServer, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = type("Usage", (), {"free": 10, "total": 1 << 40})
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda _: disk)
    with pytest.raises(DiskUnavailable, match="10 are free"):
        reading.content_sha256(web.url("plain/a.fits"), access)
    disk.total = 20
    reason, message = reason_of(reading.content_sha256, web.url("plain/a.fits"), access)
    assert reason == "no room", message


def test_certificates_that_are_away_are_not_a_file_that_is_away(
    web: WebServer, access: Access, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for file, words in (
        (tmp_path / "none.pem", "No such file or directory"),
        (empty, "no certificate in it"),
    ):
        options = options_of_connection(
            "http", "localhost", web.port, "me", SECRET, {"ca_file": str(file)}
        )
        reason, message = reason_of(
            read_headers, web.url("plain/a.fits"), replace(access, options=options)
        )
        assert (reason, words in message) == ("unreachable", True), message
        assert "trap_images names as ca_file" in message
