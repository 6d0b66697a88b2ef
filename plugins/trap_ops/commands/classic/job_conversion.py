"""``job_params.cfg`` converted: settings of this pipeline, and what became of every key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trap_ops.commands.classic.finding import Finding
from trap_ops.commands.classic.ini_files import value_of, without_comment
from trap_ops.commands.classic.job_keys import (
    KEYS,
    LOFAR_MIN_SEPARATION_DEG,
    TEMPLATE_DESCRIPTION,
    Key,
)
from trap_ops.config.load import load_configuration, nearest_name
from trap_ops.errors import ConfigError
from trap_ops.records.names import check_name, one_line

Setting = bool | int | float | str
# Beyond it a float holds no whole numbers.
_MAX_WHOLE = 2**53
_FILE = "job_params.cfg"


@dataclass
class ConvertedJob:
    """A job in the words of this pipeline.

    Attributes
    ----------
    dataset : str
    settings : dict
        Values by ``section.key``.
    streams : list of str
        ``HOST:PORT`` of the streams that it listened to, if any.
    findings : list of Finding
    """

    dataset: str
    settings: dict[str, Setting] = field(default_factory=dict)
    streams: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def nested(self) -> dict[str, dict[str, Setting]]:
        """Return the settings as ``{section: {key: value}}``."""
        made: dict[str, dict[str, Setting]] = {}
        for dotted, value in self.settings.items():
            section, key = dotted.split(".")
            made.setdefault(section, {})[key] = value
        return made


def convert_job(
    given: Mapping[str, Mapping[str, str]], job_name: str, configurations: Path
) -> ConvertedJob:
    """Convert a job.

    Parameters
    ----------
    given : mapping
        Texts by section and key, of ``job_params.cfg``.
    job_name : str
        Names the dataset where the description does not.
    configurations : Path
        With ``default.toml``, which the settings are tried with.
    """
    return _Conversion(given, job_name).convert(configurations)


class _Conversion:
    def __init__(self, given: Mapping[str, Mapping[str, str]], job_name: str) -> None:
        self._given = given
        self._job = ConvertedJob(job_name)
        # Texts by the names of release 6, and where each was found.
        self._texts: dict[tuple[str, str], str] = {}
        self._where: dict[tuple[str, str], str] = {}
        self._special: dict[str, Callable[[Key], None]] = {
            "description": self._description,
            "dataset_id": self._dataset_id,
            "back_size_x": self._back_size,
            "back_size_y": self._back_size,
            "expiration": self._expiration,
            "min_separation": self._min_separation,
            "mode": self._mode,
            "hosts": self._hosts_or_ports,
            "ports": self._hosts_or_ports,
        }

    def convert(self, configurations: Path) -> ConvertedJob:
        self._collect()
        for key in KEYS:
            place = (key.section, key.name)
            if place not in self._texts:
                self._missing(key)
            elif key.name in self._special:
                self._special[key.name](key)
            elif key.setting:
                self._set(key, self._value(key))
            else:
                self._say(key, f"has no meaning here: {key.note}")
        self._drop_refused(configurations)
        return self._job

    def _collect(self) -> None:
        """Take each key from the first of its places that has it; name what is left over."""
        left = {
            (s, name): text for s, values in self._given.items() for name, text in values.items()
        }
        for key in KEYS:
            found = [place for place in key.places if place in left]
            for place in found:
                text = left.pop(place)
                shown = f"{_FILE} [{place[0]}] {place[1]}"
                if place == found[0]:
                    self._texts[key.section, key.name] = text
                    self._where[key.section, key.name] = f"{shown} = {_short(text)}"
                else:
                    first = "[{}] {}".format(*found[0])
                    self._find(shown, f"is not used: {first} is there as well", problem=True)
        names = {key.name: key.section for key in KEYS}
        for (section, name), text in left.items():
            near = nearest_name(name, names)
            if name in names:
                near = f" (is it meant for [{names[name]}]?)"
            where = f"{_FILE} [{one_line(section)}] {one_line(name)} = {_short(text)}"
            self._find(where, f"is no key of classic TraP{near}, and is left out", problem=True)

    def _missing(self, key: Key) -> None:
        said = "left at the default"
        if key.setting:
            said += f" of {key.setting}"
        self._find(f"{_FILE} [{key.section}] {key.name}", f"is not there: {said}")

    def _value(self, key: Key) -> Setting | None:
        """Value of a key, or None after it was said why it cannot be used."""
        value = value_of(self._texts[key.section, key.name])
        if key.kind == "text" and isinstance(value, str):
            return value
        if key.kind == "flag" and isinstance(value, int) and value in {0, 1}:
            return bool(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if key.kind == "text":  # Digits may be a name.
                return without_comment(self._texts[key.section, key.name])
            if key.kind in {"number", "whole"}:
                return self._number(key, value)
        what = {"text": "a text", "flag": "True or False"}.get(key.kind, "a number")
        self._say(key, f"cannot be used: must be {what}", problem=True)
        return None

    def _number(self, key: Key, value: float) -> Setting | None:
        if isinstance(value, int):
            if abs(value) <= _MAX_WHOLE:
                return value if key.kind == "whole" else float(value)
        elif math.isfinite(value):
            if key.kind == "number":
                return value
            if value.is_integer() and abs(value) <= _MAX_WHOLE:
                return int(value)
        what = "a whole number" if key.kind == "whole" else "a number"
        self._say(key, f"cannot be used: must be {what} of usual size", problem=True)
        return None

    def _set(self, key: Key, value: Setting | None, note: str = "") -> None:
        if value is None:
            return
        self._job.settings[key.setting] = value
        more = note or key.note
        said = f"converted to {key.setting} = {written(value)}"
        self._say(key, f"{said} ({more})" if more else said)

    def _description(self, key: Key) -> None:
        value = self._value(key)
        if value is None:
            return
        if value == TEMPLATE_DESCRIPTION:
            said = "is the template's, and would be one dataset for all jobs"
            self._say(key, f"{said}: the dataset is called {self._job.dataset!r} like the job")
            return
        try:
            check_name(str(value), "the dataset")
        except ConfigError as error:
            self._say(key, f"cannot be used: {error.message}", problem=True)
            return
        self._job.dataset = str(value)
        said = f"converted to dataset = {written(value)}"
        self._say(key, f"{said} (a job with the same name continues it)")

    def _dataset_id(self, key: Key) -> None:
        value = self._value(key)
        if value == -1:
            self._say(
                key, "has no meaning here: a dataset is made unless there is one of that name"
            )
        elif value is not None:
            said = "the dataset in the classic database is not continued"
            self._say(
                key, f"has no meaning here: {said}; `dataset` names the one to make or continue"
            )

    def _back_size(self, key: Key) -> None:
        if key.name == "back_size_y" and ("source_extraction", "back_size_x") in self._texts:
            return  # Said with the other.
        keys = [one for one in KEYS if one.name.startswith("back_size_")]
        sizes = [self._value(one) for one in keys if (one.section, one.name) in self._texts]
        sides = [side for side in sizes if isinstance(side, float)]
        if len(sides) < len(sizes):
            return
        if min(sides) == max(sides):
            self._set(key, sides[0], "both sides")
        elif min(sides) > 0:
            side = round(math.sqrt(math.prod(sides)), 3)
            self._set(key, side, "cells are squares here: one of the same area")
        else:
            self._say(key, "cannot be used: must be above 0", problem=True)

    def _expiration(self, key: Key) -> None:
        value = self._value(key)
        if isinstance(value, int) and value < 1:
            self._job.settings["forced_fits.forward"] = False
            self._say(key, "converted to forced_fits.forward = false")
        else:
            self._set(key, value)

    def _min_separation(self, key: Key) -> None:
        value = self._value(key)
        if value == LOFAR_MIN_SEPARATION_DEG:
            said = "left at the default: classic TraP looked at LOFAR's images only, and lofar.toml"
            self._say(key, f"{said} has quality.bright_reject_deg = {written(value)}")
        else:
            note = "classic TraP looked at LOFAR's images only: leave it out for other telescopes"
            self._set(key, value, note)

    def _mode(self, key: Key) -> None:
        value = self._value(key)
        if value == "stream":
            self._streams(key)
        elif value == "batch":
            self._say(key, "has no meaning here: images are those of images.txt")
        elif value is not None:
            self._say(key, "cannot be used: must be 'batch' or 'stream'", problem=True)

    def _streams(self, key: Key) -> None:
        hosts, ports = (self._list("pipeline", name) for name in ("hosts", "ports"))
        good = [port for port in ports if re.fullmatch(r"\d{1,5}", port) and 0 < int(port) < 65536]
        plain = [host for host in hosts if re.fullmatch(r"[\w.:-]{0,253}", host, re.ASCII)]
        if (
            not ports
            or len(hosts) != len(ports)
            or len(good) < len(ports)
            or len(plain) < len(hosts)
        ):
            said = f"there are {len(hosts)} hosts and {len(ports)} ports"
            self._say(key, f"{said}: give each port (1 to 65535) its host", problem=True)
            return
        # An empty one was this machine.
        pairs = zip(hosts, ports, strict=True)
        self._job.streams = [f"{host or 'localhost'}:{port}" for host, port in pairs]
        self._say(key, "has no meaning here: streams are received by a command of its own, below")

    def _hosts_or_ports(self, key: Key) -> None:
        mode = value_of(self._texts.get(("pipeline", "mode"), ""))
        said = "is in the command below" if mode == "stream" else "the mode is not 'stream'"
        self._say(key, f"has no meaning here: {said}")

    def _list(self, section: str, name: str) -> list[str]:
        value = value_of(self._texts.get((section, name), ""))
        if isinstance(value, int):
            return [str(value)] if abs(value) <= _MAX_WHOLE else []
        if isinstance(value, tuple | list):  # Without quotes Python takes them for a tuple.
            return [str(item) for item in value if isinstance(item, str) or _is_whole(item)]
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else []

    def _drop_refused(self, configurations: Path) -> None:
        """Leave out what is against the bounds of a setting, and say so."""
        try:
            load_configuration(configurations, "default", self._job.nested(), source=_FILE)
        except ConfigError as error:
            problems: Any = error.details.get("problems", [error.message])
            refused = False
            for problem in problems:
                named = [dotted for dotted in self._job.settings if _names(problem, dotted)]
                for dotted in named:
                    del self._job.settings[dotted]
                    self._unsay(f"converted to {dotted} = ")
                refused |= bool(named)
                self._find(problem, f"is left out: {', '.join(named)}", problem=True)
            if refused:
                self._drop_refused(configurations)

    def _say(self, key: Key, said: str, *, problem: bool = False) -> None:
        self._find(self._where[key.section, key.name], said, problem=problem)

    def _unsay(self, beginning: str) -> None:
        found = self._job.findings
        self._job.findings = [item for item in found if not item.said.startswith(beginning)]

    def _find(self, where: str, said: str, *, problem: bool = False) -> None:
        self._job.findings.append(Finding(where, said, problem))


def written(value: Setting) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    escaped = "".join(
        f"\\{char}" if char in '"\\' else char if char.isprintable() else f"\\U{ord(char):08x}"
        for char in value
    )
    return f'"{escaped}"'


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and abs(value) <= _MAX_WHOLE


def _names(problem: str, dotted: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(dotted)}(?![\w.])", problem) is not None


def _short(text: str) -> str:
    plain = one_line(without_comment(text).split("\n", maxsplit=1)[0])
    return plain if len(plain) <= 60 else f"{plain[:57]}..."
