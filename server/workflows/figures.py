"""How each workflow stood in a range of time, in figures that people and programs read (R-202, R-265)."""

from collections.abc import Sequence
from typing import Any

from .forecasting import percentile
from .measures import FAILED, Figures, Measures


def rows(found: Measures) -> list[dict[str, Any]]:
    """What was not recorded is left out."""
    return [_row(each) for each in found.workflows]


def _row(each: Figures) -> dict[str, Any]:
    ended = sum(each.outcomes[word] for word in ("done", *FAILED))
    row = {
        "workflow": each.workflow,
        "waiting": each.waiting_now,
        "working": each.working_now,
        "held": each.held_now or None,
        "review": each.review_now,
        "workers": dict(each.workers_now),
        "arrived": each.arrived,
        "finished": each.finished,
        "mean_wait_minutes": _minutes(_mean(each.waits)),
        "median_minutes": _minutes(percentile(each.took, 50) if each.took else None),
        "p90_minutes": _minutes(percentile(each.took, 90) if each.took else None),
        "utilisation_percent": None if each.utilisation is None else round(each.utilisation, 1),
        "success_percent": round(100 * each.outcomes["done"] / ended, 1) if ended else None,
    }
    return {key: value for key, value in row.items() if value is not None}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60, 1)
