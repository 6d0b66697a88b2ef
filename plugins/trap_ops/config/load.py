"""Layers of settings: built-in defaults < default.toml < a named file < parameters of the run."""

from __future__ import annotations

import difflib
import hashlib
import json
import operator
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from trap_ops.config.cluster import CLUSTER_FILE
from trap_ops.config.model import NOT_PART_OF_DATASET, SITE_ONLY, Configuration
from trap_ops.config.schedules import SCHEDULES_FILE
from trap_ops.config.toml_files import read_toml
from trap_ops.errors import ConfigError

DEFAULT_FILE = "default.toml"
AUTO = "auto"
_OVERRIDES = "parameters of this run"
# Beside the configurations of runs, and none themselves.
_OTHERS = frozenset({CLUSTER_FILE, SCHEDULES_FILE})


def configuration_names(directory: Path) -> list[str]:
    """Names of the configurations of runs in a directory: its ``*.toml`` files without ending."""
    return sorted(path.stem for path in directory.glob("*.toml") if path.name not in _OTHERS)


def load_configuration(
    directory: Path,
    name: str,
    overrides: Mapping[str, Any] | None = None,
    telescopes: Iterable[str] = (),
    source: str = _OVERRIDES,
) -> tuple[str, Configuration]:
    """Read, merge and validate the settings of a run.

    Parameters
    ----------
    directory : Path
        Holds ``default.toml`` and the named files.
    name : str
        Name of a file without its ending, or ``auto`` to choose by telescope.
    overrides : mapping, optional
        ``{section: {key: value}}``, as the parameters of a run give them.
    telescopes : iterable of str
        TELESCOP of the images; decides for ``auto``.
    source : str
        What the overrides are from, for messages.

    Returns
    -------
    name : str
        The file that was taken.
    configuration : Configuration

    Raises
    ------
    ConfigError
        One message for all problems, each with file, key, value, what is allowed and the nearest
        valid name.
    """
    chosen = _by_telescope(directory, telescopes) if name == AUTO else name
    layers = [(DEFAULT_FILE, read_toml(directory / DEFAULT_FILE))]
    if f"{chosen}.toml" != DEFAULT_FILE:
        layers.append((f"{chosen}.toml", read_toml(named_file(directory, chosen))))
    layers.append((source, dict(overrides or {})))
    merged: dict[str, Any] = {}
    origin: dict[tuple[str | int, ...], str] = {}
    for name_of_layer, layer in layers:
        _merge(merged, layer, name_of_layer, origin, ())
    problems = [
        f"{origin[path]}: {'.'.join(path)} guards the site and is set in {DEFAULT_FILE} only"
        for path in SITE_ONLY
        if origin.get(path, DEFAULT_FILE) != DEFAULT_FILE
    ]
    try:
        configuration = Configuration.model_validate(merged)
    except ValidationError as error:
        problems += [_describe(item, merged, origin) for item in error.errors()]
        raise _config_error(problems) from error
    problems += _contradictions(configuration, origin)
    if problems:
        raise _config_error(problems)
    return chosen, configuration


def canonical_json(configuration: Configuration) -> str:
    """Return the settings as JSON with sorted keys: equal settings give equal text."""
    return json.dumps(configuration.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def dataset_settings(configuration: Configuration) -> dict[str, Any]:
    """Return the settings that decide results, as nested dicts; runs of a dataset share them."""
    settings = configuration.model_dump(mode="json", exclude=set(NOT_PART_OF_DATASET))
    for section, key in SITE_ONLY:
        del settings[section][key]
    return settings


def settings_hash(settings: object) -> str:
    """SHA-256 of settings or parts of them (anything JSON knows)."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def settings_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Keys whose values differ, as ``section.key: first -> second``, in order."""
    flat_first, flat_second = _flatten(first), _flatten(second)
    return [
        f"{key}: {flat_first.get(key, 'absent')} -> {flat_second.get(key, 'absent')}"
        for key in sorted(flat_first.keys() | flat_second.keys())
        if flat_first.get(key, "absent") != flat_second.get(key, "absent")
    ]


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _by_telescope(directory: Path, telescopes: Iterable[str]) -> str:
    """Return the file that names the telescope; the default where none does."""
    wanted = {telescope.strip().upper() for telescope in telescopes}
    found: dict[str, list[str]] = {}
    for name in configuration_names(directory):
        names = read_toml(directory / f"{name}.toml").get("telescopes", [])
        for telescope in wanted & {str(item).strip().upper() for item in names}:
            found.setdefault(telescope, []).append(name)
    choices = sorted({name for names in found.values() for name in names})
    unknown = sorted(wanted - found.keys())
    if len(choices) > 1 or (choices and unknown):
        listing = ", ".join(f"{telescope}: {' or '.join(found[telescope])}" for telescope in found)
        listing += "".join(f", {telescope or 'no TELESCOP'}: default" for telescope in unknown)
        msg = (
            f"configuration 'auto' cannot choose: the images ask for different files ({listing}); "
            "name one configuration, or make a dataset for each telescope"
        )
        raise ConfigError(msg, telescopes=sorted(wanted))
    return choices[0] if choices else Path(DEFAULT_FILE).stem


def named_file(directory: Path, name: str) -> Path:
    """Return the file of a configuration.

    Raises
    ------
    ConfigError
        If there is none; the message has the nearest name and all of them.
    """
    names = configuration_names(directory)
    if name in names:
        return directory / f"{name}.toml"
    msg = (
        f"there is no configuration {name!r} in {directory}{nearest_name(name, names)}; "
        f"there are: {', '.join([AUTO, *names])}"
    )
    raise ConfigError(msg, name=name)


def nearest_name(name: str, names: Iterable[str]) -> str:
    """Return a question for the valid name that is most like a wrong one; empty if none is."""
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def _merge(
    target: dict[str, Any],
    layer: Mapping[str, Any],
    source: str,
    origin: dict[tuple[str | int, ...], str],
    prefix: tuple[str, ...],
) -> None:
    for key, value in layer.items():
        path = (*prefix, key)
        if isinstance(value, Mapping) and isinstance(target.get(key, {}), dict):
            _merge(target.setdefault(key, {}), value, source, origin, path)
            origin.setdefault(path, source)
        else:
            target[key] = value
            origin[path] = source


def _describe(
    item: Any,  # noqa: ANN401 - pydantic's ErrorDetails, a TypedDict of an inner package
    merged: Mapping[str, Any],
    origin: Mapping[tuple[str | int, ...], str],
) -> str:
    """One problem in words: file, key path, value, what is allowed, nearest valid name."""
    # Of a union pydantic adds the tried type to the path; the key itself is what the user knows.
    value: Any = merged
    path: tuple[str | int, ...] = ()
    for part in item["loc"]:
        if not _holds(value, part):
            break
        value, path = value[part], (*path, part)
    known = [path[:length] for length in range(len(path), 0, -1) if path[:length] in origin]
    source = origin[known[0]] if known else DEFAULT_FILE
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:]
    if item["type"] == "extra_forbidden":
        near = nearest_name(str(path[-1]), _valid_names(path[:-1]))
        return f"{source}: {dotted} is not a setting{near}"
    if item["type"] == "value_error":  # Of a section as a whole.
        return f"{source}: {dotted}: {item['ctx']['error']}"
    said = str(item["msg"])
    return f"{source}: {dotted} = {value!r}: {said[:1].lower()}{said[1:]}"


def _holds(value: object, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    # Of lists only those of tables have parts with names of their own.
    return isinstance(part, int) and isinstance(value, list) and isinstance(value[part], Mapping)


def _valid_names(path: tuple[str | int, ...]) -> list[str]:
    section: type[BaseModel] = Configuration
    for part in path:
        if isinstance(part, int):
            continue  # One of a list of tables, which are all alike.
        annotation = section.model_fields[part].annotation
        inner = [
            item
            for item in (annotation, *get_args(annotation))
            if isinstance(item, type) and issubclass(item, BaseModel)
        ]
        if not inner:
            return []
        section = inner[0]
    return list(section.model_fields)


# A number or a word: the word, and the least number.
_WORD_OR_NUMBER = {
    ("extraction", "ew_sys_err_arcsec"): ("auto", 0),
    ("extraction", "ns_sys_err_arcsec"): ("auto", 0),
    ("forced_fits", "expiration"): ("none", 1),
    ("catalogue_checks", "flux_scale_warn_factor"): ("none", 1),
    ("catalogue_checks", "flux_scale_reject_factor"): ("none", 1),
    ("catalogue_checks", "astrometry_warn_beams"): ("none", 0),
    ("catalogue_checks", "astrometry_reject_beams"): ("none", 0),
    ("catalogue_checks", "source_count_warn_factor"): ("none", 1),
    ("catalogue_checks", "source_count_reject_factor"): ("none", 1),
}
# Section, a setting, another one of it, what must hold of them, and the same in words.
_IN_ORDER: tuple[tuple[str, str, str, Callable[[float, float], bool], str], ...] = (
    ("quality", "rms_min_jy", "rms_max_jy", operator.lt, "be below"),
    ("quality", "noise_low_factor", "noise_high_factor", operator.lt, "be below"),
    (
        "extraction",
        "analysis_threshold_sigma",
        "detection_threshold_sigma",
        operator.le,
        "not be above",
    ),
    ("catalogue_checks", "min_images", "history_images", operator.le, "not be above"),
)


def _contradictions(
    configuration: Configuration, origin: Mapping[tuple[str | int, ...], str]
) -> list[str]:
    """Problems that pydantic cannot see: of two settings together, or of a number beside a word."""

    def value(section: str, key: str) -> Any:  # noqa: ANN401 - of any setting
        return getattr(getattr(configuration, section), key)

    def named(section: str, key: str) -> str:
        source = origin.get((section, key), "built-in")
        return f"{section}.{key} = {value(section, key)} ({source})"

    problems = [
        f"{named(section, first)} must {words} {named(section, second)}"
        for section, first, second, holds, words in _IN_ORDER
        if not holds(value(section, first), value(section, second))
    ]
    for (section, key), (word, least) in _WORD_OR_NUMBER.items():
        given = value(section, key)
        if given != word and given < least:
            problems.append(f"{named(section, key)} must be {word!r} or at least {least}")
    return problems


def _config_error(problems: list[str]) -> ConfigError:
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    msg = f"the configuration has {count}:\n  " + "\n  ".join(problems)
    return ConfigError(msg, problems=problems)
