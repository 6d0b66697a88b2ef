"""Axes and plots: ticks of known answers, points where they belong, text that stays text."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from export.conftest import parse
from trap_ops.export import plot_files
from trap_ops.export.axes import Scale, date_ticks, linear_ticks, log_ticks
from trap_ops.export.plots import Cloud, Marks, Panel, eta_v, light_curve
from trap_ops.export.wording import superscript

NEW_YEAR = datetime(2026, 1, 1)


def labels(low: float, high: float, most: int = 6) -> list[str]:
    return [tick.label for tick in linear_ticks(low, high, most)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 10.0, ["0", "2", "4", "6", "8", "10"]),
        (0.13, 0.87, ["0.2", "0.4", "0.6", "0.8"]),
        (-0.03, 0.012, ["−0.03", "−0.02", "−0.01", "0.00", "0.01"]),
        (110.0, 236.0, ["150", "200"]),
        (1000.01, 1000.04, ["1000.01", "1000.02", "1000.03", "1000.04"]),
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (3e5, 9e5, ["400000", "600000", "800000"]),
    ],
)
def test_linear_ticks(low: float, high: float, expected: list[str]) -> None:
    assert labels(low, high) == expected


@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-6, 1e6),
    st.integers(4, 10),
)
def test_linear_ticks_lie_inside_and_are_few(low: float, span: float, most: int) -> None:
    high = low + span
    ticks = [tick.value for tick in linear_ticks(low, high, most)]
    assert 1 <= len(ticks) <= most
    # Of a narrow range far from 0 the digits of a float are what counts.
    rounding = 1e-6 * span + 2.0 * np.spacing(max(abs(low), abs(high)))
    assert min(ticks) >= low - rounding
    assert max(ticks) <= high + rounding


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.02, 50.0, ["0.1", "1", "10"]),
        (0.8, 30.0, ["1", "2", "5", "10", "20"]),
        (1e-5, 1e5, ["", "10⁻⁴", "", "0.01", "", "1", "", "100", "", "10⁴", ""]),
    ],
)
def test_log_ticks(low: float, high: float, expected: list[str]) -> None:
    assert [tick.label for tick in log_ticks(low, high)] == expected


def dates(low: datetime, high: datetime) -> list[str]:
    return [f"{tick.label} {tick.below}".strip() for tick in date_ticks(low, high)]


@pytest.mark.parametrize(
    ("low", "span", "expected"),
    [
        (
            NEW_YEAR,
            timedelta(hours=23),
            ["00:00 2026-01-01", "04:00", "08:00", "12:00", "16:00", "20:00"],
        ),
        (
            NEW_YEAR + timedelta(hours=20, minutes=10),
            timedelta(hours=7),
            ["22:00 2026-01-01", "00:00 2026-01-02", "02:00"],
        ),
        (
            NEW_YEAR + timedelta(days=361, hours=12),
            timedelta(days=5),
            ["Dec 29 2026", "Dec 30", "Dec 31", "Jan 1 2027", "Jan 2"],
        ),
        (
            NEW_YEAR + timedelta(seconds=1),
            timedelta(seconds=2),
            [
                "00:00:01.000 2026-01-01",
                "00:00:01.500",
                "00:00:02.000",
                "00:00:02.500",
                "00:00:03.000",
            ],
        ),
        # Weeks begin on Mondays: 5 January 2026 is one.
        (NEW_YEAR, timedelta(days=28), ["Jan 5 2026", "Jan 12", "Jan 19", "Jan 26"]),
        (
            NEW_YEAR + timedelta(days=280),
            timedelta(days=150),
            ["Nov 2026", "Dec", "Jan 2027", "Feb", "Mar"],
        ),
        (NEW_YEAR, timedelta(days=365 * 20), ["2030", "2035", "2040", "2045"]),
    ],
)
def test_date_ticks(low: datetime, span: timedelta, expected: list[str]) -> None:
    assert dates(low, low + span) == expected


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)),
    st.floats(1e-2, 3e9),
)
def test_date_ticks_lie_inside_and_are_few(low: datetime, seconds: float) -> None:
    high = low + timedelta(seconds=seconds)
    ticks = date_ticks(low, high)
    assert len(ticks) <= 8
    assert all(0.0 <= tick.value <= (high - low).total_seconds() for tick in ticks)
    assert [tick.value for tick in ticks] == sorted({tick.value for tick in ticks})
    assert all(tick.label for tick in ticks)


def test_scales() -> None:
    np.testing.assert_allclose(Scale(0.0, 10.0, 100.0, 200.0)([0.0, 5.0, 10.0]), [100, 150, 200])
    np.testing.assert_allclose(Scale(0.0, 10.0, 200.0, 100.0)([2.5]), [175.0])
    log = Scale(0.1, 1000.0, 0.0, 40.0, log=True)
    np.testing.assert_allclose(log([0.1, 1.0, 1000.0]), [0.0, 10.0, 40.0])
    assert np.isnan(log([0.0, -1.0])).all()


def curve(n: int, name: str = "blind", limit: float = np.nan, step_s: float = 60.0) -> Marks:
    time = np.array([NEW_YEAR + timedelta(seconds=step_s * i) for i in range(n)], dtype=object)
    flux = np.arange(n, dtype=float)
    titles = [f"point {i}" for i in range(n)]
    return Marks(name, "circle", name, time, flux, np.ones(n), np.full(n, limit), titles)


def test_a_light_curve_has_a_mark_a_bar_and_a_title_for_every_point() -> None:
    page = parse(light_curve([Panel("150 MHz", [curve(5), curve(3, "forward", 4.0)])], "mJy", "x"))
    assert [e.text for e in page.all("title")] == [
        *(f"point {i}" for i in range(5)),
        *(f"point {i}" for i in range(3)),
    ]
    bars = [str(e.attributes["d"]) for e in page.all("path") if e.attributes["class"] == "bar"]
    assert [bar.count("V") for bar in bars] == [5, 3]
    limits = [str(e.attributes["d"]) for e in page.all("path") if e.attributes["class"] == "limit"]
    assert [arrow.count("v9") for arrow in limits] == [3]


def test_brighter_points_stand_higher_and_later_ones_to_the_right() -> None:
    page = parse(light_curve([Panel("", [curve(4)])], "mJy", "x"))
    # The first circle is the legend's.
    circles = page.all("circle")[1:]
    x = [float(str(e.attributes["cx"])) for e in circles]
    y = [float(str(e.attributes["cy"])) for e in circles]
    assert x == sorted(x)
    assert y == sorted(y, reverse=True)
    np.testing.assert_allclose(np.diff(x), np.diff(x)[0], atol=0.2)


@pytest.mark.parametrize("n", [1, 2])
def test_a_single_point_or_time_can_be_drawn(n: int) -> None:
    drawn = light_curve([Panel("", [curve(n, step_s=0.0)])], "Jy", "x")
    assert "nan" not in drawn
    assert len(parse(drawn).all("title")) == n


def test_bands_share_the_time_axis() -> None:
    panels = [Panel("150 MHz", [curve(3)]), Panel("160 MHz", [curve(3)])]
    page = parse(light_curve(panels, "mJy", "x"))
    x = [str(e.attributes["cx"]) for e in page.all("circle")[1:]]
    assert x[:3] == x[3:]
    texts = [e.text for e in page.all("text")]
    assert {"150 MHz", "160 MHz"} <= set(texts)
    assert texts.count("2026-01-01") == 1


def test_a_long_light_curve_keeps_its_extremes_and_stays_small() -> None:
    marks = curve(20_000)
    rng = np.random.default_rng(1)
    flux = rng.normal(size=20_000)
    flux[7_001], flux[13_331] = 50.0, -50.0
    long = Marks(
        "blind", "circle", "blind", marks.time, flux, marks.error, marks.limit, marks.title
    )
    drawn = light_curve([Panel("", [long])], "mJy", "x")
    y = np.array([float(str(e.attributes["cy"])) for e in parse(drawn).all("circle")[1:]])
    assert 600 < len(y) < 800
    assert (y < y.mean() - 60.0).sum() == 1
    assert (y > y.mean() + 60.0).sum() == 1
    assert len(drawn) < 80_000


def test_text_in_plots_stays_text() -> None:
    nasty = "</title></svg><script>alert('1')</script>\"&\u202e"
    cross = [(NEW_YEAR, nasty)]
    marks = curve(1)
    hostile = Marks(
        "blind", "circle", nasty, marks.time, marks.flux, marks.error, marks.limit, [nasty]
    )
    cloud = Cloud("new", "dot", nasty, np.ones(1), np.ones(1), [nasty], ['"><script>'])
    for drawn in (
        light_curve([Panel(nasty, [hostile], cross)], nasty, nasty),
        eta_v([cloud], nasty),
    ):
        page = parse(drawn)
        assert not page.all("script")
        assert "\u202e" not in "".join(e.text for e in page.all("title"))
        assert any("alert('1')" in e.text for e in page.all("title"))


def test_eta_v_puts_what_a_logarithm_has_no_place_for_on_the_edge() -> None:
    eta, v = np.array([1.0, 100.0, 0.0, 10.0, 0.0]), np.array([0.1, 1.0, 0.5, -0.2, 0.0])
    titles = [f"source {i}" for i in range(5)]
    page = parse(eta_v([Cloud("source", "circle", "", eta, v, titles)], "x"))
    places = {
        e.text: (
            float(str(circle.attributes["cx"])),
            float(str(circle.attributes["cy"])),
        )
        for e, circle in zip(page.all("title"), page.all("circle"), strict=True)
    }
    x = [places[title][0] for title in titles]
    y = [places[title][1] for title in titles]
    assert x[2] == x[4] < x[0] < x[3] < x[1]
    assert y[1] < y[2] < y[0] < y[3] == y[4]


def test_eta_v_of_a_large_catalogue_stays_small_and_tells_of_the_unusual() -> None:
    rng = np.random.default_rng(1)
    eta, v = rng.chisquare(20, 100_000) / 20.0, 10.0 ** rng.uniform(-3, -1, 100_000)
    eta[77], v[77] = 900.0, 2.0
    titles = [f"source {i}" for i in range(100_000)]
    drawn = eta_v([Cloud("source", "dot", "", eta, v, titles)], "x")
    assert len(drawn) < 800_000
    told = [e.text for e in parse(drawn).all("title")]
    assert len(told) == 3000
    assert "source 77" in told


def test_empty_eta_v() -> None:
    none = np.empty(0)
    assert "nan" not in eta_v([Cloud("source", "dot", "", none, none)], "x")


@pytest.mark.parametrize("name", ["DejaVuSans.ttf", "DejaVuSans-Bold.ttf"])
def test_the_fonts_of_png_files_have_every_sign_that_plots_write(name: str) -> None:
    font = ImageFont.truetype(plot_files._HERE / "fonts" / name, 40)
    lacking = bytes(font.getmask("\uffff"))
    written = "".join(map(chr, range(0x21, 0x7F))) + "−±×–≤ηµ·" + superscript(-1234567890)
    for sign in written:
        assert bytes(font.getmask(sign)) not in {lacking, b""}, sign
