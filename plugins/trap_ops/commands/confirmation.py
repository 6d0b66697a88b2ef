"""Asking before something is taken away."""

from __future__ import annotations

import argparse
import sys

from trap_ops.errors import ConfigError


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add the option that answers the question beforehand."""
    parser.add_argument("-y", "--yes", action="store_true", help="do it without asking")


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask on a terminal whether to go on; ``yes`` is the answer that was given beforehand.

    Raises
    ------
    ConfigError
        If there is no terminal to ask on.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        msg = "nothing is done, because there is no terminal to ask on: say --yes if it is right"
        raise ConfigError(msg)
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}
