"""radio-pyse: moments as TraP 1.4.0 takes them, or Gaussian fits.

Options: ``vectorized``, ``held``, ``deblend``.
"""

from __future__ import annotations

from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from catalogue import ANALYSIS_SIGMA, COLUMNS, Find, main


def load() -> Find:
    """Import what finding takes; this compiles."""
    from sourcefinder.accessors import open as open_image
    from sourcefinder.accessors import sourcefinder_image_from_accessor
    from sourcefinder.config import Conf, ExportSettings, ImgConf

    def find(path: Path, threshold: float, options: list[str]) -> dict[str, Any]:
        settings = ImgConf(
            detection_thr=threshold,
            analysis_thr=ANALYSIS_SIGMA,
            back_size_x=64,
            back_size_y=64,
            vectorized="vectorized" in options,
            force_beam="held" in options,
            deblend_nthresh=32 if "deblend" in options else 0,
        )
        conf = Conf(image=settings, export=ExportSettings())
        image = sourcefinder_image_from_accessor(open_image(str(path)), conf=conf)
        found = image.extract()
        if found.empty:
            return {name: [] for name in COLUMNS}
        # Columns come in this order, by whatever name; its pixels are counted from 0.
        order = ("peak", "peak_err", "flux", "flux_err", "x", "x_err", "y", "y_err")
        columns = {name: found.iloc[:, place].to_numpy() for place, name in enumerate(order)}
        # The third from the end is the highest pixel of the island over its rms.
        return columns | {"snr": found.iloc[:, -3].to_numpy()}

    return find


def version() -> str:
    """Versions that matter."""
    return f"radio-pyse {version_of('radio-pyse')}, numba {version_of('numba')}"


if __name__ == "__main__":
    main(load, version)
