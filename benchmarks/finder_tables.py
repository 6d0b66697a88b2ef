"""The figures of finders as text, and as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Results = Mapping[str, Mapping[str, Any]]


def print_accuracy(name: str, finder: str, entry: Mapping[str, Any]) -> None:
    """Print what a finder made of a set, a line for each range of SNR."""
    print(
        f"\n{name}, {finder}: {entry['sources']} sources, {entry['spurious']} spurious in "
        f"{entry['megapixels']:g} Mpix, {entry['cpu_ms_per_image']} ms of CPU an image"
    )
    for row in entry["bins"]:
        if "pulls" not in row:
            continue
        low, high = row["snr"]
        print(
            f"  SNR {low:g} to {high or 'any':<5} n {row['n']:<5} found {row['completeness']:.4f}"
            f" +-{row['completeness_error']:.4f}   pulls "
            + " ".join(f"{pull:.3f}" for pull in row["pulls"])
            + f" +-{row['pull_error']:.3f}"
        )
        for quantity in ("peak", "flux"):
            words = (
                f"{kind} {row[f'{quantity}_{key}_sigma']:+.3f} "
                f"+-{row[f'{quantity}_{key}_sigma_error']:.3f} sigma "
                f"({row[f'{quantity}_{key}_percent']:+.3f} "
                f"+-{row[f'{quantity}_{key}_percent_error']:.3f} %)"
                for kind, key in (("median", "bias"), ("clipped mean", "mean_bias"))
            )
            print(
                f"      {quantity} bias: {', '.join(words)}, "
                f"scatter {row[f'{quantity}_scatter_sigma']:.2f} sigma"
            )


def print_faint(name: str, made: Mapping[str, Any]) -> None:
    """Print completeness at equal false rate."""
    print(
        f"\n{name}: found at {made['rate']:g} false detections per Mpix, by true SNR; cuts from "
        f"{made['noise_megapixels']:g} Mpix of noise\n  (+- binomial, cut; then the difference to "
        "the best other program, in its standard errors)"
    )
    for finder, entry in made["finders"].items():
        few = "" if entry["enough_false"] else " (fewer false than allowed: no cut)"
        beside = f"{entry['spurious_beside_sources']} spurious beside sources"
        print(f"  {finder:<18} cut {entry['cut']:.3f} +-{entry['cut_error']:.3f}, {beside}{few}")
        for row in entry["bins"]:
            low, high = row["snr"]
            against = (
                f"  {row['difference']:+.4f} +-{row['paired_error']:.4f} +-{row['cuts_error']:.4f}"
                f" = {row['in_errors']:+.1f} errors against {row['best_other']}"
                if "best_other" in row
                else ""
            )
            print(
                f"    {low:>2g} to {high:<3g} n {row['n']:<5} {row['completeness']:.4f} "
                f"+-{row['completeness_error']:.4f} +-{row['completeness_cut_error']:.4f}{against}"
            )


def print_speed(size: int, name: str, entry: Mapping[str, Any]) -> None:
    """Print the costs of a finder at a size."""
    print(
        f"{size:>5} px  {name:<24} CPU {entry['cpu_s']['min'] * 1e3:8.1f} ms (median "
        f"{entry['cpu_s']['median'] * 1e3:.1f})  peak {entry['peak_mb']:7.1f} MB  "
        f"import {entry['import_cpu_s']:.2f} s"
    )


def markdown(accuracy: Mapping[str, Results], faint: Mapping[str, Any], speed: Results) -> str:
    """All tables in Markdown."""
    tables = []
    if accuracy:
        tables.append(_table(_ACCURACY_COLUMNS, _accuracy_rows(accuracy)))
    if faint:
        ranges = [_range(row) for row in _first(_first(faint)["finders"])["bins"]]
        columns = ["noise", "finder", "cut, sigma", *ranges, "least difference to the best other"]
        tables.append(_table(columns, _faint_rows(faint)))
    if speed:
        sizes = list(dict.fromkeys(size for entry in speed.values() for size in entry))
        columns = [
            "finder",
            "import, CPU s",
            *(f"{size}², CPU s" for size in sizes),
            *(f"{size}², MB" for size in sizes),
        ]
        tables.append(_table(columns, _speed_rows(speed, sizes)))
    return "\n".join(tables)


_ACCURACY_COLUMNS = (
    "set", "finder", "sources", "spurious in Mpix", "found at 5-6 / 6-8 / 8-20 / 20-100 / >100",
    "20-100: peak bias / scatter, sigma", "int bias / scatter, sigma", ">100: peak bias, %",
    "int bias, %", "x, y scatter, beam sigma / SNR, 20-100 / >100", "pulls peak, int, x, y at 8-20",
    "20-100", ">100",
)  # fmt: skip


def _accuracy_rows(accuracy: Mapping[str, Results]) -> Iterator[list[str]]:
    for name, finders in accuracy.items():
        for finder, entry in finders.items():
            spurious = f"{entry['spurious']} in {entry['megapixels']:g}"
            head = [name, finder, str(entry["sources"]), spurious]
            if not all("pulls" in row for row in entry["bins"]):
                yield head + [""] * (len(_ACCURACY_COLUMNS) - len(head))
                continue
            middle, bright = entry["bins"][-2:]
            yield [
                *head,
                " / ".join(_share(row["completeness"]) for row in entry["bins"]),
                *(
                    f"{_figure(middle, f'{quantity}_mean_bias_sigma')} / "
                    f"{middle[f'{quantity}_scatter_sigma']:.2f}"
                    for quantity in ("peak", "flux")
                ),
                *(_figure(bright, f"{item}_mean_bias_percent") for item in ("peak", "flux")),
                " / ".join(f"{sum(row['position_scatter']) / 2.0:.2f}" for row in (middle, bright)),
                *(", ".join(f"{pull:.2f}" for pull in row["pulls"]) for row in entry["bins"][-3:]),
            ]


def _faint_rows(faint: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, made in faint.items():
        for finder, entry in made["finders"].items():
            compared = [row for row in entry["bins"] if "best_other" in row]
            least = min(compared, key=lambda row: row["in_errors"], default=None)
            yield [
                name.partition("-")[0],
                finder,
                f"{entry['cut']:.2f} ± {entry['cut_error']:.2f}",
                *(
                    f"{row['completeness']:.3f} ± {row['completeness_error']:.3f}"
                    for row in entry["bins"]
                ),
                ""
                if least is None
                else f"{least['difference']:+.3f} ({least['in_errors']:+.1f} errors) at "
                f"{_range(least)}, {least['best_other']}",
            ]


def _speed_rows(speed: Results, sizes: Sequence[str]) -> Iterator[list[str]]:
    for finder, entry in speed.items():
        yield [
            finder,
            f"{min(item['import_cpu_s'] for item in entry.values()):.1f}",
            *(f"{entry[size]['cpu_s']['min']:.3f}" if size in entry else "" for size in sizes),
            *(f"{entry[size]['peak_mb']:.0f}" if size in entry else "" for size in sizes),
        ]


def _table(columns: Sequence[str], rows: Iterator[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _figure(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:+.3f} ± {row[f'{key}_error']:.3f}"


def _share(value: float) -> str:
    return f"{value:.3f}" if 0.9 < value < 1.0 else f"{value:.2g}"


def _range(row: Mapping[str, Any]) -> str:
    low, high = row["snr"]
    return f"{low:g}-{high:g}"


def _first(mapping: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of whatever it holds
    return next(iter(mapping.values()))
