"""Unit tests: hypothesis draws the same examples everywhere, and writes below var/ only."""

from __future__ import annotations

from pathlib import Path

from hypothesis import configuration, settings

ROOT = Path(__file__).resolve().parents[2]

configuration.set_hypothesis_home_dir(str(ROOT / "var" / "cache" / "hypothesis"))
settings.register_profile("unit", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("unit")
