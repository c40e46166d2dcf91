"""Which hours are peak hours: those configured, and those learned of a week's arrivals. Pure (R-245, G-07)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

AHEAD_SECONDS = 900.0
LEARNED_DAYS = 7
LEAST_ARRIVALS = 24
LEAST_DAYS = 2  # what came once is no habit
TIMES_THE_MEAN = 2.0
HOURS = 24


@dataclass(frozen=True)
class Arrivals:
    """What came in one hour of the day, UTC, and on how many days."""

    hour: int
    count: int
    days: int


def learned(arrivals: Sequence[Arrivals]) -> set[int]:
    """Hours with twice the mean of all hours; none of too few arrivals."""
    total = sum(each.count for each in arrivals)
    if total < LEAST_ARRIVALS:
        return set()
    much = TIMES_THE_MEAN * total / HOURS
    return {each.hour for each in arrivals if each.count >= much and each.days >= LEAST_DAYS}


def is_near(hour_now: int, hour_ahead: int, configured: Collection[int], arrivals: Sequence[Arrivals]) -> bool:
    """Whether it is a peak hour, or is one ``AHEAD_SECONDS`` from now."""
    return bool({hour_now, hour_ahead} & ({*configured} | learned(arrivals)))
