"""How long pieces of work took, by agent and kind of work (R-062, R-295 to R-297)."""

from typing import Any

from . import clock
from .store import Transaction

PERCENTILES = (50, 95, 99)


def record(tx: Transaction, agent: str, kind: str, milliseconds: int, *, now: str) -> None:
    tx.run(
        "INSERT INTO metrics (agent, task_type, duration_ms, timestamp) VALUES (?, ?, ?, ?)",
        (agent, kind, milliseconds, now),
    )


def slowest(tx: Transaction, *, since: str, limit: int = 10) -> list[dict[str, Any]]:
    """The pieces of work that took longest."""
    return _rows(
        tx,
        "SELECT agent, task_type, duration_ms, timestamp FROM metrics WHERE timestamp >= ? "
        "ORDER BY duration_ms DESC, id LIMIT ?",
        (since, limit),
    )


def by_kind(tx: Transaction, *, since: str, limit: int = 10) -> list[dict[str, Any]]:
    """The kinds of work that take longest on the average, with how often there were."""
    return _rows(
        tx,
        "SELECT task_type, count(*) AS count, avg(duration_ms) AS average_ms FROM metrics WHERE timestamp >= ? "
        "GROUP BY task_type ORDER BY average_ms DESC, task_type LIMIT ?",
        (since, limit),
    )


def by_agent(tx: Transaction, *, since: str) -> list[dict[str, Any]]:
    """How much each agent did, and how long that took on the average."""
    return _rows(
        tx,
        "SELECT agent, count(*) AS count, avg(duration_ms) AS average_ms FROM metrics WHERE timestamp >= ? "
        "GROUP BY agent ORDER BY agent",
        (since,),
    )


def percentiles(tx: Transaction, *, since: str) -> dict[int, int]:
    """The duration in ms that 50, 95 and 99 of 100 pieces of work kept within; empty where there were none."""
    rows = tx.all("SELECT duration_ms FROM metrics WHERE timestamp >= ? ORDER BY duration_ms", (since,))
    return {percent: rows[-(-len(rows) * percent // 100) - 1][0] for percent in PERCENTILES if rows}


def clear_old(tx: Transaction, *, older_than_days: float, now: str) -> int:
    """Delete what is older than that; returns how many."""
    return tx.run("DELETE FROM metrics WHERE timestamp <= ?", (clock.plus(now, -86400 * older_than_days),))


def _rows(tx: Transaction, sql: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(row) for row in tx.all(sql, parameters)]
