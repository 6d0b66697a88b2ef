"""Time and memory of the pipeline. Importing this package makes ``trap_ops`` importable."""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
# The pipeline is not installed: Airflow, pytest and bin/trap-manage find it in this folder, too.
sys.path.insert(0, str(CHECKOUT / "plugins"))

__all__ = ["CHECKOUT"]
