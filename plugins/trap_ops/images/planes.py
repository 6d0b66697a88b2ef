"""Which planes of a file are images: channels and Stokes parameters, as the settings choose."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images.cards import Header
from trap_ops.images.frequencies import AXES, is_spectral, spectral_axis, step_of
from trap_ops.records.images import Plane

# FITS knows the codes -8 to 4, AIPS a few more.
_STOKES_MAX = 9
STOKES_LETTERS = {
    1: "I",
    2: "Q",
    3: "U",
    4: "V",
    -1: "RR",
    -2: "LL",
    -3: "RL",
    -4: "LR",
    -5: "XX",
    -6: "YY",
    -7: "XY",
    -8: "YX",
}
STOKES_CODES = {letter: code for code, letter in STOKES_LETTERS.items()}
_SHOWN_MAX = 12


@dataclass(frozen=True)
class ChosenPlane:
    """A plane of a file.

    Attributes
    ----------
    plane : Plane
    channel, polarisation : int
        Places on the spectral axis and the Stokes axis, from 0.
    of_channels : int
        How many channels the file has.
    stokes : int or None
        None where the file has no Stokes axis.
    """

    plane: Plane
    channel: int
    polarisation: int
    of_channels: int
    stokes: int | None


def choose_planes(
    header: Header, shape: Sequence[int], hdu: int, rules: ImagesConfig
) -> list[ChosenPlane]:
    """Planes of an image HDU that the settings choose, in the order of the file.

    Parameters
    ----------
    header : Header
    shape : sequence of int
        NAXIS1 first.
    hdu : int
    rules : ImagesConfig

    Raises
    ------
    ImageError
        If there are several and none is chosen, or the chosen ones are not there.
    """
    spectral, polar = _axes(header, shape)
    _check_others(header, shape, {spectral, polar})
    n_channels, n_stokes = (shape[axis - 1] if axis else 1 for axis in (spectral, polar))
    wanted = _Choice(header, n_channels, n_stokes, rules)
    chosen = []
    for polarisation, channel in itertools.product(wanted.stokes(), wanted.channels()):
        place = dict.fromkeys(range(3, len(shape) + 1), 0) | {spectral: channel}
        place[polar] = polarisation
        index = tuple(place[axis] for axis in range(len(shape), 2, -1))
        stokes = read_stokes(header, polarisation)
        words = [f"channel {channel}"] if n_channels > 1 else []
        words += [f"Stokes {_letter(stokes)}"] if n_stokes > 1 else []
        chosen.append(
            ChosenPlane(
                Plane(hdu, index, ", ".join(words)), channel, polarisation, n_channels, stokes
            )
        )
    return chosen


def plane_at(header: Header, shape: Sequence[int], plane: Plane) -> ChosenPlane:
    """A plane that was chosen before; without an index the only one.

    Raises
    ------
    ImageError
        If the image has none there.
    """
    sizes = tuple(shape[:1:-1])
    if not plane.index and max(sizes, default=1) > 1:
        msg = f"it holds several planes {sizes}, and none was chosen"
        raise ImageError(msg, reason="several planes")
    index = plane.index or (0,) * len(sizes)
    if len(index) != len(sizes) or any(i >= n for i, n in zip(index, sizes, strict=True)):
        msg = f"it has no plane {index}: its further axes have {sizes or 'no'} planes"
        raise ImageError(msg, reason="no such plane")
    spectral, polar = _axes(header, shape)
    channel, polarisation = (index[len(shape) - axis] if axis else 0 for axis in (spectral, polar))
    return ChosenPlane(
        Plane(plane.hdu, index, plane.label),
        channel,
        polarisation,
        shape[spectral - 1] if spectral else 1,
        read_stokes(header, polarisation),
    )


def read_stokes(header: Header, polarisation: int = 0) -> int | None:
    """Return the Stokes parameter as FITS counts (1 to 4: I, Q, U, V); None without such an axis.

    Raises
    ------
    ImageError
        If the axis has another number.
    """
    for axis in AXES:
        if header.text(f"CTYPE{axis}").upper() == "STOKES":
            value, reference = header.number(f"CRVAL{axis}"), header.number(f"CRPIX{axis}")
            place = 1.0 + polarisation - (1.0 if reference is None else reference)
            stokes = (1.0 if value is None else value) + place * step_of(header, axis)
            if not abs(stokes) <= _STOKES_MAX:
                msg = (
                    f"its STOKES axis says {stokes:g}, which is no Stokes parameter (1 to 4: IQUV)"
                )
                raise ImageError(msg, reason="bad Stokes", stokes=stokes)
            return round(stokes)
    return None


class _Choice:
    """What the settings take of the channels and Stokes planes of a file."""

    def __init__(self, header: Header, n_channels: int, n_stokes: int, rules: ImagesConfig) -> None:
        self._header = header
        self._n_channels, self._n_stokes = n_channels, n_stokes
        self._rules = rules
        undecided = [
            words
            for several, setting, words in (
                (n_channels > 1, rules.channels, self._channels_in_words),
                (n_stokes > 1, rules.stokes, self._stokes_in_words),
            )
            if several and setting == "only"
        ]
        if undecided:
            what, how = zip(*(words() for words in undecided), strict=True)
            msg = f"it holds {' and '.join(what)}; choose by {' and '.join(how)}"
            raise ImageError(msg, reason="several planes")

    def channels(self) -> Sequence[int]:
        """Places on the spectral axis."""
        if self._n_channels == 1 or isinstance(self._rules.channels, str):
            return range(self._n_channels)
        away = [channel for channel in self._rules.channels if channel >= self._n_channels]
        if away:
            msg = (
                f"it has no channel {', '.join(map(str, away))} (images.channels); it has "
                f"{self._n_channels}, from 0 to {self._n_channels - 1}"
            )
            raise ImageError(msg, reason="no such plane")
        return sorted(set(self._rules.channels))

    def stokes(self) -> Sequence[int]:
        """Places on the Stokes axis."""
        if self._n_stokes == 1 or isinstance(self._rules.stokes, str):
            return range(self._n_stokes)
        letters = self._letters(self._n_stokes)
        found = [place for place, letter in enumerate(letters) if letter in self._rules.stokes]
        if not found:
            msg = (
                f"it has no Stokes {' or '.join(self._rules.stokes)} (images.stokes); it has "
                f"{', '.join(letters)}"
            )
            raise ImageError(msg, reason="no such plane")
        return found

    def _letters(self, count: int) -> list[str]:
        return [_letter(read_stokes(self._header, place)) for place in range(count)]

    def _channels_in_words(self) -> tuple[str, str]:
        last = self._n_channels - 1
        ends = [spectral_axis(self._header, channel) for channel in (0, last)]
        of_ends = [f"{end[0] / 1e6:.6g} MHz" for end in ends if end is not None]
        return (
            f"{self._n_channels} channels (0 to {last}: {' to '.join(of_ends) or 'no frequency'})",
            'images.channels = "all" or a list like [0]',
        )

    def _stokes_in_words(self) -> tuple[str, str]:
        letters = self._letters(min(self._n_stokes, _SHOWN_MAX))
        return (
            f"{self._n_stokes} Stokes planes ({', '.join(letters)})",
            f'images.stokes = "all" or a list like ["{letters[0]}"]',
        )


def _axes(header: Header, shape: Sequence[int]) -> tuple[int, int]:
    """Numbers of the spectral axis and the Stokes axis; 0 where there is none."""
    return (
        _axis(header, shape, is_spectral),
        _axis(header, shape, lambda ctype: ctype == "STOKES"),
    )


def _axis(header: Header, shape: Sequence[int], kind: Callable[[str], bool]) -> int:
    """Number of the axis of a kind that the image has, one with several planes first; 0: none."""
    axes = [axis for axis in range(3, len(shape) + 1) if kind(header.text(f"CTYPE{axis}").upper())]
    return next((axis for axis in axes if shape[axis - 1] > 1), axes[0] if axes else 0)


def _check_others(header: Header, shape: Sequence[int], known: set[int]) -> None:
    """Raise if an axis that is neither spectral nor of Stokes has several planes."""
    for axis in range(3, len(shape) + 1):
        if axis not in known and shape[axis - 1] > 1:
            name = header.text(f"CTYPE{axis}") or "no CTYPE"
            msg = (
                f"it holds {shape[axis - 1]} planes along its axis {axis} ({name}), which is no "
                "spectral axis and none of Stokes; write the planes as files of their own"
            )
            raise ImageError(msg, reason="several planes")


def _letter(stokes: int | None) -> str:
    return STOKES_LETTERS.get(stokes or 0, str(stokes))
