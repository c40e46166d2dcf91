"""Samples of the machine and of agents in ``metrics.db``: recorded, thinned with age, read as history (R-148, R-307).

A sample is one row for each thing measured, all of one time. With age, samples give way to the mean and the maximum of
five minutes, later of an hour, and are deleted in the end: one such span at a time, in one transaction each, so that
what was cut off is found again and nothing is counted twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import clock, trends
from .machine import Machine
from .sections import Monitoring
from .store import Transaction

UNITS = {
    "cpu_percent": "percent",
    "memory_percent": "percent",
    "swap_percent": "percent",
    "disk_percent": "percent",
    "load_1m": "processes",
    "active_agents": "agents",
}
OF_AGENTS = {"cpu_percent": "percent", "memory_mb": "MiB"}
TYPES = tuple({**UNITS, **OF_AGENTS})
# Every sample has exactly one row of this: what there is of samples is asked of it.
MARK = "active_agents"
DETAIL_SECONDS, HOUR = 300, 3600
DAY = 86_400
MOST_SHOWN = 40
STEPS = (30, 60, 120, 300, 600, 900, 1800, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY)


@dataclass(frozen=True)
class Span:
    """Rows to be thinned: those of ``seconds`` each within ``[start, end)``; into one of that length, or deleted."""

    start: str
    end: str
    seconds: int | None
    into: int | None


@dataclass(frozen=True)
class History:
    """Means over steps of ``step_seconds``, by time; steps without a sample are left out."""

    samples: list[dict[str, Any]]
    trends: dict[str, str]
    step_seconds: int


def record(tx: Transaction, seen: Machine, used: Mapping[str, tuple[float | None, float]], *, now: str) -> None:
    """One sample. ``used`` is what each live agent whose processes run uses: CPU in percent, and MiB."""
    values: dict[str, float | None] = {
        "cpu_percent": seen.cpu_percent if seen.per_core else None,  # unknown before a second look
        "memory_percent": seen.memory.percent,
        "swap_percent": seen.swap.percent,
        "disk_percent": seen.disk.percent,
        "load_1m": seen.load_average[0],
        "active_agents": float(len(used)),
    }
    rows: list[tuple[str, str, float, str, str | None]] = [
        (now, name, value, UNITS[name], None) for name, value in values.items() if value is not None
    ]
    for agent_id, (cpu_percent, memory_mb) in used.items():
        if cpu_percent is not None:
            rows.append((now, "cpu_percent", cpu_percent, OF_AGENTS["cpu_percent"], agent_id))
        rows.append((now, "memory_mb", memory_mb, OF_AGENTS["memory_mb"], agent_id))
    tx.many("INSERT INTO metrics.metrics (timestamp, metric_type, value, unit, agent_id) VALUES (?, ?, ?, ?, ?)", rows)


def overdue(tx: Transaction, keep: Monitoring, *, now: str) -> Span | None:
    """The oldest samples that are to be thinned next, if any are."""
    for seconds, into, age in (
        (None, None, DAY * keep.keep_days),
        (0, DETAIL_SECONDS, HOUR * keep.full_hours),
        (DETAIL_SECONDS, HOUR, DAY * keep.detailed_days),
    ):
        length = into or HOUR
        before = _floor(clock.plus(now, -age), length)
        first = tx.value(
            "SELECT timestamp FROM metrics.metrics WHERE metric_type = ? AND timestamp < ? "
            "AND (span_seconds = ?3 OR ?3 IS NULL) ORDER BY timestamp LIMIT 1",
            (MARK, before, seconds),
        )
        if first is not None:
            start = _floor(first, length)
            return Span(start, clock.plus(start, length), seconds, into)
    return None


def thin(tx: Transaction, span: Span) -> None:
    """Put means and maxima in the place of what lies within the span, or nothing."""
    for metric_type in TYPES:
        given = {"type": metric_type, **vars(span)}
        rows = (
            "FROM metrics.metrics WHERE metric_type = :type AND timestamp >= :start AND timestamp < :end "
            "AND (span_seconds = :seconds OR :seconds IS NULL)"
        )
        if span.into is not None:
            # Made before the rows go, and kept from being taken for one of them by its own length.
            tx.run(
                "INSERT INTO metrics.metrics (timestamp, metric_type, value, unit, agent_id, span_seconds, maximum) "
                "SELECT :start, metric_type, avg(value), max(unit), agent_id, :into, max(coalesce(maximum, value)) "
                f"{rows} GROUP BY agent_id",
                given,
            )
        tx.run(f"DELETE {rows}", given)


def history(tx: Transaction, minutes: int, *, now: str) -> History:
    """The machine over the last minutes, in at most about ``MOST_SHOWN`` steps."""
    step = next((step for step in STEPS if minutes * 60 <= step * MOST_SHOWN), STEPS[-1])
    steps: dict[int, dict[str, Any]] = {}
    for metric_type in UNITS:
        for slot, mean in tx.all(
            "SELECT unixepoch(timestamp) / :step AS slot, avg(value) FROM metrics.metrics WHERE metric_type = :type "
            "AND timestamp > :since AND timestamp <= :now AND agent_id IS NULL GROUP BY slot",
            {"step": step, "type": metric_type, "since": clock.plus(now, -60 * minutes), "now": now},
        ):
            steps.setdefault(slot, {})[metric_type] = round(mean, 2)
    shown = [{"at": clock.of_epoch(slot * step), **steps[slot]} for slot in sorted(steps)]
    return History(shown, _trends(shown), step)


def _trends(shown: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    seen = {name: [each[name] for each in shown if name in each] for name in UNITS}
    return {name: trends.trend(values, trends.band_of(name)) for name, values in seen.items()}


def _floor(moment: str, seconds: int) -> str:
    """The beginning of the span of that length that the moment lies in."""
    return clock.of_epoch(int(clock.parse(moment).timestamp()) // seconds * seconds)
