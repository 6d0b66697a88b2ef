"""SEP with windowed positions and fluxes within three sigma of the beam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalogue import ANALYSIS_SIGMA, Find, main


def load() -> Find:
    """Import what finding takes."""
    import numpy as np
    import sep
    from astropy.io import fits

    def find(path: Path, threshold: float, options: list[str]) -> dict[str, Any]:
        with fits.open(path, memmap=False) as hdus:
            data, header = np.squeeze(hdus[0].data).astype(np.float32), hdus[0].header
        del hdus
        major, minor = header["BMAJ"] / header["CDELT2"], header["BMIN"] / header["CDELT2"]
        background = sep.Background(data, bw=64, bh=64)
        rms = background.rms()
        data = data - background.back()
        made = sep.extract(data, ANALYSIS_SIGMA, err=rms, minarea=3, filter_kernel=None)
        local = rms[made["ypeak"], made["xpeak"]]
        bright = made["peak"] >= threshold * local
        made, local = made[bright], local[bright]
        half_light = 0.5 * float(np.sqrt(major * minor))
        x, y, _ = sep.winpos(data, made["x"], made["y"], half_light / 1.1774)
        theta = np.radians(header["BPA"] + 90.0)
        axes = major / 2.3548, minor / 2.3548, ((theta + np.pi / 2) % np.pi) - np.pi / 2
        flux, flux_err, _ = sep.sum_ellipse(data, x, y, *axes, 3.0, err=rms)
        # Light of a point source within three sigma, and pixels of a beam.
        scale = (1.0 - np.exp(-4.5)) * np.pi * major * minor / (4.0 * np.log(2.0))
        return {
            "x": x, "y": y, "peak": made["peak"], "peak_err": local,
            "flux": flux / scale, "flux_err": flux_err / scale,
            "x_err": np.sqrt(made["errx2"]), "y_err": np.sqrt(made["erry2"]),
            "snr": made["peak"] / local,
        }  # fmt: skip

    return find


def version() -> str:
    """Versions that matter."""
    import sep

    return f"sep {sep.__version__}"


if __name__ == "__main__":
    main(load, version)
