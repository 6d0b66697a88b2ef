"""PyBDSF with an rms box of 64 pixels in steps of 32. Option: ``held``."""

from __future__ import annotations

from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from catalogue import ANALYSIS_SIGMA, Find, main


def load() -> Find:
    """Import what finding takes."""
    import bdsf

    def find(path: Path, threshold: float, options: list[str]) -> dict[str, Any]:
        image = bdsf.process_image(
            str(path),
            rms_box=(64, 32),
            thresh_isl=ANALYSIS_SIGMA,
            # Otherwise it may choose a rate of false pixels instead of this threshold.
            thresh="hard",
            thresh_pix=threshold,
            ncores=1,
            quiet=True,
            fix_to_beam="held" in options,
        )
        found = image.gaussians
        return {
            "x": [item.centre_pix[0] for item in found],
            "y": [item.centre_pix[1] for item in found],
            "x_err": [item.centre_pixE[0] for item in found],
            "y_err": [item.centre_pixE[1] for item in found],
            "peak": [item.peak_flux for item in found],
            "peak_err": [item.peak_fluxE for item in found],
            "flux": [item.total_flux for item in found],
            "flux_err": [item.total_fluxE for item in found],
            "snr": [item.peak_flux / item.rms for item in found],
        }  # fmt: skip

    return find


def version() -> str:
    """Versions that matter."""
    return f"PyBDSF {version_of('bdsf')}"


if __name__ == "__main__":
    main(load, version)
