"""Blends with one peak, against what was simulated; extended sources that must stay whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from trap_ops.config.model import ExtractionConfig
from trap_ops.records.sources import Flag
from trap_ops.science.beam import FWHM_PER_SIGMA, beam_covariance
from trap_ops.science.extraction import Extraction, extract
from trap_ops.science.measurement import Measurements
from trap_ops.science.model_image import add_gaussians
from trap_ops.simulate.fields import FieldPlan, ellipse_covariance, make_field
from trap_ops.simulate.noise import correlated_noise

BEAM = beam_covariance(7.0, 5.0, 30.0, [[-1.0, 0.0], [0.0, 1.0]])
# Along a direction: a vector as long as the beam is wide there.
ALONG = np.linalg.cholesky(BEAM) * FWHM_PER_SIGMA
CONFIG = ExtractionConfig(margin_px=0, split_blends=True)
KINDS = pytest.mark.parametrize("force_beam", [True, False])
CENTRE = np.array([100.3, 90.8])


def looked_at(
    sources: list[tuple[float, float, float]],
    *,
    shape: np.ndarray = BEAM,
    force_beam: bool = True,
    seed: int = 1,
) -> Measurements:
    """Sources (x, y, peak) in noise of unit rms, and what is found of them."""
    data = correlated_noise((192, 224), BEAM, "natural", np.random.default_rng(seed))
    x, y, peak = np.array(sources, dtype=float).T
    add_gaussians(data, x, y, peak, shape)
    found = extract(data, BEAM, CONFIG.model_copy(update={"force_beam": force_beam}))
    assert isinstance(found, Extraction)
    return found.measurements


def pair(
    distance_beams: float, angle_deg: float, ratio: float, snr: float
) -> list[tuple[float, float, float]]:
    angle = np.radians(angle_deg)
    step = ALONG @ [np.cos(angle), np.sin(angle)] * distance_beams
    return [(*(CENTRE - step / 2), snr), (*(CENTRE + step / 2), snr * ratio)]


@KINDS
@pytest.mark.parametrize("angle_deg", [0.0, 70.0, 130.0])
@pytest.mark.parametrize(
    ("distance_beams", "ratio", "snr"),
    [(0.75, 1.0, 150.0), (1.0, 0.9, 60.0), (1.0, 0.3, 300.0), (1.4, 0.2, 200.0)],
)
def test_the_two_sources_of_a_blend_are_measured(
    distance_beams: float, ratio: float, snr: float, angle_deg: float, force_beam: bool
) -> None:
    sources = pair(distance_beams, angle_deg, ratio, snr)
    found = looked_at(sources, force_beam=force_beam)
    assert len(found) == 2
    assert (found.flags & Flag.BLEND == Flag.BLEND).all()
    truth = np.array(sources)
    place, nearest = cKDTree(truth[:, :2]).query(np.stack([found.x, found.y], axis=1))
    assert sorted(nearest) == [0, 1]
    error = np.sqrt(np.trace(found.position_covariance, axis1=1, axis2=2))
    assert (place < 4.5 * error).all()
    assert (abs(found.peak - truth[nearest, 2]) < 4.5 * found.peak_err).all()


def test_what_the_beam_explains_stays_one() -> None:
    for seed in range(40):
        assert len(looked_at([(*CENTRE, 10.0 * 1.2**seed)], seed=seed)) == 1


@KINDS
@pytest.mark.parametrize("snr", [15.0, 60.0, 1000.0])
def test_an_extended_source_stays_one(snr: float, force_beam: bool) -> None:
    wider = BEAM + ellipse_covariance(6.0, 3.0, 1.0)
    found = looked_at([(*CENTRE, snr)], shape=wider, force_beam=force_beam)
    assert len(found) == 1
    assert snr < 20.0 or found.flags[0] & Flag.RESOLVED


def test_three_sources_in_a_row() -> None:
    step = ALONG @ [0.6, 0.8]
    sources = [(*(CENTRE + place * step), peak) for place, peak in ((-1, 90), (0, 140), (0.9, 80))]
    found = looked_at(sources)
    assert len(found) == 3
    truth = np.array(sources)
    place, nearest = cKDTree(truth[:, :2]).query(np.stack([found.x, found.y], axis=1))
    assert sorted(nearest) == [0, 1, 2]
    assert place.max() < 0.5
    assert (abs(found.peak - truth[nearest, 2]) < 5 * found.peak_err).all()


def test_no_part_of_a_split_source_is_below_the_threshold() -> None:
    """A companion of 4 sigma widens the source, but is none of its own."""
    assert len(looked_at(pair(1.0, 20.0, 4.0 / 30.0, 30.0))) == 1


def test_a_blend_does_not_know_what_else_is_in_the_image() -> None:
    """Each is measured the same beside others that are split, in another order."""
    data = correlated_noise((192, 400), BEAM, "natural", np.random.default_rng(3))
    near = data.copy()
    x, y, peak = np.array(pair(0.9, 20.0, 0.6, 80.0)).T
    add_gaussians(near, x, y, peak, BEAM)
    both = near.copy()
    for left, up in ((180.0, 40.0), (230.0, -50.0), (180.0, -60.0)):
        add_gaussians(both, x + left, y + up, peak, BEAM)
    # The noise is given, so that the others change nothing by it.
    config = replace_noise(CONFIG)
    alone, among = (extract(image, BEAM, config) for image in (near, both))
    assert alone is not None
    assert among is not None
    assert len(among.measurements) == 4 * len(alone.measurements) == 8
    mine = np.flatnonzero(among.measurements.x < 150.0)
    for name in ("x", "y", "peak", "peak_err", "flux", "flags"):
        here, there = vars(alone.measurements)[name], vars(among.measurements)[name][mine]
        np.testing.assert_allclose(there, here, rtol=2e-3, err_msg=name)


def replace_noise(config: ExtractionConfig) -> ExtractionConfig:
    return config.model_copy(update={"noise_correlation": "beam"})


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_a_turned_image_gives_the_same_sources(quarter_turns: int) -> None:
    plan = FieldPlan(size_px=256, pairs_beams=(0.7, 2.2), separation_beams=6.0, snr=(30.0, 500.0))
    field = make_field(plan, np.random.default_rng(5))
    turned = np.ascontiguousarray(np.rot90(field.pixels, quarter_turns))
    first = extract(field.pixels, field.beam_covariance_px, CONFIG)
    second = extract(turned, field.beam_covariance_px, CONFIG)
    assert first is not None
    assert second is not None
    x, y = first.measurements.x, first.measurements.y
    for _ in range(quarter_turns):
        x, y = y, 255.0 - x
    place, index = cKDTree(np.stack([x, y], axis=1)).query(
        np.stack([second.measurements.x, second.measurements.y], axis=1)
    )
    assert sorted(index) == list(range(len(x)))
    # Every second pixel serves for the background, and these are others in the turned image.
    assert place.max() < 0.01
    np.testing.assert_allclose(second.measurements.peak, first.measurements.peak[index], atol=0.05)


@pytest.mark.slow
@KINDS
def test_pairs_are_found_and_their_errors_are_true(force_beam: bool) -> None:
    """Pairs 0.7 to 2.2 beams apart: as complete as the slow finders are, at errors that hold."""
    plan = FieldPlan(size_px=768, pairs_beams=(0.7, 2.2), separation_beams=6.0)
    config = CONFIG.model_copy(update={"detection_threshold_sigma": 5.0, "force_beam": force_beam})
    snr, seen, pulls, n_false = [], [], [], 0
    for seed in range(12):
        field = make_field(plan, np.random.default_rng([seed, 1]))
        made = extract(field.pixels, field.beam_covariance_px, config)
        assert made is not None
        found = made.measurements
        fwhm = plan.beam_fwhm_px[0]
        truth, places = np.stack([field.x, field.y], 1), np.stack([found.x, found.y], 1)
        place, index = cKDTree(truth).query(places)
        mine = cKDTree(places).query(truth)[1]
        matched = (place < 0.5 * fwhm) & (mine[index] == np.arange(len(places)))
        n_false += int((~matched).sum())
        which = index[matched]
        snr.append(field.peak)
        seen.append(np.isin(np.arange(len(truth)), which))
        pull = np.full(len(truth), np.nan)
        pull[which] = (found.peak[matched] - field.peak[which]) / found.peak_err[matched]
        pulls.append(pull)
    snr, seen, pull = map(np.concatenate, (snr, seen, pulls))
    bright, middle = snr > 100.0, (snr > 20.0) & (snr <= 100.0)
    assert bright.sum() > 700
    assert seen[bright].mean() > 0.99
    assert seen[middle].mean() > 0.965
    assert n_false <= 4
    for chosen in (bright, middle):
        values = pull[chosen & seen]
        assert 1.4826 * np.median(abs(values - np.median(values))) < 1.15


def test_a_source_with_an_unusable_neighbourhood_is_left_alone() -> None:
    """Half of the blend is masked: whatever is made of it has finite numbers or flags."""
    data = correlated_noise((192, 224), BEAM, "natural", np.random.default_rng(1))
    x, y, peak = np.array(pair(0.9, 0.0, 0.8, 200.0)).T
    add_gaussians(data, x, y, peak, BEAM)
    data[:, 103:] = np.nan
    made = extract(data, BEAM, replace_noise(CONFIG))
    assert made is not None
    found = made.measurements
    assert np.isfinite(found.peak).all()
    assert np.isfinite(found.peak_err).all()
    assert (found.flags & (Flag.EDGE | Flag.NOT_FITTED) > 0).all()
