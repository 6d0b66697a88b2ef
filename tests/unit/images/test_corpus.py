"""Headers of every dialect, made by the project's own generator, are read right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trap_ops.errors import ImageError
from trap_ops.images.reading import read_headers
from trap_ops.records.images import Beam
from trap_ops.simulate.headers import Expected, Variant, corpus
from unit.images.reading_truth import read_all, rules_of, wrong

CORPUS = corpus()
READ = [pytest.param(variant, id=variant.name) for variant in CORPUS if not variant.refused]
REFUSED = [pytest.param(variant, id=variant.name) for variant in CORPUS if variant.refused]


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(READ) >= 200
    assert len(REFUSED) >= 10


@pytest.mark.parametrize("variant", READ)
def test_a_header_is_read_right(variant: Variant, tmp_path: Path) -> None:
    path = variant.write(tmp_path)
    found = read_all(path, variant.settings)
    true = sorted(variant.expected, key=lambda one: (one.frequency_hz, one.stokes))
    assert len(found) == len(true)
    assert [
        line
        for (image, opened), truth in zip(found, true, strict=True)
        for line in wrong(image, opened, truth)
    ] == []


@pytest.mark.parametrize("variant", REFUSED)
def test_a_header_is_refused_for_the_true_reason(variant: Variant, tmp_path: Path) -> None:
    path = variant.write(tmp_path)
    with pytest.raises(ImageError) as raised:
        read_headers(str(path), rules_of(variant.settings))
    message = raised.value.message
    assert path.name in message
    assert [word for word in variant.refused if word.lower() not in message.lower()] == []


# ---- The comparison itself: it finds each thing that can be wrong.

FAULTS: dict[str, Callable[[Expected], dict[str, Any]]] = {
    "telescope": lambda _: {"telescope": "OTHER"},
    "Stokes": lambda _: {"stokes": 4},
    "start": lambda true: {"start": true.start + timedelta(milliseconds=2)},
    "integration time": lambda true: {"integration_s": true.integration_s + 0.002},
    "frequency": lambda true: {"frequency_hz": true.frequency_hz * (1 + 3e-9)},
    "bandwidth": lambda true: {"bandwidth_hz": true.bandwidth_hz * 1.00001},
    "beam": lambda true: {"beam": replace(true.beam, bpa_deg=true.beam.bpa_deg + 1e-5)},
    "beam beside": lambda true: {"beam": Beam(true.beam.bmaj_deg, 1e-3, 0.0)},
    "positions": lambda true: {
        "positions": tuple(
            replace(place, dec_deg=place.dec_deg + 2e-3 / 3600.0) for place in true.positions
        )
    },
    "pixel matrix": lambda true: {"matrix_deg": (true.matrix_deg[0][::-1], true.matrix_deg[1])},
    "pixels": lambda true: {"pixels": np.nextafter(true.pixels, np.float32(1e9))},
    "holes": lambda true: {"pixels": np.where(true.pixels > 3, np.float32(np.nan), true.pixels)},
    "no note": lambda _: {"notes": ("something",)},
}


@pytest.mark.parametrize("what", FAULTS)
def test_the_comparison_finds_faults(what: str, tmp_path: Path) -> None:
    variant = next(one for one in CORPUS if one.name == "freq-axis-3")
    ((image, opened),) = read_all(variant.write(tmp_path))
    (true,) = variant.expected
    faulty = replace(true, **FAULTS[what](true))
    assert [line for line in wrong(image, opened, faulty) if what in line]


def test_notes_that_nothing_calls_for_are_found(tmp_path: Path) -> None:
    variant = next(one for one in CORPUS if one.name == "unit-none")
    ((image, opened),) = read_all(variant.write(tmp_path))
    (true,) = variant.expected
    assert wrong(image, opened, true) == []
    assert wrong(image, opened, replace(true, notes=()))[0].startswith("notes")
