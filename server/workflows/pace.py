"""How long work takes in a workflow, of late and before. Pure (R-249)."""

import statistics
from collections.abc import Sequence

RECENT = 10
BEFORE = 40
LEAST = 20
SLOW, WELL = 1.5, 1.2
SURE = 2.0  # standard errors: long and short work by turns is no trend


def slowed(seconds: Sequence[float], *, was_slow: bool = False) -> str:
    """How much longer the latest took than those before them, in words; empty where that is not so, or not known.

    ``seconds`` are the latest first. Once it is slow it is so until it is nearly as fast as it was.
    """
    recent, before = seconds[:RECENT], seconds[RECENT : RECENT + BEFORE]
    if len(before) < LEAST:
        return ""
    mean, usual = statistics.fmean(recent), statistics.fmean(before)
    error = (statistics.variance(recent) / len(recent) + statistics.variance(before) / len(before)) ** 0.5
    is_slow = mean > WELL * usual if was_slow else mean > SLOW * usual and mean - usual > SURE * error
    if not is_slow:
        return ""
    return (
        f"the last {len(recent)} took {mean / 60:.1f} minutes on the average, the {len(before)} before {usual / 60:.1f}"
    )
