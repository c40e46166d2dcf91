"""What was measured, held against what document 003 aims at (R-256 to R-264). Pure; what nobody recorded is no data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .forecasting import percentile
from .measures import FAILED, Figures, Measures

ERROR_PERCENT, REWORK_PERCENT, POSITIVE_PERCENT, AVAILABLE_PERCENT = 5.0, 10.0, 90.0, 99.0
COVERAGE_PERCENT, AT_ONCE_PERCENT = 90.0, 95.0
NO_DATA = "no data"


@dataclass(frozen=True)
class Metric:
    """One target. ``samples`` is of how many projects, items, reports or hours ``value`` was made."""

    name: str
    target: str
    unit: str
    verdict: Literal["met", "missed", "no data"]
    value: float | None = None
    samples: int = 0
    workflow: str | None = None
    how: str = ""


def metrics(found: Measures, max_hours: float) -> list[Metric]:
    """Every target with its measured value, in the order of the requirements."""
    return [
        _end_to_end(found, max_hours),
        *(_throughput(each) for each in found.workflows if each.stage.target_per_hour is not None),
        _error_rate(found.workflows),
        _rework_rate(found.workflows),
        _satisfaction(found),
        _availability(found),
        *_quality(found.workflows),
    ]


def _judged(
    name: str, target: str, bound: float, value: float | None, unit: str, samples: int, how: str,
    workflow: str | None = None,
) -> Metric:  # fmt: skip
    if value is None or not samples:
        return Metric(name, f"{target} {bound:g}", unit, "no data", samples=0, workflow=workflow, how=how)
    met = {"<": value < bound, ">": value > bound, ">=": value >= bound}[target]
    verdict: Literal["met", "missed"] = "met" if met else "missed"
    return Metric(name, f"{target} {bound:g}", unit, verdict, round(value, 2), samples, workflow, how)


def _end_to_end(found: Measures, max_hours: float) -> Metric:
    """Nine of ten count, not their mean, in which a few quick ones hide many that were late."""
    hours = [seconds / 3600 for seconds in found.ends]
    value = percentile(hours, 90) if hours else None
    how = "of ten completed projects nine took at most that long, from dispatch to end"
    if hours:
        mean, late = sum(hours) / len(hours), sum(each >= max_hours for each in hours)
        how += f"; mean {mean:.2f}, longest {hours[-1]:.2f}, {late} late"
    return _judged("end_to_end", "<", max_hours, value, "hours", len(hours), how)


def _throughput(stage: Figures) -> Metric:
    """Only time counts in which there was something to do: who has no work is not slow (R-257 to R-259)."""
    target, what = stage.stage.target_per_hour or 0.0, stage.stage.counts or "items"
    hours = (stage.busy if stage.stage.per_worker else stage.active) / 3600
    is_early = not stage.finished and hours * target < 1
    of = "while a worker was at work, for each" if stage.stage.per_worker else "while anything waited or was at work"
    return _judged(
        "throughput", ">=", target, None if is_early or not hours else stage.counted / hours, f"{what} per hour",
        0 if is_early else max(1, stage.finished), f"{stage.counted:g} in {hours:.2f} hours, {of}", stage.workflow,
    )  # fmt: skip


def _error_rate(workflows: Sequence[Figures]) -> Metric:
    ended = sum(each.outcomes[word] for each in workflows for word in ("done", *FAILED))
    failed = sum(each.outcomes[word] for each in workflows for word in FAILED)
    how = "of what workers ended, the part that went to review or was taken from a worker that failed"
    return _judged("error_rate", "<", ERROR_PERCENT, _share(failed, ended), "percent", ended, how)


def _rework_rate(workflows: Sequence[Figures]) -> Metric:
    finished, reworked = sum(each.finished for each in workflows), sum(each.reworked for each in workflows)
    how = "of the finished items, the part that had come back out of review"
    return _judged("rework_rate", "<", REWORK_PERCENT, _share(reworked, finished), "percent", finished, how)


def _satisfaction(found: Measures) -> Metric:
    given = found.ratings.total()
    how = "of the feedback given, the positive part"
    value = _share(found.ratings["positive"], given)
    return _judged("satisfaction", ">", POSITIVE_PERCENT, value, "percent", given, how)


def _availability(found: Measures) -> Metric:
    how = "of the time since the first supervisor in it, the part in which one acted"
    share = 100 * found.supervised / found.observed if found.observed else None
    return _judged("availability", ">", AVAILABLE_PERCENT, share, "percent", round(found.observed / 3600) or 1, how)


def _quality(workflows: Sequence[Figures]) -> Iterator[Metric]:
    covered = [value for each in workflows for value in each.coverage]
    mean = sum(covered) / len(covered) if covered else None
    how = "the mean of test_coverage in what workers handed over, as they reported it"
    yield _judged("test_coverage", ">=", COVERAGE_PERCENT, mean, "percent", len(covered), how)
    deployed, at_once = (sum(getattr(each, name) for each in workflows) for name in ("deployed", "deployed_at_once"))
    how = "of the projects deployed, the part that did not come back out of review before"
    yield _judged("deployed_at_once", ">=", AT_ONCE_PERCENT, _share(at_once, deployed), "percent", deployed, how)


def _share(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None
