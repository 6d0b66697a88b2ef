"""``trap-manage receive`` and ``send``: as a service and its telescope."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from trap_ops.commands.__main__ import main
from unit.images.fits_files import read_header, write
from unit.receive.made_streams import at, files, until


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_a_service_takes_what_is_sent_and_ends_cleanly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sent").mkdir()
    for second in range(3):
        changes = {**at(second), "BMAJ": None, "END_UTC": None}
        write(tmp_path / "sent" / f"{second}.fits", changes)
    port = free_port()
    status, log = tmp_path / "status.json", tmp_path / "log"
    words = [
        ROOT / "bin" / "trap-manage", "receive", "--listen", str(port), "--to", tmp_path / "got",
        "--value", "bmaj=0.5", "--value", "tau_time=1", "--status", status,
    ]  # fmt: skip
    with log.open("wb") as output, subprocess.Popen(words, stderr=output) as service:
        try:
            until(lambda: f"listening on 127.0.0.1:{port}" in log.read_text())
            sent = ["send", str(tmp_path / "sent"), "--connect", f"localhost:{port}"]
            assert main([*sent, "--every", "0.1"]) == 0
            assert "3 images sent" in capsys.readouterr().out
            until(lambda: len(files(tmp_path / "got")) == 3)
        finally:
            service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=60) == 0
    assert "stopped: 3 images received, 3 written" in log.read_text()
    told = json.loads(status.read_text())
    assert (told["total"]["received"], told["total"]["written"], told["waiting"]) == (3, 3, 0)
    assert told["sources"][f"127.0.0.1:{port}"] == told["total"]
    found = read_header(tmp_path / "got" / files(tmp_path / "got")[0])
    assert (found.beam.bmaj_deg, found.integration_s) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to receive from"),
        (["--listen", "here"], "here is no HOST:PORT"),
        (["--listen", "1", "--value", "bmajor=1"], "bmajor is no key"),
        (["--listen", "1", "--value", "bmaj"], "--value is no parset"),
        (["--listen", "1", "--inject", "none.ini"], "none.ini cannot be read"),
        (["--listen", "1", "--buffer-mb", "0"], "--buffer-mb 0: give a number from 1"),
        (["--listen", "1", "--image-seconds", "nan"], "--image-seconds nan"),
        (["--listen", "1", "--status", "/proc/x"], "status file /proc/x cannot be written"),
        (["--listen", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1"),
    ],
)
def test_what_cannot_be_done_is_told(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["receive", "--to", str(tmp_path), *words]) == 1
    assert said in capsys.readouterr().err


def test_a_directory_outside_the_data_roots_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configurations = tmp_path / "configs"
    configurations.mkdir()
    default = (ROOT / "include" / "configs" / "default.toml").read_text()
    root = tmp_path / "data"
    text = default.replace("data_roots = []", f'data_roots = ["{root}"]')
    assert text != default
    (configurations / "default.toml").write_text(text)
    monkeypatch.setattr("trap_ops.commands.inspect_images.CONFIGURATIONS", configurations)
    assert main(["receive", "--to", str(tmp_path / "else"), "--listen", "1"]) == 1
    assert "outside the data roots" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [configurations]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every", "-1", "--listen", "1"], "--every -1: give 0"),
        (["--connect", "localhost:1"], "cannot connect to localhost:1: Connection refused"),
    ],
)
def test_what_cannot_be_sent_is_told(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.fits")
    assert main(["send", str(path), *words]) == 1
    assert said in capsys.readouterr().err
