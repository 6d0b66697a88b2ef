"""What a stream brings is what files would have been: the pipeline finds the same."""

from __future__ import annotations

import logging
import os
import socket
import time
from pathlib import Path

import psutil
import pytest
from astropy.io import fits
from sqlalchemy import select

from conftest import new_store
from stages.conftest import Run
from trap_ops.receive.service import Limits
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.simulate.stream import send, stream_bytes
from trap_ops.store.database import Store
from trap_ops.store.schema import extractedsource, image, runningcatalog
from unit.receive.made_streams import connected, directory_of, files, receiving, until

_LOG = logging.getLogger(__name__)


def measured(store: Store) -> list[tuple[float, ...]]:
    """All measurements of a database, in an order that names of files do not change."""
    of = extractedsource.c
    query = select(
        image.c.taustart_ts, of.extract_type, of.ra, of.decl, of.f_int, of.f_int_err, of.det_sigma
    ).join(image, image.c.id == of.image)
    with store.read() as connection:
        return sorted(tuple(row) for row in connection.execute(query))


def n_sources(store: Store) -> int:
    with store.read() as connection:
        return len(connection.execute(select(runningcatalog.c.id)).all())


def test_a_run_on_received_files_finds_what_one_on_the_originals_does(
    easy: list[Path], run: Run, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    originals, night = easy[:3], tmp_path / "night"
    with receiving(directory_of(night)) as receiver:
        with connected(receiver) as connection:
            late = list(send(connection, map(stream_bytes, originals), every_s=0.1))
        until(lambda: receiver.report.total.received == len(originals))
    assert max(late) < 5.0
    assert receiver.report.total.written == len(originals)
    for original, name in zip(originals, files(night), strict=True):
        with fits.open(original) as sent, fits.open(night / name) as received:
            assert received[0].data.tobytes() == sent[0].data.tobytes()
            for key in ("DATE-OBS", "BMAJ", "CRVAL1", "CRVAL3", "CDELT3", "TELESCOP", "END_UTC"):
                assert received[0].header[key] == sent[0].header[key]
    with (
        new_store("sqlite", request, tmp_path) as of_files,
        new_store("sqlite", request, tmp_path) as of_stream,
    ):
        run(of_files, originals)
        run(of_stream, [night])
        assert n_sources(of_stream) == n_sources(of_files) > 10
        assert measured(of_stream) == measured(of_files)


@pytest.mark.long
def test_six_hundred_images_at_the_highest_rate_stay_in_bounds(tmp_path: Path) -> None:
    """AARTFAAC makes one image a second for each subband; memory has an upper limit at any rate."""
    n_images, side = 600, 256
    plan = SeriesPlan(n_epochs=1, size_px=side, n_steady=5, n_variable=0, n_transient=0)
    (path,) = write_series(plan, tmp_path / "one")
    raw = stream_bytes(path)
    place = raw.index(b"2026-01-01T00:00:00")
    minutes = (f"2026-01-01T{n // 60:02d}:{n % 60:02d}:00".encode() for n in range(n_images))
    series = (raw[:place] + text + raw[place + len(text) :] for text in minutes)
    limits = Limits(images_max=50, bytes_max=8 << 20, pixels_max=8 << 20)
    process = psutil.Process()
    with receiving(directory_of(tmp_path / "night"), limits=limits) as receiver:
        before = most = process.memory_info().rss
        begun = time.monotonic()
        with socket.create_connection(receiver.addresses[0]) as connection:
            for _ in send(connection, series, every_s=0.0):
                most = max(most, process.memory_info().rss)
                assert receiver._buffer.held <= limits.bytes_max
        sent = time.monotonic() - begun
        until(lambda: receiver.report.total.received == n_images)
        most = max(most, process.memory_info().rss)
    took = time.monotonic() - begun
    total = receiver.report.total
    assert total.received == n_images == total.written + total.dropped
    assert len(files(tmp_path / "night")) == total.written > 0
    # The series is 157 MB.
    grown = (most - before) / 1e6
    assert grown < 40.0
    _LOG.info(
        "%s",
        f"{n_images / sent:.0f} images/s sent, {total.written / took:.0f} images/s written, "
        f"{total.dropped} dropped, memory grew by {grown:.0f} MB ({os.cpu_count()} cores)",
    )
