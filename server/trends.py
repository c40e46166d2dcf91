"""Whether what was measured over a time grows. Pure (R-148, R-151, R-307).

The mean of the last third of the samples is compared with that of the first third. Within a band the value is stable:
five points of a percentage, half of anything that is counted. Fewer than three samples tell nothing, which is stable.
"""

from collections.abc import Sequence
from statistics import fmean

PERCENT_BAND = 5.0
COUNT_BAND = 0.5
LEAST_SAMPLES = 3


def trend(values: Sequence[float], band: float) -> str:
    """increasing, stable or decreasing, of values in the order of time."""
    if len(values) < LEAST_SAMPLES:
        return "stable"
    third = len(values) // 3
    change = fmean(values[-third:]) - fmean(values[:third])
    if abs(change) <= band:
        return "stable"
    return "increasing" if change > 0 else "decreasing"


def band_of(metric_type: str) -> float:
    return PERCENT_BAND if metric_type.endswith("_percent") else COUNT_BAND
