"""Simulated series: what is in the pixels, the headers and the truth are one and the same."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from trap_ops.errors import ConfigError
from trap_ops.science.beam import beam_covariance
from trap_ops.simulate.series import SeriesPlan, make_images, make_sky, write_series

PLAN = SeriesPlan(
    n_epochs=4, size_px=128, n_steady=6, n_variable=3, n_transient=2, seed=7, rms_jy=1e-3,
    frequencies_hz=(150e6, 180e6), bmaj_arcsec=40.0, bmin_arcsec=28.0, bpa_deg=30.0,
    min_separation_beams=2.0, edge_px=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("series")
    write_series(PLAN, directory)
    return directory


def truth_of(directory: Path) -> dict:
    return json.loads((directory / "truth.json").read_text())


def test_headers_say_what_was_planned(series: Path) -> None:
    paths = sorted(series.glob("*.fits"))
    assert len(paths) == 8
    for number, path in enumerate(paths):
        header = fits.getheader(path)
        epoch, band = divmod(number, 2)
        assert header["BMAJ"] * 3600 == pytest.approx(40.0)
        assert header["BMIN"] * 3600 == pytest.approx(28.0)
        assert header["BPA"] == 30.0
        assert header["BUNIT"] == "JY/BEAM"
        frequency_axis = WCS(header).wcs
        assert frequency_axis.ctype[2] == "FREQ"
        assert frequency_axis.crval[2] == pytest.approx(PLAN.frequencies_hz[band])
        begin = datetime.fromisoformat(header["DATE-OBS"])
        assert begin == datetime(2026, 1, 1, epoch)
        assert (datetime.fromisoformat(header["END_UTC"]) - begin).total_seconds() == 600.0


def test_sources_are_where_and_as_bright_as_the_truth_says(series: Path) -> None:
    """A linear fit of the beam at each position, in units of its error."""
    truth = truth_of(series)
    ra, dec = np.array([[s["ra_deg"], s["dec_deg"]] for s in truth["sources"]]).T
    pulls = []
    for image in truth["images"]:
        with fits.open(series / image["file"]) as hdus:
            data, wcs = hdus[0].data[0, 0].astype(float), WCS(hdus[0].header).celestial
        x, y = wcs.world_to_pixel_values(ra, dec)
        inverse = np.linalg.inv(beam_covariance(40 / 3600, 28 / 3600, 30.0, wcs.pixel_scale_matrix))
        rows, columns = np.mgrid[0:128, 0:128]
        offset = np.stack([columns[..., None] - x, rows[..., None] - y], axis=-1)
        beams = np.exp(-0.5 * np.einsum("...i,ij,...j", offset, inverse, offset))
        design = beams.reshape(-1, len(ra))
        found = np.linalg.lstsq(design, data.ravel(), rcond=None)[0]
        pulls.append((found - list(image["flux_jy"].values())) / PLAN.rms_jy)
    pull = np.array(pulls)
    # An unweighted fit of correlated noise scatters by less than a pixel's rms; 88 values.
    assert 0.5 < pull.std() < 1.1
    assert np.abs(pull).max() < 4.0


def test_csv_and_json_tell_the_same(series: Path) -> None:
    truth = truth_of(series)
    with (series / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    first_band = [image for image in truth["images"] if image["frequency_hz"] == 150e6]
    assert len(rows) == len(truth["sources"]) == 11
    for row, source in zip(rows, truth["sources"], strict=True):
        assert (row["name"], row["kind"]) == (source["name"], source["kind"])
        assert float(row["ra_deg"]) == source["ra_deg"]
        flux = np.array([image["flux_jy"][row["name"]] for image in first_band])
        told = [float(row[f"flux_{what}_jy"]) for what in ("min", "mean", "max")]
        assert told == pytest.approx([flux.min(), flux.mean(), flux.max()], rel=1e-7)


def test_kinds_behave_as_they_are_called() -> None:
    plan = replace(PLAN, n_epochs=30)
    sky = make_sky(plan)
    kind = np.array(sky.kind)
    ratio = sky.flux_jy.std(axis=0) / sky.flux_jy.mean(axis=0)
    assert (ratio[kind == "steady"] < 1e-12).all()
    assert (ratio[kind == "variable"] > 0.1).all()
    bursts = sky.flux_jy[:, kind == "transient"]
    assert (bursts[0] == 0.0).all()
    assert ((bursts > 0).sum(axis=0) >= 1).all()
    assert ((bursts > 0).sum(axis=0) <= 10).all()
    red = sky.flux_at(0, 300e6, 150e6)[kind == "steady"]
    index = np.log2(red / sky.flux_jy[0][kind == "steady"])
    assert index == pytest.approx(sky.spectral_index[kind == "steady"])


def test_distances_are_kept() -> None:
    plan = replace(PLAN, n_steady=60, size_px=512)
    wcs_x, wcs_y = (
        next(make_images(plan, make_sky(plan))).x,
        next(make_images(plan, make_sky(plan))).y,
    )
    distance = np.hypot(wcs_x[:, None] - wcs_x, wcs_y[:, None] - wcs_y)
    np.fill_diagonal(distance, np.inf)
    assert distance.min() >= 2.0 * 8.0
    assert distance[60:].min() >= 3.0 * 8.0
    assert min(wcs_x.min(), wcs_y.min()) >= 16
    assert max(wcs_x.max(), wcs_y.max()) <= 511 - 16


def test_equal_plans_give_equal_bytes_and_other_seeds_others(tmp_path: Path, series: Path) -> None:
    again = write_series(PLAN, tmp_path / "again")
    other = write_series(replace(PLAN, seed=8), tmp_path / "other")
    for path, different in zip(again, other, strict=True):
        assert path.read_bytes() == (series / path.name).read_bytes()
        assert path.read_bytes() != different.read_bytes()


def test_a_series_that_is_there_is_left_alone_and_another_replaced(tmp_path: Path) -> None:
    first = write_series(PLAN, tmp_path)
    times = [path.stat().st_mtime_ns for path in first]
    assert write_series(PLAN, tmp_path) == first
    assert [path.stat().st_mtime_ns for path in first] == times
    fewer = write_series(replace(PLAN, n_epochs=2), tmp_path)
    assert len(fewer) == 4
    assert sorted(tmp_path.glob("*.fits")) == fewer


def test_skipped_epochs_are_gaps_and_change_no_other_image() -> None:
    sky = make_sky(PLAN)
    whole = {image.file_name: image.pixels for image in make_images(PLAN, sky)}
    gap = replace(PLAN, skipped_epochs=(1, 2))
    rest = {image.file_name: image.pixels for image in make_images(gap, make_sky(gap))}
    assert len(rest) == 4
    for name, pixels in rest.items():
        np.testing.assert_array_equal(pixels, whole[name])


def test_noise_grows_outwards_by_the_factor_asked_for() -> None:
    plan = replace(PLAN, n_steady=0, n_variable=0, n_transient=0, noise_gradient=3.0, size_px=512)
    image = next(make_images(plan, make_sky(plan)))
    assert image.rms_jy[255, 255] == pytest.approx(1e-3, rel=1e-4)
    assert image.rms_jy[0, 0] == pytest.approx(3e-3, rel=1e-6)
    centre, corner = image.pixels[192:320, 192:320], image.pixels[:96, :96]
    assert centre.std() == pytest.approx(image.rms_jy[192:320, 192:320].mean(), rel=0.1)
    assert corner.std() == pytest.approx(image.rms_jy[:96, :96].mean(), rel=0.1)


def test_jitter_of_the_sky_is_not_in_the_header_that_of_the_pointing_is() -> None:
    still = list(make_images(PLAN, make_sky(PLAN)))
    moved = replace(PLAN, pointing_jitter_px=5.0)
    for image in make_images(moved, make_sky(moved)):
        sky = make_sky(moved)
        x, y = WCS(image.header).celestial.world_to_pixel_values(sky.ra_deg, sky.dec_deg)
        np.testing.assert_allclose([x, y], [image.x, image.y], atol=1e-6)
        assert np.abs(image.x - still[0].x).max() > 0.1
    shaken = replace(PLAN, position_jitter_arcsec=4.0, n_epochs=60, size_px=128)
    sky = make_sky(shaken)
    offsets = []
    for image in make_images(shaken, sky):
        x, _ = WCS(image.header).celestial.world_to_pixel_values(sky.ra_deg, sky.dec_deg)
        offsets.append(np.unique(np.round(image.x - x, 6)).item() * shaken.pixel_arcsec)
    # 120 offsets: 6.5 per cent.
    assert np.std(offsets) == pytest.approx(4.0, rel=0.26)


def test_a_beam_that_scales_shrinks_with_frequency() -> None:
    plan = replace(PLAN, beam_scales=True)
    low, high = list(make_images(plan, make_sky(plan)))[:2]
    assert high.header["BMAJ"] / low.header["BMAJ"] == pytest.approx(150 / 180)


def test_more_sources_than_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="do not fit into 128 x 128 pixels"):
        make_sky(replace(PLAN, n_steady=500))
