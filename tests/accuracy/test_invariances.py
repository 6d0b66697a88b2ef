"""What changes an image but not its sources: shifts, turns, mirrors, units, offsets, other parts.

Two kinds of exactness. Where the cells of the background hold the same pixels before and after,
everything agrees to rounding. That is so for a beam of less than 5 pixels, whose background is
measured from all pixels, if whole cells fill the image or what they leave is even, so that both
ends lose equally much. For a wider beam every second pixel serves, counted from the lower left
corner: turned about, it is the other half, whose rms differs by 1 per cent and whose background by
0.02 sigma (the last test here).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from trap_ops.config.model import ExtractionConfig
from trap_ops.records.sources import Flag
from trap_ops.science.extraction import Extraction, extract
from trap_ops.science.measurement import Measurements
from trap_ops.simulate.fields import FieldPlan, make_field

# A smaller seed is no simpler image: nothing is shrunk.
QUICK = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
)
CELL = 32
# Turns and mirrors: of offsets (x, y); the pixels follow from it.
MOVES = {
    "flipped in x": np.array([[-1, 0], [0, 1]]),
    "flipped in y": np.array([[1, 0], [0, -1]]),
    "turned by 90": np.array([[0, -1], [1, 0]]),
    "turned by 180": np.array([[-1, 0], [0, -1]]),
    "turned by 270": np.array([[0, 1], [-1, 0]]),
    "transposed": np.array([[0, 1], [1, 0]]),
    "transposed the other way": np.array([[0, -1], [-1, 0]]),
}
SAME = np.eye(2, dtype=int)


@dataclass(frozen=True)
class Looked:
    """An image, and how its sources are looked for."""

    pixels: np.ndarray
    beam: np.ndarray
    config: ExtractionConfig

    def found(self) -> Extraction:
        made = extract(self.pixels, self.beam, self.config)
        assert made is not None
        return made


@dataclass(frozen=True)
class Exactness:
    """How far two measurements of the same may be apart.

    ``sigma``: values, in their own errors. ``relative``: errors, shapes, noise, as a fraction.
    ``background``: in the local rms.
    """

    sigma: float
    relative: float
    background: float


# The upsampled noise and its correlation are float32 (6e-8), and some operations follow.
ROUNDED = Exactness(1e-6, 2e-6, 1e-6)
# A pixel of 1000 sigma is rounded to 6e-5 sigma, and a fit ends where chi-squared changes by less
# than 1e-9 of itself: 2e-4 sigma.
REWRITTEN = Exactness(1e-3, 1e-5, 1e-6)
# Every pixel is rounded to 6e-5 sigma. One that was at the limit of a clip may be beyond it now: of
# 4096 in a cell, at 2.5 sigma, it makes 0.1 per cent of the rms, and others may follow it.
LIFTED = Exactness(3e-2, 1e-2, 5e-3)
# See the top.
OTHER_HALF = Exactness(0.2, 0.07, 0.15)


@st.composite
def plans(draw: st.DrawFn) -> FieldPlan:
    minor = draw(st.floats(3.0, 4.9))
    return FieldPlan(
        size_px=256,
        beam_fwhm_px=(minor * draw(st.sampled_from([1.0, 1.2, 1.6])), minor),
        beam_theta_deg=draw(st.floats(0.0, 180.0)),
        per_megapixel=draw(st.sampled_from([150.0, 400.0])),
        noise=draw(st.sampled_from(["natural", "beam-smoothed"])),
        rms_ratio=draw(st.sampled_from([1.0, 4.0])),
        pairs_beams=draw(st.sampled_from([None, (0.7, 2.2)])),
        intrinsic_fwhm_beams=draw(st.sampled_from([None, (0.3, 1.5)])),
    )


@st.composite
def images(draw: st.DrawFn) -> Looked:
    plan, seed = draw(plans()), draw(st.integers(0, 2**32 - 1))
    field = make_field(plan, np.random.default_rng(seed))
    # Whole cells, but not as many along both axes.
    pixels = field.pixels[:, : 3 * CELL].copy()
    if draw(st.booleans()):
        x, y = draw(st.integers(40, 130)), draw(st.integers(40, 200))
        pixels[y : y + 21, x : x + 24] = np.nan
    config = ExtractionConfig(
        detection_threshold_sigma=6.0,
        margin_px=draw(st.sampled_from([0, 7])),
        background_cell_px=CELL,
        force_beam=draw(st.booleans()),
        split_blends=draw(st.booleans()),
    )
    return Looked(pixels, field.beam_covariance_px, config)


def moved(pixels: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Pixels such that an offset from the centre is where the matrix takes it."""
    if move[0, 0] == 0:
        pixels, move = pixels.T, move @ [[0, 1], [1, 0]]
    return np.ascontiguousarray(pixels[:: move[1, 1], :: move[0, 0]])


def centre(pixels: np.ndarray) -> np.ndarray:
    return (np.array(pixels.shape[::-1]) - 1) / 2.0


def assert_same(
    found: Extraction,
    wanted: Extraction,
    exactness: Exactness,
    *,
    move: np.ndarray = SAME,
    shift: np.ndarray | None = None,
    factor: float = 1.0,
    offset: float = 0.0,
    unlike: int = 0,
) -> None:
    """The same sources, and all that is said of them, but for where they are and in what unit.

    ``unlike`` are flags that may differ.
    """
    one, other = wanted.measurements, found.measurements
    assert len(other) == len(one)
    place = np.stack([one.x, one.y], axis=1) @ move.T + (0.0 if shift is None else shift)
    if len(one) == 0:
        return
    distance, index = cKDTree(np.stack([other.x, other.y], axis=1)).query(place)
    assert sorted(index) == list(range(len(one)))
    other = other.take(index)
    settled = _settled(one, other)
    np.testing.assert_array_equal((other.flags | unlike)[settled], (one.flags | unlike)[settled])
    # Islands are numbered as they come.
    pairs = set(zip(one.island.tolist(), other.island.tolist(), strict=True))
    assert len(pairs) == len(set(one.island)) == len(set(other.island))
    a, b = one.take(settled), other.take(settled)
    if len(a) == 0:
        return
    error = np.sqrt(np.trace(a.position_covariance, axis1=1, axis2=2))
    assert (distance[settled] / error).max() <= exactness.sigma
    for name in ("peak", "flux"):
        here, there = getattr(a, name), getattr(b, name) / factor
        assert np.abs((there - here) / getattr(a, f"{name}_err")).max() <= exactness.sigma, name
    drift = (b.background - offset) / factor - a.background
    assert np.abs(drift / a.rms).max() <= exactness.background
    for name in ("peak_err", "flux_err", "rms"):
        np.testing.assert_allclose(
            getattr(b, name) / factor, getattr(a, name), rtol=exactness.relative, err_msg=name
        )
    for name in ("position_covariance", "shape_covariance"):
        here, there = move @ getattr(a, name) @ move.T, getattr(b, name)
        size = np.trace(here, axis1=1, axis2=2)[:, None, None]
        assert (np.abs(there - here) / size).max() <= exactness.relative, name
    # The background of the peak comes in, and a bright peak is many sigma.
    np.testing.assert_allclose(b.snr, a.snr, rtol=exactness.relative, atol=exactness.background)
    near = 10.0 * exactness.sigma
    np.testing.assert_allclose(b.resolved_sigma, a.resolved_sigma, rtol=near, atol=near)
    assert found.noise.rms_min / factor == pytest.approx(
        wanted.noise.rms_min, rel=exactness.relative
    )
    values = wanted.noise.correlation.values
    reach = len(values) // 2
    lags = np.mgrid[-reach : reach + 1, -reach : reach + 1][::-1].reshape(2, -1)
    x, y = move @ lags + reach
    np.testing.assert_allclose(
        found.noise.correlation.values[y, x], values.ravel(), atol=10.0 * exactness.relative
    )


def _settled(one: Measurements, other: Measurements) -> np.ndarray:
    """Whether no poor fit is near: one may end anywhere, and is subtracted from its neighbours."""
    poor = ((one.flags | other.flags) & Flag.POOR_FIT) > 0
    apart = np.hypot(one.x[:, None] - one.x[poor], one.y[:, None] - one.y[poor])
    return np.asarray((apart > 40.0).all(axis=1))


def check_move(image: Looked, move: np.ndarray) -> None:
    turned = Looked(moved(image.pixels, move), move @ image.beam @ move.T, image.config)
    shift = centre(turned.pixels) - move @ centre(image.pixels)
    assert_same(turned.found(), image.found(), ROUNDED, move=move, shift=shift)


@pytest.mark.parametrize("name", MOVES)
@settings(QUICK, max_examples=6)
@given(image=images())
def test_an_image_turned_or_mirrored_has_the_same_sources(name: str, image: Looked) -> None:
    check_move(image, MOVES[name])


def check_shift(image: Looked, left: int, right: int, below: int, above: int) -> None:
    """The cells cover what is not blank, wherever in the image that is."""
    inside = replace(image, config=image.config.model_copy(update={"margin_px": 0}))
    pixels = np.pad(image.pixels, ((below, above), (left, right)), constant_values=np.nan)
    shifted = replace(inside, pixels=pixels)
    shift = np.array([left, below], dtype=float)
    # What was outside the image is in it now, and masked.
    assert_same(shifted.found(), inside.found(), ROUNDED, shift=shift, unlike=Flag.MASKED)


BORDERS = st.integers(0, 90)


@QUICK
@given(image=images(), left=BORDERS, right=BORDERS, below=BORDERS, above=BORDERS)
def test_an_image_in_a_blank_border_has_the_same_sources(
    image: Looked, left: int, right: int, below: int, above: int
) -> None:
    check_shift(image, left, right, below, above)


def check_power_of_two(image: Looked, exponent: int) -> None:
    """No rounding differs, so nothing does."""
    factor = 2.0**exponent
    made = replace(image, pixels=image.pixels * np.float32(factor)).found()
    scaled, plain = vars(made.measurements), vars(image.found().measurements)
    units = {"peak", "peak_err", "flux", "flux_err", "background", "rms"}
    for name, value in plain.items():
        wanted = value * factor if name in units else value
        np.testing.assert_array_equal(scaled[name], wanted, err_msg=name)
    units = {"peak", "flux"}
    for name, value in vars(image.found().islands).items():
        wanted = value * factor if name in units else value
        np.testing.assert_array_equal(vars(made.islands)[name], wanted, err_msg=name)


@QUICK
@given(image=images(), exponent=st.integers(-60, 60))
def test_a_unit_that_is_a_power_of_two_changes_no_bit(image: Looked, exponent: int) -> None:
    check_power_of_two(image, exponent)


def check_factor(image: Looked, factor: float, *, clips_differ: bool = False) -> None:
    """``clips_differ``: bear it that a rounded pixel passed the limit of a clip."""
    made, found = replace(image, pixels=image.pixels * np.float32(factor)).found(), image.found()
    factor = float(np.float32(factor))
    exactness = REWRITTEN
    if clips_differ and made is not None and found is not None:
        rms = made.noise.grid.rms / factor
        same = np.allclose(rms, found.noise.grid.rms, rtol=REWRITTEN.relative, equal_nan=True)
        exactness = REWRITTEN if same else LIFTED
    assert_same(made, found, exactness, factor=factor)


# What squares of pixels in float32 bear.
FACTORS = st.floats(-15.0, 15.0).map(lambda exponent: 10.0**exponent)


@QUICK
@given(image=images(), factor=FACTORS)
def test_a_unit_changes_nothing_but_the_unit(image: Looked, factor: float) -> None:
    check_factor(image, factor)


def check_offset(image: Looked, offset: float) -> None:
    made = replace(image, pixels=image.pixels + np.float32(offset)).found()
    assert_same(made, image.found(), LIFTED, offset=float(np.float32(offset)))


@QUICK
@given(image=images(), offset=st.floats(-1000.0, 1000.0))
def test_an_offset_is_in_the_background_alone(image: Looked, offset: float) -> None:
    check_offset(image, offset)


@settings(QUICK, max_examples=8)
@given(plan=plans(), seed=st.integers(0, 2**32 - 1), split=st.booleans(), force=st.booleans())
def test_what_is_far_away_has_no_part(plan: FieldPlan, seed: int, split: bool, force: bool) -> None:
    """Of an image and a part of it that begins at a cell: cells four away are not felt.

    The median of nodes reaches one cell, interpolation the next, and it is done twice. The
    correlation of the noise is that of the whole image, and given here.
    """
    plan = replace(plan, size_px=576, per_megapixel=100.0, snr=(8.0, 60.0))
    field = make_field(plan, np.random.default_rng(seed))
    config = ExtractionConfig(
        detection_threshold_sigma=6.0, margin_px=0, background_cell_px=32, force_beam=force,
        split_blends=split, noise_correlation="beam",
    )  # fmt: skip
    beam = field.beam_covariance_px
    first = np.array([64, 32])
    part = field.pixels[32:480, 64:544]
    low, high = first + 128.0, first + np.array([352, 320])

    def inside(made: Extraction | None, shift: np.ndarray) -> Extraction:
        assert made is not None
        place = np.stack([made.measurements.x, made.measurements.y], axis=1) + shift
        kept = ((place > low) & (place < high)).all(axis=1)
        return replace(made, measurements=made.measurements.take(kept))

    whole = inside(extract(field.pixels, beam, config), np.zeros(2))
    cut = inside(extract(np.ascontiguousarray(part), beam, config), first)
    whole = replace(whole, noise=cut.noise)
    assert_same(cut, whole, ROUNDED, shift=-first.astype(float))


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(QUICK, max_examples=500)
@given(
    image=images(),
    move=st.sampled_from(list(MOVES.values())),
    borders=st.tuples(BORDERS, BORDERS, BORDERS, BORDERS),
    exponent=st.integers(-60, 60),
    factor=FACTORS,
    offset=st.floats(-1000.0, 1000.0),
)
def test_very_many_images(
    image: Looked,
    move: np.ndarray,
    borders: tuple[int, int, int, int],
    exponent: int,
    factor: float,
    offset: float,
) -> None:
    check_move(image, move)
    check_shift(image, *borders)
    check_power_of_two(image, exponent)
    # Of some ten thousand images one has a pixel that rounding takes over the limit of a clip.
    check_factor(image, factor, clips_differ=True)
    check_offset(image, offset)


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("force_beam", [True, False])
def test_the_other_half_of_the_pixels_says_the_same_of_the_noise(
    name: str, force_beam: bool
) -> None:
    """A beam of 6 pixels: the background is that of every second pixel, and these are others."""
    plan = FieldPlan(size_px=288, beam_fwhm_px=(7.0, 5.5), beam_theta_deg=30.0, snr=(8.0, 300.0))
    field = make_field(plan, np.random.default_rng(12))
    config = ExtractionConfig(margin_px=0, background_cell_px=72, force_beam=force_beam)
    image = Looked(field.pixels, field.beam_covariance_px, config)
    move = MOVES[name]
    turned = Looked(moved(image.pixels, move), move @ image.beam @ move.T, config)
    shift = centre(turned.pixels) - move @ centre(image.pixels)
    wanted = image.found()
    assert len(wanted.measurements) > 15
    assert_same(turned.found(), wanted, OTHER_HALF, move=move, shift=shift)
