"""The errors of the pipeline, and what each means for the task that meets it.

::

    TrapError                 carries ``details``: the numbers behind it
    ├─ ConfigError            the user must edit something          → fail, no retry
    ├─ ImageError             this file cannot be used              → a rejection; the run goes on
    ├─ ScienceError           data and algorithm disagree           → fail, no retry
    ├─ StoreError             constraint, schema version, lock      → fail, no retry
    ├─ Unavailable            what can pass by itself               → retry
    │   ├─ StoreUnavailable   network, database busy
    │   └─ DiskUnavailable    disk full, network file system away
    ├─ Superseded             another try has taken this one's place → ends, and writes nothing
    └─ StaleWorker            code differs from the run's plan      → fail with the remedy
"""

from __future__ import annotations

import errno

# Why a run failed that Ctrl-C or a SIGTERM ended.
STOPPED = "stopped by the user"
# What the system says of a disk that is full, and of a network file system that is away.
_PASSING = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)


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


class Unavailable(TrapError):  # noqa: N818 - what is missing, and no mistake of anybody
    """Something that the pipeline needs is away, which can pass by itself; a retry may help."""


class StoreUnavailable(Unavailable):
    """The results database cannot be reached or is busy; a retry may help."""


class DiskUnavailable(Unavailable):
    """A disk is full, or a network file system is away; a retry may help."""


class Superseded(TrapError):  # noqa: N818 - as StaleWorker
    """Another try of the same task has begun, because this one seemed to be lost."""


class StaleWorker(TrapError):  # noqa: N818 - the word that the design uses
    """This process runs another version of the code than the run was planned with."""


def can_pass(error: OSError) -> bool:
    """Whether what the system refuses can be had later, without anybody's mending it here."""
    return error.errno in _PASSING
