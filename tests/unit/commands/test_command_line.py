"""Options stand anywhere among the names of a command; what stands behind ``--`` is a name."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import pytest

from trap_ops.commands.__main__ import _MODULES, VERBS, parse_words


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trap-manage")
    parser.add_argument("--version", action="version", version="1")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        if verb != "airflow":  # It is handed all its words.
            import_module(f"trap_ops.commands.{_MODULES.get(verb, verb)}").add_parser(verbs)
    return parse_words(parser, words)


@pytest.mark.parametrize(
    ("verb", "names", "option"),
    [
        ("run", "images", ["--dataset", "d"]),
        ("inspect", "images", ["--config", "lofar"]),
        ("find", "images", ["--csv", "f.csv"]),
        ("lightcurve", "source", ["--dataset", "d"]),
        ("check", "dataset", ["--list"]),
        ("schema", "tables", []),
    ],
)
def test_options_stand_anywhere(verb: str, names: str, option: list[str]) -> None:
    for words in (
        [*option, "a", "b"],
        ["a", *option, "b"],
        ["a", "b", *option],
        [*option, "--", "a", "b"],
        ["a", *option, "--", "b"],
    ):
        assert getattr(parsed(verb, *words), names) == ["a", "b"], words


@pytest.mark.parametrize(
    "words",
    [
        ["withdraw", "night1", "--yes", "a.fits", "b.fits"],
        ["withdraw", "--yes", "night1", "a.fits", "b.fits"],
        ["withdraw", "night1", "a.fits", "--yes", "b.fits"],
        ["withdraw", "night1", "a.fits", "b.fits", "--yes"],
        ["withdraw", "night1", "--yes", "--", "a.fits", "b.fits"],
        ["monitor", "remove", "night1", "--yes", "a.fits", "b.fits"],
        ["monitor", "remove", "--yes", "night1", "a.fits", "b.fits"],
    ],
)
def test_a_dataset_and_names_are_told_apart(words: list[str]) -> None:
    found = parsed(*words)
    names = found.images if words[0] == "withdraw" else found.which
    assert (found.dataset, names, found.yes) == ("night1", ["a.fits", "b.fits"], True)


def test_the_file_with_metadata_is_the_first_name() -> None:
    for words in (["--over", "m", "a", "b"], ["m", "--over", "a", "b"], ["m", "a", "--over", "b"]):
        found = parsed("inject", *words)
        assert (found.parset, found.targets, found.over) == (Path("m"), ["a", "b"], True)


def test_names_may_begin_with_a_dash() -> None:
    assert parsed("run", "--dataset=d", "--", "-a.fits", "b.fits").images == ["-a.fits", "b.fits"]
    assert parsed("withdraw", "night1", "--", "--yes").images == ["--yes"]
    assert parsed("lightcurve", "-0.5 3").source == ["-0.5 3"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--dataset", "d"], "required: images"),
        (["monitor"], "required: ACTION"),
        (["monitor", "list", "d", "more"], "unrecognized arguments: more"),
        (["deldataset", "d", "--yes", "more"], "unrecognized arguments: more"),
        (["withdraw", "d", "--yse", "a"], "unrecognized arguments: --yse"),
        (["nothing"], "invalid choice: 'nothing'"),
        ([], "required: VERB"),
    ],
)
def test_what_is_wrong_is_said(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parsed(*words)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--version"], ["-h"], ["monitor", "-h"], ["withdraw", "-h"]])
def test_help_is_no_error(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parsed(*words)
    assert end.value.code == 0
