"""Servers of images on this machine: web servers with faults, and S3."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SECRET = "correct-horse-battery"  # noqa: S105 - of servers that live for a test
# How a path is answered: by its first directory.
PLAIN, LOCKED, WHOLE, CUT, SLOW, MOVED, BROKEN = (
    "plain", "locked", "whole", "cut", "slow", "moved", "broken",
)  # fmt: skip


@dataclass
class WebServer:
    """A web server with a certificate that nobody knows, and what it was asked for."""

    port: int
    ca_file: str
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    sent: int = 0
    passwords: list[str] = field(default_factory=list)

    @property
    def root(self) -> str:
        return f"https://localhost:{self.port}/"

    def url(self, path: str) -> str:
        return f"{self.root}{path}"


@contextmanager
def web_server(directory: Path) -> Iterator[WebServer]:
    certificate, key = _certificate(directory)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    server = WebServer(httpd.server_address[1], str(certificate))
    httpd.RequestHandlerClass = type("Of", (Handler,), {"web": server})
    httpd.handle_error = lambda *_: None  # Clients that leave are part of the tests.
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    web: WebServer

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        self.web.requests.append((self.command, self.path, self.headers.get("Range", "")))
        self.web.passwords.append(self.headers.get("Authorization", ""))
        way = self.path.split("/")[1]
        if way == SLOW:
            time.sleep(3)
        data = self.web.files.get(self.path.rpartition("/")[2])
        if way == MOVED:
            self.say(302, {"Location": f"http://localhost:{self.web.port}/plain/a.fits"})
        elif way == BROKEN:
            self.say(503)
        elif way == LOCKED and self.headers.get("Authorization") != basic("me", SECRET):
            self.say(401)
        elif data is None:
            self.say(404)
        else:
            self.send(data, way, with_body=with_body)

    def send(self, data: bytes, way: str, *, with_body: bool) -> None:
        asked = "" if way == WHOLE else self.headers.get("Range", "")
        first, last = 0, len(data) - 1
        if asked:
            first, last = (int(n) for n in asked.removeprefix("bytes=").split("-"))
            last = min(last, len(data) - 1)
        headers = {
            "Content-Length": str(last + 1 - first),
            "Last-Modified": "Fri, 06 Apr 2012 03:42:00 GMT",
        }
        if asked:
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self.say(206 if asked else 200, headers)
        if with_body:
            body = data[first : last + 1]
            body = body[: len(body) // 2] if way == CUT and not asked else body
            self.web.sent += len(body)
            self.wfile.write(body)

    def say(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {"Content-Length": "0"}).items():
            self.send_header(key, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "cert.pem").write_bytes(made.public_bytes(pem))
    (directory / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return directory / "cert.pem", directory / "key.pem"


@contextmanager
def s3_server() -> Iterator[tuple[str, Callable[[str, bytes], None]]]:
    """Address of a server of S3 with a bucket ``night``, and how to put an object there."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="me",
        aws_secret_access_key=SECRET,
    )
    # All servers of a process have one memory: each module of tests has a bucket of its own.
    for name in ("night", "other", "series"):
        client.create_bucket(Bucket=name)

    def put(address: str, data: bytes) -> None:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        client.put_object(Bucket=bucket, Key=key, Body=data)

    try:
        yield endpoint, put
    finally:
        client.close()
        server.stop()
