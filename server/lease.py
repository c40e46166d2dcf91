"""Which server's supervisor acts: one row, held for a time, with a term that grows at each change of holder.

A holder that was stopped and wakes after its time has passed finds a newer term, or its own run out, and ``require``
refuses whatever it still wanted to write. Its time is of the clock that all processes of one boot share and nobody
sets (``clock.uptime``), so that a wall clock that jumps neither ends a lease nor prolongs it. A holder whose process is
proven dead is followed at once; the caller does that proof, because looking at processes is an effect.
"""

from dataclasses import dataclass

from . import clock, events
from .errors import LeaseLost
from .store import Row, Transaction

TTL_SECONDS = 10.0
RENEW_SECONDS = 3.0


@dataclass(frozen=True)
class Holder:
    """A process that may hold the lease, by its identity."""

    name: str
    pid: int
    start_time: str
    boot_id: str


def current(tx: Transaction) -> Row | None:
    """The lease's row, held or run out."""
    return tx.one("SELECT * FROM supervisor_lease WHERE id = 1")


def is_held(row: Row | None, *, uptime: float) -> bool:
    """Whether the lease's row is in force, as far as time goes; of another boot the holder is gone in any case.

    A moment of before a renewal says the same as one of after it, so that whoever had to wait for the database between
    its look at the clock and its turn takes no lease from the living.
    """
    return row is not None and uptime < row["until_monotonic"]


def last_sign(row: Row) -> str:
    """When its holder let go of the lease; of one that holds it or died: when it last renewed it."""
    released = row["until_monotonic"] == 0
    return str(row["until"]) if released else clock.plus(row["until"], -TTL_SECONDS)


def acquire(tx: Transaction, holder: Holder, *, now: str, uptime: float, dead_term: int | None = None) -> int | None:
    """Take the lease where it is free; returns the new term, or None where another process holds it.

    ``dead_term`` is the term whose holder the caller has found dead.
    """
    row = current(tx)
    if row is not None and is_held(row, uptime=uptime) and row["term"] != dead_term:
        return None
    term = 1 if row is None else int(row["term"]) + 1
    tx.run(
        "INSERT OR REPLACE INTO supervisor_lease (id, holder, pid, start_time, boot_id, term, until, until_monotonic) "
        "VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        (
            holder.name,
            holder.pid,
            holder.start_time,
            holder.boot_id,
            term,
            clock.plus(now, TTL_SECONDS),
            uptime + TTL_SECONDS,
        ),
    )
    events.record(
        tx, now=now, actor=holder.name, subject_type="lease", subject_id=term, kind="lease_acquired", pid=holder.pid,
        idle_since=None if row is None else last_sign(row),
    )  # fmt: skip
    return term


def renew(tx: Transaction, term: int, *, now: str, uptime: float) -> None:
    """Hold the lease for another while. Raises LeaseLost."""
    require(tx, term, uptime=uptime)
    tx.run(
        "UPDATE supervisor_lease SET until = ?, until_monotonic = ? WHERE id = 1",
        (clock.plus(now, TTL_SECONDS), uptime + TTL_SECONDS),
    )


def require(tx: Transaction, term: int, *, uptime: float) -> None:
    """Raises LeaseLost unless ``term`` is the present one and has not run out."""
    row = current(tx)
    if row is None or row["term"] != term or not is_held(row, uptime=uptime):
        raise LeaseLost(f"The supervisor's lease of term {term} is over.", term=term)


def release(tx: Transaction, term: int, *, now: str) -> None:
    """Let the next server act at once."""
    changed = tx.run(
        "UPDATE supervisor_lease SET until = ?, until_monotonic = 0 WHERE id = 1 AND term = ?", (now, term)
    )
    if changed:
        holder = tx.value("SELECT holder FROM supervisor_lease WHERE id = 1")
        events.record(tx, now=now, actor=holder, subject_type="lease", subject_id=term, kind="lease_released")
