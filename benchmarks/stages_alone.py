"""The stages without Airflow, as a process to measure: IMAGES STORE_URL OUTPUT_DIRECTORY."""

from __future__ import annotations

import sys
from pathlib import Path

from trap_ops import local

DATASET = "bench"


def main(words: list[str]) -> None:
    """Run all stages on a directory of images."""
    images, store_url, output_dir = words
    local.run([images], DATASET, store_url=store_url, output_dir=Path(output_dir))


if __name__ == "__main__":
    main(sys.argv[1:])
