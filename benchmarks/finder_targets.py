"""Whether this project's finder does what was promised, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scipy import stats

from benchmarks.finder_process import Finder
from benchmarks.finder_sets import BLEND, PULLS, plan_of
from benchmarks.finder_statistics import expected_peaks

Results = Mapping[str, Mapping[str, Any]]
_LEAST_SNR = 8.0
_PULLS_WITHIN = 0.05
_BLEND_PULL = 1.15
_BIAS_SIGMA, _BIAS_PERCENT = 0.05, 0.1
# One in 740 by chance, on each side.
_CHANCE = 0.00135
_BLENDS_FOUND = {100.0: 0.995, 20.0: 0.97}
_CPU_RATIO = 1.2
_IMPORT_CPU_S = 0.6
_MEMORY_IMAGES, _MEMORY_MB = 3.0, 180.0
_BELOW_BEST = 2.0


@dataclass(frozen=True)
class Target:
    """One target: what it is, where it is worst, and whether it is met.

    Attributes
    ----------
    what, where : str
    worst : str
        Measured there.
    met : bool
    by_chance : bool
        Not met, but within three standard errors of the limit.
    """

    what: str
    where: str
    worst: str
    met: bool
    by_chance: bool = False

    @property
    def verdict(self) -> str:
        """In words."""
        if self.met:
            return "met"
        return "NOT MET, within 3 errors" if self.by_chance else "NOT MET"


@dataclass(frozen=True)
class _Cell:
    """A measured figure: how far it is beyond its limit, in standard errors."""

    text: str
    beyond: float
    error: float


def judge(
    finders: Mapping[str, Finder],
    accuracy: Mapping[str, Results],
    faint: Mapping[str, Any],
    speed: Results,
    import_cpu_s: float,
) -> list[Target]:
    """Judge all targets of which something was measured."""
    ours = [name for name, finder in finders.items() if finder.is_ours]
    made: list[Target] = []
    for set_name, entries in accuracy.items():
        for name in entries:
            # Blends are for the finder that splits them, the rest for the one that does not.
            if name in ours and finders[name].splits == (set_name == BLEND):
                held = "held" in finders[name].options
                made += _accuracy(set_name, name, entries[name], skip=held and set_name == "ext")
    made += _noise(faint, ours)
    made += _equal_rate(faint, ours)
    for name in (name for name in ours if not finders[name].splits):
        made += _speed(name, speed.get(name, {}), speed.get("sep", {}))
    made.append(
        Target(
            f"import of the modules on arrays <= {_IMPORT_CPU_S} s of CPU",
            "",
            f"{import_cpu_s:.2f} s",
            import_cpu_s <= _IMPORT_CPU_S,
        )
    )
    return made


def print_targets(targets: list[Target]) -> None:
    """Print them, with where each is worst."""
    print("\ntargets, with the worst figure of each")
    for item in targets:
        print(f"{item.verdict:<25} {item.what:<56} {item.where:<28} {item.worst}")
    print(f"{sum(item.met for item in targets)} of {len(targets)} met")


def _accuracy(
    set_name: str, name: str, entry: Mapping[str, Any], *, skip: bool
) -> Iterator[Target]:
    where = f"{set_name}, {name}"
    if set_name == "noise":
        expected = expected_false(set_name, 5.0) * entry["megapixels"]
        yield _as_expected("false detections at 5 sigma", where, entry["spurious"], expected)
    rows = [row for row in entry["bins"] if row["snr"][0] >= _LEAST_SNR and "pulls" in row]
    # With the beam's shape held, the fluxes of extended sources are wrong by design.
    if skip or not rows:
        return
    yield _worst(
        _pull_name(set_name), where, [cell for row in rows for cell in _pulls(set_name, row)]
    )
    for quantity in ("peak", "flux"):
        for kind in ("bias", "mean_bias"):
            title = f"{quantity} {'median' if kind == 'bias' else 'mean'} bias"
            yield _worst(
                f"{title} <= {_BIAS_SIGMA} sigma or {_BIAS_PERCENT} %",
                where,
                [_bias(f"{quantity}_{kind}", row) for row in rows],
            )
    if set_name == BLEND:
        for row in rows:
            least = _BLENDS_FOUND.get(row["snr"][0])
            if least:
                share, error = row["completeness"], row["completeness_error"]
                cell = _Cell(f"{share:.4f} +-{error:.4f}", least - share, error)
                yield _worst(f"found above {row['snr'][0]:g} sigma >= {least}", where, [cell])


def _pull_name(set_name: str) -> str:
    if set_name == BLEND:
        return f"pulls of peak, int, x, y < {_BLEND_PULL}"
    return f"pulls of peak, int, x, y within 1 +-{_PULLS_WITHIN} and 3 errors"


def _pulls(set_name: str, row: Mapping[str, Any]) -> Iterator[_Cell]:
    for quantity, pull in zip(PULLS, row["pulls"], strict=True):
        error = row["pull_error"]
        limit = _PULLS_WITHIN + 3.0 * error
        beyond = pull - _BLEND_PULL if set_name == BLEND else abs(pull - 1.0) - limit
        yield _Cell(f"{quantity} {pull:.3f} +-{error:.3f} {_range(row)}", beyond, error)


def _bias(key: str, row: Mapping[str, Any]) -> _Cell:
    """Beyond its limit in the unit in which it is better."""
    made = []
    for unit, limit, sign in (("sigma", _BIAS_SIGMA, "sigma"), ("percent", _BIAS_PERCENT, "%")):
        bias, error = row[f"{key}_{unit}"], row[f"{key}_{unit}_error"]
        text = f"{bias:+.3f} +-{error:.3f} {sign} {_range(row)}"
        made.append((abs(bias) / limit, _Cell(text, (abs(bias) - limit) / limit, error / limit)))
    return min(made, key=lambda item: item[0])[1]


def _worst(what: str, where: str, cells: list[_Cell]) -> Target:
    worst = max(cells, key=lambda cell: cell.beyond)
    beyond = [cell for cell in cells if cell.beyond > 0.0]
    by_chance = all(cell.beyond <= 3.0 * cell.error for cell in beyond)
    return Target(what, where, worst.text, not beyond, bool(beyond) and by_chance)


def _range(row: Mapping[str, Any]) -> str:
    low, high = row["snr"]
    return f"at {low:g}-{high:g}" if high else f"above {low:g}"


def expected_false(set_name: str, threshold_sigma: float) -> float:
    """Maxima with a pixel above a threshold in a megapixel (2**20) of the noise of a set."""
    plan = plan_of(set_name, 1024)
    scale = 1.0 if plan.noise == "natural" else 2.0
    return expected_peaks(threshold_sigma, scale * plan.beam_covariance_px) * 2**20


def _as_expected(what: str, where: str, n: int, expected: float) -> Target:
    law = stats.poisson(expected)
    likely = bool(min(law.sf(n - 1), law.cdf(n)) > _CHANCE)
    return Target(f"{what} as in a Gaussian field", where, f"{n}, expected {expected:.1f}", likely)


def _noise(faint: Mapping[str, Any], ours: list[str]) -> Iterator[Target]:
    for set_name, made in faint.items():
        for name in ours:
            for threshold, n in made["finders"].get(name, {}).get("false_above", {}).items():
                expected = expected_false(set_name, float(threshold)) * made["noise_megapixels"]
                what = f"false detections at {threshold} sigma"
                yield _as_expected(what, f"{set_name}, {name}", n, expected)


def _equal_rate(faint: Mapping[str, Any], ours: list[str]) -> Iterator[Target]:
    for set_name, made in faint.items():
        for name in ours:
            entry = made["finders"].get(name, {"bins": []})
            rows = [row for row in entry["bins"] if "best_other" in row]
            if not rows:
                continue
            worst = min(rows, key=lambda row: row["in_errors"])
            yield Target(
                "found at equal false rate: not 2 errors below the best",
                f"{set_name}, {name}",
                f"{worst['difference']:+.4f} ({worst['in_errors']:+.1f} errors) "
                f"{_range(worst)} against {worst['best_other']}",
                worst["in_errors"] >= -_BELOW_BEST,
            )


def _speed(name: str, sizes: Mapping[str, Any], sep: Mapping[str, Any]) -> Iterator[Target]:
    for size, entry in sizes.items():
        if size in sep:
            ratio = entry["cpu_s"]["min"] / sep[size]["cpu_s"]["min"]
            yield Target(
                f"CPU time <= {_CPU_RATIO} of sep's",
                f"{size} px, {name}",
                f"{ratio:.2f}",
                ratio <= _CPU_RATIO,
            )
        limit = _MEMORY_IMAGES * int(size) ** 2 * 4 / 1e6 + _MEMORY_MB
        yield Target(
            "memory <= 3 images + 180 MB",
            f"{size} px, {name}",
            f"{entry['peak_mb']:.0f} MB of {limit:.0f}",
            entry["peak_mb"] <= limit,
        )
