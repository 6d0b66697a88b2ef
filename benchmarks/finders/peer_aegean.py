"""Aegean with the noise of BANE and the covariance of its pixels."""

from __future__ import annotations

import logging
import tempfile
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from catalogue import ANALYSIS_SIGMA, Find, main


def load() -> Find:
    """Import what finding takes."""
    import numpy as np
    from AegeanTools.BANE import filter_image
    from AegeanTools.source_finder import SourceFinder
    from astropy.io import fits
    from astropy.wcs import WCS

    logging.disable(logging.WARNING)

    def find(path: Path, threshold: float, options: list[str]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as scratch:
            base = str(Path(scratch, "noise"))
            filter_image(str(path), base, cores=1, cube_index=0)
            found = SourceFinder().find_sources_in_image(
                str(path),
                rmsin=f"{base}_rms.fits",
                bkgin=f"{base}_bkg.fits",
                innerclip=threshold,
                outerclip=ANALYSIS_SIGMA,
                cores=1,
                nonegative=True,
                docov=True,
                cube_index=0,
                progress=False,
            )
        header = fits.getheader(path)
        position = np.array([(item.ra, item.dec) for item in found]).reshape(-1, 2)
        x, y = WCS(header).celestial.wcs_world2pix(position[:, 0], position[:, 1], 0)
        pixel = header["CDELT2"]
        # Its errors are true degrees on the sky, and the image lies on the equator.
        return {
            "x": x, "y": y,
            "x_err": [item.err_ra / pixel for item in found],
            "y_err": [item.err_dec / pixel for item in found],
            "peak": [item.peak_flux for item in found],
            "peak_err": [item.err_peak_flux for item in found],
            "flux": [item.int_flux for item in found],
            "flux_err": [item.err_int_flux for item in found],
            "snr": [item.peak_flux / item.local_rms for item in found],
        }  # fmt: skip

    return find


def version() -> str:
    """Versions that matter."""
    return f"AegeanTools {version_of('AegeanTools')}"


if __name__ == "__main__":
    main(load, version)
