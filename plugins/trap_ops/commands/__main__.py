"""Find the verb, run it, say in one sentence what went wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from trap_ops import __version__
from trap_ops.commands import (
    abandon,
    airflow,
    checksum,
    datasets,
    debug,
    env,
    initdb,
    report,
    run,
    simulate,
)
from trap_ops.errors import TrapError

VERBS = (run, datasets, report, checksum, debug, abandon, initdb, simulate, env, airflow)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``trap-manage``; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["airflow"]:
        # Everything after the verb is Airflow's, options too.
        return airflow.run(words[1:])
    parser = argparse.ArgumentParser(
        prog="trap-manage",
        description="Run the transients pipeline and look after its results.",
        epilog="The variable TRAP_DB (a database URL) says where the results are; "
        "default: an SQLite file in var/.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        verb.add_parser(verbs)
    parsed = parser.parse_args(words)
    try:
        status: int = parsed.run(parsed)
    except TrapError as error:
        print(f"trap-manage: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("trap-manage: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # e.g. `trap-manage datasets | head`
        sys.stderr.close()
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
