"""TraP 1.4.0's association in its own environment: ``trap_association.py positions.npz times``."""

from __future__ import annotations

import json
import sys
import time

import numpy as np


def main() -> None:
    """Print the CPU seconds of each time, and how many sources persisted."""
    import pandas as pd
    from trap.associate import associate

    names = ("ra", "dec", "uncertainty_ns", "uncertainty_ew")
    with np.load(sys.argv[1]) as given:
        first, second = (
            pd.DataFrame({name: given[f"{name}_{k}"] for name in names}).assign(
                id=np.arange(len(given[f"ra_{k}"]))
            )
            for k in (1, 2)
        )
    seconds = []
    for _ in range(int(sys.argv[2])):
        started = time.process_time()
        _, _, persisting, _ = associate(first.copy(), second.copy())
        seconds.append(time.process_time() - started)
    print(json.dumps({"cpu_s": seconds, "matched": len(persisting)}))


if __name__ == "__main__":
    main()
