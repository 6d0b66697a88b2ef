"""Find the verb, run it, say in one sentence what went wrong."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from trap_ops import __version__
from trap_ops.errors import TrapError

# In the order of the help.
VERBS = (
    "initproject",
    "initjob",
    "import-job",
    "run",
    "inspect",
    "inject",
    "find",
    "datasets",
    "report",
    "lightcurve",
    "coverage",
    "checksum",
    "check",
    "schema",
    "debug",
    "monitor",
    "withdraw",
    "abandon",
    "replan",
    "deldataset",
    "initdb",
    "backup",
    "restore",
    "receive",
    "simulate",
    "send",
    "cluster",
    "celery",
    "workers",
    "arrivals",
    "compose-env",
    "env",
    "airflow",
)
# Modules of this package have the names of their verbs, unless these say too little or are taken.
_MODULES = {
    "inspect": "inspect_images",
    "find": "find_sources",
    "compose-env": "compose_env",
    "import-job": "import_job",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``trap-manage``; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Only the verb that is wanted is loaded: all of them take a second.
    wanted = words[:1] if words and words[0] in VERBS else VERBS
    modules = [import_module(f"trap_ops.commands.{_MODULES.get(verb, verb)}") for verb in wanted]
    if words[:1] in (["airflow"], ["celery"]):
        # Everything after the verb is Airflow's, options too.
        return int(modules[0].run(words[1:]))
    if words[:2] == ["cluster", "airflow"]:
        return int(modules[0].run_airflow(words[2:]))
    parser = argparse.ArgumentParser(
        prog="trap-manage",
        description="Run the transients pipeline and look after its results.",
        epilog="The variable TRAP_DB (a database URL) says where the results are; "
        "default: an SQLite file in var/.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for module in modules:
        module.add_parser(verbs)
    parsed = parse_words(parser, words)
    try:
        status: int = parsed.run(parsed)
    except TrapError as error:
        print(f"trap-manage: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("trap-manage: stopped", file=sys.stderr)
        # As a shell says it: 130 after Ctrl-C.
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:  # e.g. `trap-manage datasets | head`
        sys.stderr.close()
        return 0
    return status


def parse_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line on which options may stand anywhere among the names.

    argparse takes names that stand together only (``withdraw night1 --yes a.fits`` would be an
    error), but has a way that takes them all, of which parsers with verbs are excluded: so the
    parser of the verb is looked up first.
    """
    # There is no public way to ask a parser for its verbs.
    parts = parser._actions  # noqa: SLF001
    verbs = next((part.choices for part in parts if part.nargs == argparse.PARSER), None)
    if isinstance(verbs, dict):
        below = verbs.get(words[0]) if words else None
        return parser.parse_args(words) if below is None else parse_words(below, words[1:])
    if "--" in words:
        mark = words.index("--")
        options, names = words[:mark], words[mark + 1 :]
        if any(name.startswith("-") for name in names):
            # The other way forgets the mark, and would take these for options.
            return parser.parse_args(words)
        words = [*options, *names]
    return parser.parse_intermixed_args(words)


def _stop(number: int, _frame: object) -> None:
    """End as after Ctrl-C: what this process has begun must not go on without it."""
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    for wish in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(wish) is not signal.SIG_IGN:  # `nohup` has one ignored
            signal.signal(wish, _stop)
    sys.exit(main())
