"""Airflow's own command line in an interpreter that collects garbage less often.

Airflow makes hundreds of thousands of objects while it starts, nearly all of which live until its
end. Python's default looks through all of them again and again, and once more at exit: three of the
eight seconds of a short ``dags test``.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
from pathlib import Path

# The default is (700, 10, 10): new objects until the first look, and looks until the wider ones.
_THRESHOLDS = (50_000, 20, 100)


def main() -> None:
    """Be the ``airflow`` command."""
    gc.set_threshold(*_THRESHOLDS)
    # What is left at exit goes with the process; to look for cycles in it first is of no use.
    atexit.register(gc.freeze)
    from airflow.__main__ import main as airflow_main

    airflow_main()


def _words() -> list[str]:
    """The words of the command: given, or in a file where they may be too long to be given."""
    path = os.environ.pop("TRAP_WORDS_FILE", "")
    return sys.argv[1:] if not path else json.loads(Path(path).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.argv[:] = ["airflow", *_words()]
    main()
