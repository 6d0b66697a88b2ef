"""The package ``benchmarks`` lies beside tests/, not in the folders that pytest is told of."""

from __future__ import annotations

import sys
from pathlib import Path

# First: this folder has the same name, and tests/ is on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
