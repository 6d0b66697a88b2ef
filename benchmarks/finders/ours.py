"""This project's finder, from arrays. Options: ``held`` (the beam's shape), ``split`` (blends)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from catalogue import ANALYSIS_SIGMA, COLUMNS, Find, main

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))


def load() -> Find:
    """Import what finding takes."""
    import numpy as np
    from astropy.io import fits

    from trap_ops.config.model import ExtractionConfig
    from trap_ops.science.beam import beam_covariance
    from trap_ops.science.extraction import extract

    def find(path: Path, threshold: float, options: list[str]) -> dict[str, Any]:
        with fits.open(path, memmap=False) as hdus:
            data, header = np.squeeze(hdus[0].data).astype(np.float32), hdus[0].header
        del hdus
        matrix = np.diag([header["CDELT1"], header["CDELT2"]])
        beam = beam_covariance(header["BMAJ"], header["BMIN"], header["BPA"], matrix)
        config = ExtractionConfig(
            detection_threshold_sigma=threshold,
            analysis_threshold_sigma=ANALYSIS_SIGMA,
            margin_px=0,
            split_blends="split" in options,
            force_beam="held" in options,
        )
        made = extract(data, beam, config)
        if made is None:
            return {name: [] for name in COLUMNS}
        found = made.measurements
        return {
            "x": found.x, "y": found.y, "peak": found.peak, "peak_err": found.peak_err,
            "flux": found.flux, "flux_err": found.flux_err, "snr": found.snr,
            "x_err": np.sqrt(found.position_covariance[:, 0, 0]),
            "y_err": np.sqrt(found.position_covariance[:, 1, 1]),
        }  # fmt: skip

    return find


def version() -> str:
    """Versions that matter."""
    import numpy as np
    import scipy

    return f"numpy {np.__version__}, scipy {scipy.__version__}"


if __name__ == "__main__":
    main(load, version)
