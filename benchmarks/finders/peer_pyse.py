"""radio-pyse: moments as TraP 1.4.0 takes them, or Gaussian fits.

Options: ``vectorized``, ``held``, ``deblend``.
"""

from __future__ import annotations

from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from catalogue import Find, main


def load() -> Find:
    """Import what finding takes; this compiles."""
    from sourcefinder.accessors import open as open_image
    from sourcefinder.accessors import sourcefinder_image_from_accessor
    from sourcefinder.config import Conf, ExportSettings, ImgConf

    def find(path: Path, options: list[str]) -> dict[str, Any]:
        settings = ImgConf(
            detection_thr=5.0,
            analysis_thr=3.0,
            back_size_x=64,
            back_size_y=64,
            vectorized="vectorized" in options,
            force_beam="held" in options,
            deblend_nthresh=32 if "deblend" in options else 0,
        )
        conf = Conf(image=settings, export=ExportSettings())
        image = sourcefinder_image_from_accessor(open_image(str(path)), conf=conf)
        found = image.extract()
        # Columns come in this order, by whatever name; its pixels are counted from 0.
        order = ("peak", "peak_err", "flux", "flux_err", "x", "x_err", "y", "y_err")
        return {name: found.iloc[:, place].to_numpy() for place, name in enumerate(order)}

    return find


def version() -> str:
    """Versions that matter."""
    return f"radio-pyse {version_of('radio-pyse')}, numba {version_of('numba')}"


if __name__ == "__main__":
    main(load, version)
