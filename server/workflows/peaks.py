"""Which hours are peak hours: those configured, and those learned of a week's arrivals. Pure (R-245, G-07)."""

from collections.abc import Sequence

AHEAD_SECONDS = 900.0
LEARNED_DAYS = 7
LEAST_ARRIVALS = 24
LEAST_DAYS = 2  # what came once is no habit
TIMES_THE_MEAN = 2.0
HOURS = 24


def is_learned(arrivals: Sequence[int], total: int) -> bool:
    """Whether an hour has twice the mean of all hours. ``arrivals`` are those of this hour on each day of the week,
    ``total`` those of all its hours; of too few nothing is learned."""
    is_habit = sum(count > 0 for count in arrivals) >= LEAST_DAYS
    return total >= LEAST_ARRIVALS and is_habit and sum(arrivals) >= TIMES_THE_MEAN * total / HOURS
