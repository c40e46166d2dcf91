"""Wall-clock times as the database keeps them: ISO-8601 UTC text, milliseconds, ``Z`` (G-21).

Units of work never call this: ``now`` is one of their arguments. Durations come from ``time.monotonic``.
"""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def now() -> str:
    return to_text(datetime.now(UTC))


def uptime() -> float:
    """Seconds of a clock that nobody sets and that all processes of one boot share."""
    return time.monotonic()


@dataclass(frozen=True)
class Pair:
    """The wall clock and the one that nobody sets, at one moment."""

    wall: str
    uptime: float

    @classmethod
    def now(cls) -> "Pair":
        return cls(now(), uptime())

    def jump_since(self, earlier: "Pair") -> float:
        """By how many seconds the wall clock was set forward (or back, below 0) meanwhile."""
        return seconds_between(earlier.wall, self.wall) - (self.uptime - earlier.uptime)


def to_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local_time(text: str) -> str:
    """The time of day where the reader is, for people."""
    return parse(text).astimezone().strftime("%H:%M:%S")


def in_local_times(text: str) -> str:
    """The text with each of our times as the reader's clock has it; the day only where it is another one."""
    return _TIME.sub(lambda found: _local(found[0]), text)


def _local(text: str) -> str:
    here = parse(text).astimezone()
    return here.strftime("%H:%M:%S" if here.date() == datetime.now(UTC).astimezone().date() else "%Y-%m-%d %H:%M:%S")


def parse(text: str) -> datetime:
    return datetime.fromisoformat(text)


def plus(text: str, seconds: float) -> str:
    return to_text(parse(text) + timedelta(seconds=seconds))


def seconds_between(earlier: str, later: str) -> float:
    return (parse(later) - parse(earlier)).total_seconds()


def of_epoch(seconds: float) -> str:
    """From Unix time."""
    return to_text(datetime.fromtimestamp(seconds, UTC))
