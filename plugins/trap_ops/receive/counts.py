"""What became of the images of each source; of that the log says a line a second at most."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from trap_ops.records.names import one_line

_LOG = logging.getLogger(__name__)
_TOTALS_EVERY_S = 60.0
# Characters: headers are quoted in it, and may hold anything.
_SENTENCE_MAX = 500


@dataclass
class Counts:
    """Of one source since the start.

    Attributes
    ----------
    received : int
        Images that came whole. Each is written, a duplicate, dropped, refused, or waits.
    written : int
    duplicates : int
        There is a file with the same bytes.
    dropped : int
        For want of room, in memory or on the disk.
    refused : int
        What is no image, or one without a place in a series.
    incomplete : int
        Of the written ones: their headers lack what a run needs.
    connections : int
        Open now.
    """

    received: int = 0
    written: int = 0
    duplicates: int = 0
    dropped: int = 0
    refused: int = 0
    incomplete: int = 0
    connections: int = 0


class Report:
    """Counts by source, delays, and the log.

    Parameters
    ----------
    sources : iterable of str
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self.sources = {source: Counts() for source in sources}
        self.delay_s = 0.0
        self.delay_max_s = 0.0
        self._started = time.monotonic()
        self._sentence = ""
        self._level = logging.INFO
        self._more = 0
        self._said: Counts | None = None
        self._said_at = self._started

    @property
    def total(self) -> Counts:
        """Sums over the sources."""
        names = [field.name for field in fields(Counts)]
        return Counts(
            **{name: sum(getattr(c, name) for c in self.sources.values()) for name in names}
        )

    def delayed(self, seconds: float) -> None:
        """Note how long an image was on its way from the connection to the disk."""
        self.delay_s = seconds
        self.delay_max_s = max(self.delay_max_s, seconds)

    def say(self, sentence: str, level: int = logging.WARNING) -> None:
        """Note a sentence for the log; of those of one second only the first is said in full.

        A warning takes the place of what is none.
        """
        sentence = one_line(sentence)[:_SENTENCE_MAX]
        if not self._sentence or level > self._level:
            self._sentence, self._level, self._more = sentence, level, 0
        elif level == self._level:
            self._more += 1

    def tick(self) -> None:
        """Say what there is to say. Is called once a second."""
        now = time.monotonic()
        if self._sentence:
            more = f" (and {self._more} more)" if self._more else ""
            _LOG.log(self._level, "%s%s; %s", self._sentence, more, self.totals())
            self._sentence, self._more = "", 0
        elif now - self._said_at >= _TOTALS_EVERY_S and self.total != self._said:
            _LOG.info("%s", self.totals())
        else:
            return
        self._said, self._said_at = self.total, now

    def totals(self) -> str:
        """What became of all images since the start, in words."""
        total = self.total
        text = (
            f"{total.received} images received, {total.written} written, {total.duplicates} "
            f"duplicates, {total.dropped} dropped, {total.refused} refused, delay "
            f"{self.delay_s:.1f} s (at most {self.delay_max_s:.1f} s)"
        )
        return text + (f", {total.incomplete} incomplete" if total.incomplete else "")

    def status(self, waiting: int, waiting_s: float, held_bytes: int) -> dict[str, object]:
        """The same for programs, with what waits now."""
        return {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "running_s": round(time.monotonic() - self._started, 1),
            "delay_s": round(self.delay_s, 3),
            "delay_max_s": round(self.delay_max_s, 3),
            "waiting": waiting,
            "waiting_s": round(waiting_s, 3),
            "held_bytes": held_bytes,
            "total": asdict(self.total),
            "sources": {name: asdict(counts) for name, counts in self.sources.items()},
        }
