"""A run on images of S3, against the same run on files; and what a wrong secret leaves behind."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.conftest import checksum
from trap_ops import local
from trap_ops.errors import ConfigError
from trap_ops.images.access import Access, options_of_connection
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.database import Store
from unit.images.servers import SECRET, s3_server

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

PLAN = SeriesPlan(n_epochs=3, size_px=128, n_steady=8, n_variable=1, n_transient=1, seed=3)
SETTINGS = {"extraction": {"margin_px": 2}}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(PLAN, tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="module")
def endpoint(images: list[Path]) -> Iterator[str]:
    with s3_server() as (endpoint, put):
        for path in images:
            put(f"s3://series/2024/{path.name}", path.read_bytes())
        yield endpoint


@pytest.fixture(scope="module")
def configurations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default configuration with a remote data root."""
    directory = tmp_path_factory.mktemp("configs")
    text = (local.CONFIGURATIONS / "default.toml").read_text()
    assert "data_roots = []" in text
    (directory / "default.toml").write_text(
        text.replace("data_roots = []", 'data_roots = ["s3://series/2024"]')
    )
    return directory


def access(endpoint: str, secret: str, directory: Path) -> Access:
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    options = options_of_connection("aws", None, None, "me", secret, extra)
    return Access(options, scratch_dir=directory / "scratch")


def run(images: list[str], directory: Path, **more: Any) -> str:
    url = f"sqlite:///{directory / 'results.db'}"
    local.run(images, "night", store_url=url, overrides=SETTINGS, output_dir=directory, **more)
    store = Store(url)
    made = checksum(store, "night")
    store.close()
    return made


@pytest.mark.slow
def test_images_of_s3_give_the_results_of_files(
    images: list[Path], endpoint: str, configurations: Path, tmp_path: Path
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here = run([str(images[0].parent)], tmp_path / "here")
    there = run(
        ["s3://series/2024/"],
        tmp_path / "there",
        configurations=configurations,
        access=access(endpoint, SECRET, tmp_path / "there"),
    )
    assert here == there
    with sqlite3.connect(tmp_path / "there" / "results.db") as results:
        urls = [url for (url,) in results.execute("SELECT url FROM image ORDER BY taustart_ts")]
    results.close()
    assert urls == [f"s3://series/2024/{path.name}" for path in images]
    (report,) = tmp_path.glob("there/reports/*/*.html")
    assert "data:image/png;base64," in report.read_text()
    assert list((tmp_path / "there" / "scratch").iterdir()) == []


def test_a_wrong_secret_is_written_nowhere(
    endpoint: str,
    configurations: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", "0")
    wrong = "wrong-secret-of-a-user"
    caplog.set_level(logging.DEBUG, "trap_ops")
    with pytest.raises(ConfigError) as raised:
        run(
            ["s3://series/2024/", "https://me:wrong-secret-of-a-user@host/a.fits"],
            tmp_path,
            configurations=configurations,
            access=access("http://127.0.0.1:1", wrong, tmp_path),
        )
    assert "cannot be reached" in str(raised.value)
    everything = [caplog.text, str(raised.value), repr(vars(raised.value))]
    everything += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*.*")]
    assert len(everything) > 3
    assert [text for text in everything if wrong in text] == []


def test_a_password_in_an_address_is_not_kept_with_the_run(
    images: list[Path], tmp_path: Path
) -> None:
    secret = "https://me:secret-of-a-user@host/a.fits"  # noqa: S105 - of nobody
    run([str(images[0].parent), f" {secret}"], tmp_path)
    (report,) = tmp_path.glob("reports/*/*.html")
    assert "not shown: it may hold a password" in report.read_text()
    everything = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*.*")]
    assert [text for text in everything if "secret-of-a-user" in text] == []
