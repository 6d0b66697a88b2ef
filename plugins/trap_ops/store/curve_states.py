"""How the bounded states of light curves stand in ``runningcatalog_flux``: as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trap_ops.records.arrays import FloatArray
from trap_ops.records.light_curves import CurveMemory, MedianWindow
from trap_ops.science.curve_memory import KEPT, empty_memory
from trap_ops.science.running_median import empty_window

# Numbers of all rows, one after the other, are little-endian doubles.
_NUMBER = np.dtype("<f8")
_OF_CELL = 3


def pack_memory(memory: CurveMemory) -> list[bytes]:
    """Of each light curve what is kept, and its cells: points, weight, flux."""
    cells = np.stack([memory.points, memory.weight, memory.flux_jy], axis=2)
    filled = memory.points > 0
    kept = np.hstack([memory.kept_weight, memory.kept_flux_jy])
    return [
        first + rest
        for first, rest in zip(
            _pieces(kept.ravel(), np.full(len(kept), kept.shape[1])),
            _pieces(cells[filled].ravel(), _OF_CELL * filled.sum(axis=1)),
            strict=True,
        )
    ]


def unpack_memory(states: Sequence[bytes | None]) -> CurveMemory:
    """Light curves of packed states; None, of an earlier version, has no points."""
    memory = empty_memory(len(states))
    nothing = bytes(2 * KEPT * _NUMBER.itemsize)
    numbers, length = _numbers([state or nothing for state in states])
    begin = np.cumsum(length) - length
    kept = numbers[begin[:, np.newaxis] + np.arange(2 * KEPT)]
    memory.kept_weight[:], memory.kept_flux_jy[:] = kept[:, :KEPT], kept[:, KEPT:]
    is_kept = np.zeros(len(numbers), dtype=bool)
    is_kept[begin[:, np.newaxis] + np.arange(2 * KEPT)] = True
    cells = numbers[~is_kept].reshape(-1, _OF_CELL)
    filled = _first_columns((length - 2 * KEPT) // _OF_CELL, memory.points.shape[1])
    memory.points[filled] = cells[:, 0].astype(np.intp)
    memory.weight[filled], memory.flux_jy[filled] = cells[:, 1], cells[:, 2]
    return memory


def pack_window(window: MedianWindow) -> list[bytes]:
    """Of each light curve the fluxes about the median."""
    filled = np.isfinite(window.flux_jy)
    return _pieces(window.flux_jy[filled], filled.sum(axis=1))


def unpack_window(states: Sequence[bytes | None], below: Sequence[int | None]) -> MedianWindow:
    """Windows of packed states, and of the numbers of fluxes below them; None as above."""
    window = empty_window(len(states))
    numbers, length = _numbers([state or b"" for state in states])
    window.flux_jy[_first_columns(length, window.flux_jy.shape[1])] = numbers
    window.below[:] = [number or 0 for number in below]
    return window


def _pieces(numbers: FloatArray, lengths: np.ndarray) -> list[bytes]:
    data = numbers.astype(_NUMBER).tobytes()
    ends = np.cumsum(lengths * _NUMBER.itemsize).tolist()
    return [data[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def _numbers(states: Sequence[bytes]) -> tuple[FloatArray, np.ndarray]:
    length = np.array([len(state) for state in states], dtype=np.int64) // _NUMBER.itemsize
    return np.frombuffer(b"".join(states), dtype=_NUMBER).astype(np.float64), length


def _first_columns(count: np.ndarray, width: int) -> np.ndarray:
    return np.asarray(np.arange(width) < count[:, np.newaxis])
