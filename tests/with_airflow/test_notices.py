"""People are told of a run that has failed, by real servers for webhooks and mail."""

from __future__ import annotations

import email
import json
import logging
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

SECRET = "T000-secret"  # noqa: S105 - part of an address
CLUSTER = Path(__file__).resolve().parents[2] / "include" / "configs" / "cluster.toml"


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Webhook(HTTPServer):
    """Keeps what it is sent; answers with a status, after some seconds."""

    def __init__(self, status: int = 200, seconds: float = 0.0) -> None:
        self.bodies: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                outer.bodies.append(json.loads(self.rfile.read(length)))
                time.sleep(seconds)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


class MailServer(socketserver.TCPServer):
    """As much of SMTP as a message needs."""

    allow_reuse_address = True

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], str]] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

            def handle(self) -> None:
                self.say("220 here")
                to: list[str] = []
                for raw in self.rfile:
                    line = raw.decode().strip()
                    if line.upper().startswith("RCPT"):
                        to.append(line.split("<")[1].split(">")[0])
                    if line.upper() == "DATA":
                        self.say("354 go on")
                        outer.letters.append((to, self.letter()))
                    self.say("221 bye" if line.upper() == "QUIT" else "250 well")

            def letter(self) -> str:
                lines = []
                for raw in self.rfile:
                    if raw == b".\r\n":
                        break
                    lines.append(raw.decode())
                return "".join(lines)

        super().__init__(("127.0.0.1", 0), Handler)


def notify_failure(context: Any) -> None:
    from trap_ops.operators.failure_notice import notify_failure as notify

    notify(context)


@pytest.fixture(autouse=True)
def _settings(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No results database yet, and nobody to be told."""
    # Airflow writes there as soon as it is imported.
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
    for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN", "TRAP_"))]:
        monkeypatch.delenv(name)
    results = {"conn_type": "sqlite", "host": str(tmp_path / "results.db")}
    monkeypatch.setenv("AIRFLOW_CONN_TRAP_STORE", json.dumps(results))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://pages:8080")
    monkeypatch.setattr("trap_ops.operators.failure_notice._PATIENCE_S", 3.0)


def context(**more: Any) -> Any:
    instance = SimpleNamespace(task_id="register_images", xcom_pull=lambda **_: None)
    return {
        "dag": SimpleNamespace(dag_id="trap_batch"), "run_id": "manual__1", "ti": instance,
        "params": {"dataset": "night1"}, "dag_run": SimpleNamespace(triggering_user_name="ada"),
        "reason": "task_failure", **more,
    }  # fmt: skip


def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notify: str) -> None:
    text = CLUSTER.read_text().replace('mail_to = []\nmail_from = ""', notify)
    (tmp_path / "cluster.toml").write_text(text)
    monkeypatch.setenv("TRAP_CLUSTER", str(tmp_path / "cluster.toml"))


def test_a_webhook_is_told_what_happened_to_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Webhook()
    with serving(server) as port:
        monkeypatch.setenv("TRAP_WEBHOOK", f"http://127.0.0.1:{port}/{SECRET}")
        said = SimpleNamespace(task_id="register_images", xcom_pull=lambda **_: "no images there")
        notify_failure(context(ti=said))
        notify_failure(context())
        # As Airflow calls it where it knows no task.
        notify_failure({k: context()[k] for k in ("dag", "run_id", "reason")})
    planned, task, bare = server.bodies
    assert planned == {
        "text": planned["text"], "dag": "trap_batch", "run": "manual__1", "dataset": "night1",
        "user": "ada", "reason": "no images there",
        "link": "http://pages:8080/dags/trap_batch/runs/manual__1",
    }  # fmt: skip
    for part in ("night1", "ada", "no images there", "manual__1", planned["link"]):
        assert part in planned["text"]
    assert not (tmp_path / "results.db").exists()
    assert task["reason"] == "task register_images failed; its log says why"
    assert bare["reason"] == "Airflow gives as reason: task_failure"


def test_a_planned_run_has_its_own_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: list[Path]
) -> None:
    from trap_ops import local
    from trap_ops.store import runs
    from trap_ops.store.database import Store

    url = f"sqlite:///{tmp_path / 'results.db'}"
    local.run(images[:1], "stored", store_url=url, output_dir=tmp_path)
    store = Store(url)
    with store.write() as connection:
        (number, key) = connection.exec_driver_sql("SELECT id, run_key FROM run").one()
        runs.set_state(connection, number, runs.FAILED, "associate: the disk is full")
    store.close()
    server = Webhook()
    with serving(server) as port:
        monkeypatch.setenv("TRAP_WEBHOOK", f"http://127.0.0.1:{port}/")
        notify_failure(context(run_id=key))
    (body,) = server.bodies
    assert (body["dataset"], body["reason"]) == ("stored", "associate: the disk is full")
    assert body["user"] == runs.current_user()


def test_people_get_a_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(tmp_path, monkeypatch, 'mail_to = ["a@x.org", "b@x.org"]\nmail_from = "trap@x.org"')
    server = MailServer()
    with serving(server) as port:
        extra = {"disable_ssl": True, "disable_tls": True, "timeout": 5, "retry_limit": 0}
        connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
        notify_failure(context(params={"dataset": "<b>night\nx"}))
    ((to, text),) = server.letters
    assert to == ["a@x.org", "b@x.org"]
    letter = email.message_from_string(text)
    assert letter["Subject"] == "TraP: a run on dataset <b>night x has failed"
    assert letter["From"] == "trap@x.org"
    (part,) = (part for part in letter.walk() if part.get_content_type() == "text/html")
    body = part.get_payload(decode=True).decode()
    assert "&lt;b&gt;night" in body
    assert "http://pages:8080/dags/trap_batch/runs/manual__1" in body


@pytest.mark.parametrize(
    ("status", "seconds", "said"),
    [(500, 0.0, "the webhook answers 500"), (200, 1.5, "has not answered"), (0, 0.0, "Refused")],
)
def test_what_cannot_be_sent_is_logged_without_the_secret(
    status: int,
    seconds: float,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    if seconds:
        monkeypatch.setattr("trap_ops.operators.failure_notice._PATIENCE_S", 0.5)
    with serving(Webhook(status, seconds)) as port:
        monkeypatch.setenv("TRAP_WEBHOOK", f"http://127.0.0.1:{port if status else 1}/{SECRET}")
        before = time.monotonic()
        notify_failure(context())
        assert time.monotonic() - before < 1.4
    assert said in caplog.text
    assert SECRET not in caplog.text


def test_a_wrong_setting_or_a_database_of_no_use_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRAP_WEBHOOK", f"ftp://host/{SECRET}")
    notify_failure(context())
    assert "nobody is told" in caplog.text
    assert SECRET not in caplog.text
    (tmp_path / "results.db").write_text("no database")
    server = Webhook()
    with serving(server) as port:
        monkeypatch.setenv("TRAP_WEBHOOK", f"http://127.0.0.1:{port}/")
        notify_failure(context())
    assert [body["dataset"] for body in server.bodies] == ["night1"]


def test_who_is_not_asked_for_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(*_: object) -> None:
        pytest.fail("something is sent")

    monkeypatch.setattr("trap_ops.operators.failure_notice._send", send)
    notify_failure(context())
    # A run in this terminal, which says itself what is wrong.
    monkeypatch.setenv("TRAP_WEBHOOK", "http://127.0.0.1:1/")
    monkeypatch.setattr("trap_ops.operators.stage_operator._failed", {"manual__1"})
    notify_failure(context())
