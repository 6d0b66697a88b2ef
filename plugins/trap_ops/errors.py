"""The errors of the pipeline, and what each means for the task that meets it.

::

    TrapError                 carries ``details``: the numbers behind it
    ├─ ConfigError            the user must edit something          → fail, no retry
    ├─ ImageError             this file cannot be used              → a rejection; the run goes on
    ├─ ScienceError           data and algorithm disagree           → fail, no retry
    ├─ StoreError             constraint, schema version, lock      → fail, no retry
    ├─ StoreUnavailable       network, database busy                → retry
    └─ StaleWorker            code differs from the run's plan      → fail with the remedy
"""

from __future__ import annotations

# Why a run failed that Ctrl-C or a SIGTERM ended.
STOPPED = "stopped by the user"


class TrapError(Exception):
    """Base of all errors that the pipeline raises on purpose.

    Parameters
    ----------
    message : str
        What happened, to what, measured against which limit, what to do next.
    **details : object
        The numbers behind the message, by name.
    """

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class ConfigError(TrapError):
    """The user must edit a file or a parameter; a retry would not help."""


class ImageError(TrapError):
    """This file cannot be used: recorded as a rejection, and the run goes on.

    Parameters
    ----------
    message : str
        The reason as the user reads it.
    reason : str
        A short word for the reason, e.g. ``"no beam"``; the outcome table is grouped by it.
    passing : bool
        Whether it may pass (a file that is away), so that the next run tries again.
    **details : object
        The numbers behind the message, by name.
    """

    def __init__(
        self, message: str, *, reason: str, passing: bool = False, **details: object
    ) -> None:
        super().__init__(message, **details)
        self.reason = reason
        self.passing = passing


class ScienceError(TrapError):
    """The data and the algorithm disagree; a retry would not help."""


class StoreError(TrapError):
    """The results database refuses: a constraint, another schema version, a dataset in use."""


class StoreUnavailable(TrapError):  # noqa: N818 - the word that the design uses
    """The results database cannot be reached or is busy; a retry may help."""


class StaleWorker(TrapError):  # noqa: N818 - the word that the design uses
    """This process runs another version of the code than the run was planned with."""
