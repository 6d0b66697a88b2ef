"""Names for the arrays that everything is made of."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.intp]  # indices
Ids: TypeAlias = npt.NDArray[np.int64]  # ids of table rows, and counts
Mask: TypeAlias = npt.NDArray[np.bool_]
Image: TypeAlias = npt.NDArray[np.float32]  # pixels, (ny, nx)
Words: TypeAlias = npt.NDArray[np.str_]
