"""Skies for discovery: light curves reach what they shall, and sources are where they shall."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from trap_ops.errors import ConfigError
from trap_ops.simulate.discovery import (
    SHAPES,
    DiscoveryPlan,
    Setting,
    injected_light_curves,
    make_discovery_sky,
    write_discovery,
)
from trap_ops.simulate.series import SeriesPlan, field_wcs

PLAN = DiscoveryPlan(
    series=SeriesPlan(
        n_epochs=12, size_px=500, n_steady=120, seed=3, noise_gradient=2.0, snr_min=6.0,
        pointing_jitter_px=2.0,
    ),
    n_each=8,
)  # fmt: skip


def test_light_curves_reach_their_excess() -> None:
    shapes = list(SHAPES) * 40
    excess = np.linspace(5.0, 60.0, len(shapes))
    flux, quiescent = injected_light_curves(shapes, excess, 60, np.random.default_rng(1))
    assert (flux >= -1e-9).all()
    reached = np.abs(flux - quiescent).max(axis=0)
    sinusoid = np.array(shapes) == "sinusoid"
    assert reached[~sinusoid] == pytest.approx(excess[~sinusoid])
    assert (reached[sinusoid] > 0.97 * excess[sinusoid]).all()
    assert (reached[sinusoid] <= excess[sinusoid] + 1e-9).all()
    on = flux > quiescent + 1e-9
    burst, vanishing = (np.array(shapes) == name for name in ("burst", "vanishing"))
    assert (on[:, burst].sum(axis=0) == 1).all()
    assert on[0, vanishing].all()
    assert not on[-1, vanishing].any()
    # Once it is gone it stays so.
    assert (np.diff(on[:, vanishing].astype(int), axis=0) <= 0).all()
    step = flux[:, np.array(shapes) == "step"]
    assert ((np.diff(step, axis=0) != 0.0).sum(axis=0) == 1).all()


def test_sources_are_where_their_setting_says() -> None:
    truth = make_discovery_sky(PLAN)
    setting = np.array(truth.setting)
    assert truth.injected.sum() == 8 * len(SHAPES)
    assert (setting == Setting.FORK).sum() == 12
    fork = truth.neighbour_beams[setting == Setting.FORK]
    assert (fork <= 1.4).all()
    blend = truth.neighbour_beams[setting == Setting.BLEND]
    assert (blend <= 3.0).all()
    # A third source may be nearer than the one that it was put beside, but not to the others.
    alone = truth.neighbour_beams[(setting == Setting.FIELD)]
    assert np.median(alone) > 3.0
    assert (setting[truth.injected] == Setting.BLEND).sum() > 4
    x, y = np.array(
        field_wcs(PLAN.series, 0.0, 0.0).world_to_pixel_values(truth.sky.ra_deg, truth.sky.dec_deg)
    )
    border = np.minimum.reduce([x, y, 499 - x, 499 - y])
    edge = border[setting == Setting.EDGE]
    assert (edge >= 7.0).all()
    assert (edge <= 22.0).all()
    assert (border[setting == Setting.FIELD] > 33.0).all()
    assert truth.rms_jy == pytest.approx(
        1e-3 * (1.0 + ((x - 249.5) ** 2 + (y - 249.5) ** 2) / (2 * 249.5**2)), rel=0.02
    )


def test_excess_counts_where_sources_are_searched_for(tmp_path: Path) -> None:
    """By the headers of the images: 3 pixels inside the margin of 10."""
    plan = replace(PLAN, injected_edge_share=0.6, injected_blend_share=0.0)
    truth = write_discovery(plan, tmp_path)
    sky = truth.sky
    inside = []
    for path in sorted(tmp_path.glob("*.fits")):
        header = fits.getheader(path)
        x, y = WCS(header).celestial.world_to_pixel_values(sky.ra_deg, sky.dec_deg)
        inside.append(np.minimum.reduce([x, y, 499 - x, 499 - y]) >= 13.0)
    excess = np.where(inside, np.abs(sky.flux_jy - truth.quiescent_jy), 0.0).max(axis=0)
    assert truth.excess_sigma == pytest.approx(excess / truth.rms_jy)
    always = np.abs(sky.flux_jy - truth.quiescent_jy).max(axis=0) / truth.rms_jy
    assert (truth.excess_sigma < always - 1.0).sum() > 3
    written = json.loads((tmp_path / "discovery.json").read_text())["sources"]
    assert [row["name"] for row in written] == sky.name
    assert [row["excess_sigma"] for row in written] == truth.excess_sigma.tolist()


def test_neighbours_of_a_given_ratio() -> None:
    plan = replace(
        PLAN, injected_blend_share=1.0, injected_blend_beams=(1.0, 1.2), neighbour_ratio=(2.0, 4.0)
    )
    truth = make_discovery_sky(plan)
    injected = truth.injected
    assert truth.neighbour_beams[injected].max() <= 1.2 + 1e-9
    near = truth.neighbour_beams[injected] >= 1.0 - 1e-9
    # The noise is not the same at both.
    ratio = (truth.neighbour_jy / truth.rms_jy)[injected] / np.abs(
        truth.sky.flux_jy - truth.quiescent_jy
    ).max(axis=0)[injected] * truth.rms_jy[injected]  # fmt: skip
    assert near.all()
    sinusoid = np.array(truth.sky.shape)[injected] == "sinusoid"
    assert ((ratio > 1.9) & (ratio < 4.1))[~sinusoid].all()


def test_too_many_do_not_fit() -> None:
    plan = replace(PLAN, series=replace(PLAN.series, size_px=200))
    with pytest.raises(ConfigError, match="take fewer sources"):
        make_discovery_sky(plan)
