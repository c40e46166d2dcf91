"""Why no agent is launched for now: rows that the dispatcher obeys and ``why`` tells (G-19, L-18).

A hold is of one agent type or of all (``*``), one for each reason. Of a type that failed to start, whose provider's
limit was reached, or whose program is not logged in, the hold stays when its time is over: one launch is let through as
a trial, and its fate decides.
"""

from collections.abc import Collection

from . import clock, events
from .store import Row, Transaction

EVERYONE = "*"
REASONS = (
    "stopped", "not_started", "cpu", "memory", "disk", "launch_rate", "quota", "failed_starts", "not_logged_in",
    "merges_wait",
)  # fmt: skip
# Those whose end a launch on trial decides.
TRIED = ("quota", "failed_starts", "not_logged_in")
_TRIED = str(TRIED)  # as SQL has it
MACHINE = ("cpu", "memory", "disk", "launch_rate")  # what the gates say, written down at the last look for launches
QUOTA_TRIAL_SECONDS = 60.0
PASSING = ("cpu", "launch_rate")  # these slow launches down, and stop none for long


def hold(
    tx: Transaction,
    scope: str,
    reason: str,
    message: str,
    *,
    until: str | None,
    now: str,
    actor: str,
    again: bool = False,
) -> None:
    """Hold the launches of ``scope``. One that is there is only given its new ``until``; ``again`` counts it anew."""
    present = get(tx, scope, reason)
    tx.run(
        "INSERT INTO launch_hold (scope, reason, message, since, until) "
        "VALUES (:scope, :reason, :message, :now, :until) ON CONFLICT (scope, reason) DO UPDATE "
        "SET message = :message, until = :until, times = times + :again, since = iif(:again, :now, since)",
        {"scope": scope, "reason": reason, "message": message, "now": now, "until": until, "again": int(again)},
    )
    if present is None or again:
        events.record(
            tx,
            now=now,
            actor=actor,
            subject_type="launches",
            subject_id=scope,
            kind="launches_held",
            reason=reason,
            message=message,
            until=until,
        )


def lift(tx: Transaction, scope: str, *reasons: str, now: str, actor: str) -> bool:
    """Let ``scope`` be launched again as far as these reasons go; returns whether any held it."""
    marks = ", ".join("?" for _ in reasons)
    gone = tx.all(
        f"DELETE FROM launch_hold WHERE scope = ? AND reason IN ({marks}) RETURNING reason", (scope, *reasons)
    )
    for row in gone:
        events.record(
            tx,
            now=now,
            actor=actor,
            subject_type="launches",
            subject_id=scope,
            kind="launches_free",
            reason=row["reason"],
        )
    return bool(gone)


def lift_stop(tx: Transaction, *, now: str, actor: str) -> None:
    """Somebody wants work done: what ``crewyard stop`` held goes on, and types that could not start are tried again."""
    lift(tx, EVERYONE, "stopped", now=now, actor=actor)
    for reason in ("failed_starts", "not_logged_in"):
        _lift_everywhere(tx, reason, now=now, actor=actor)


def lift_troubles(tx: Transaction, *, now: str, actor: str) -> None:
    """A person begins anew, and may know that a limit is over or was none: one launch will tell."""
    lift_stop(tx, now=now, actor=actor)
    _lift_everywhere(tx, "quota", now=now, actor=actor)


def let_in(tx: Transaction, agent_types: Collection[str], *, now: str, actor: str) -> list[str]:
    """Lift for these types what ``start_only`` left out; returns those that it had."""
    return [name for name in sorted(agent_types) if lift(tx, name, "not_started", now=now, actor=actor)]


def start_only(
    tx: Transaction, wanted: Collection[str] | None, known: Collection[str], *, now: str, actor: str
) -> None:
    """Lift the stop. Of the ``known`` types only those ``wanted`` are launched from here on; None: all (R-299)."""
    lift_troubles(tx, now=now, actor=actor)
    others = set() if wanted is None else set(known) - set(wanted)
    _lift_everywhere(tx, "not_started", but=others, now=now, actor=actor)
    chosen = ",".join(sorted(wanted or ()))
    message = f"`crewyard start --agents {chosen}` left it out; `crewyard start` lets every type in again"
    for scope in sorted(others):
        hold(tx, scope, "not_started", message, until=None, now=now, actor=actor)


def stop(tx: Transaction, *, now: str, actor: str) -> None:
    """Nobody launches anything until somebody wants work done again; which types were left out is forgotten (R-304)."""
    _lift_everywhere(tx, "not_started", now=now, actor=actor)
    message = "`crewyard stop` ended the crew; `crewyard start`, `crewyard run` or an assignment goes on"
    hold(tx, EVERYONE, "stopped", message, until=None, now=now, actor=actor)


def _lift_everywhere(tx: Transaction, reason: str, *, but: Collection[str] = (), now: str, actor: str) -> None:
    """Lift what holds for this reason, of whatever scope."""
    for row in tx.all("SELECT scope FROM launch_hold WHERE reason = ? ORDER BY scope", (reason,)):
        if row["scope"] not in but:
            lift(tx, row["scope"], reason, now=now, actor=actor)


def get(tx: Transaction, scope: str, reason: str) -> Row | None:
    return tx.one("SELECT * FROM launch_hold WHERE scope = ? AND reason = ?", (scope, reason))


def listed(tx: Transaction) -> list[Row]:
    """Every hold, those on all types first."""
    return tx.all("SELECT * FROM launch_hold ORDER BY scope, reason")


def in_force(tx: Transaction, agent_type: str, now: str) -> Row | None:
    """What holds the launches of a type at this moment, the one that lasts longest where there are more."""
    return tx.one(
        "SELECT * FROM launch_hold WHERE scope IN ('*', ?) AND (until IS NULL OR until > ?) "
        "ORDER BY coalesce(until, '9') DESC LIMIT 1",
        (agent_type, now),
    )


def on_all(tx: Transaction, now: str) -> list[Row]:
    """What holds the launches of every type at this moment, beside what the machine itself has to say."""
    rows = tx.all(
        "SELECT * FROM launch_hold WHERE scope = ? AND (until IS NULL OR until > ?) ORDER BY reason", (EVERYONE, now)
    )
    return [row for row in rows if row["reason"] not in MACHINE]


def of_type(tx: Transaction, agent_type: str, now: str) -> Row | None:
    """What holds this type alone at this moment."""
    return tx.one(
        "SELECT * FROM launch_hold WHERE scope = ? AND (until IS NULL OR until > ?) LIMIT 1", (agent_type, now)
    )


def trial_of(tx: Transaction, agent_type: str, now: str) -> Row | None:
    """The hold of the type whose time is over, and which waits for its trial to be passed."""
    return tx.one(
        f"SELECT * FROM launch_hold WHERE scope = ? AND reason IN {_TRIED} AND until <= ? ORDER BY until DESC LIMIT 1",
        (agent_type, now),
    )


def end_passed_trials(tx: Transaction, seconds: float, *, now: str, actor: str) -> None:
    """Lift the holds of types of which an agent that was let through has lived for ``seconds``.

    After a provider's limit or a missing log-in it must have lived for a minute: a program may take its time before it
    says so again.
    """
    for row in _trials(tx):
        if row["started_at"] <= clock.plus(now, -_long_enough(row, seconds)):
            lift(tx, row["scope"], row["reason"], now=now, actor=actor)


def next_passed_trial(tx: Transaction, seconds: float) -> str | None:
    """When the next trial is passed, if its agent lives that long."""
    return min((clock.plus(row["started_at"], _long_enough(row, seconds)) for row in _trials(tx)), default=None)


def _long_enough(trial: Row, seconds: float) -> float:
    return seconds if trial["reason"] == "failed_starts" else max(seconds, QUOTA_TRIAL_SECONDS)


def _trials(tx: Transaction) -> list[Row]:
    return tx.all(
        "SELECT h.scope, h.reason, min(a.started_at) AS started_at FROM launch_hold h JOIN agent_lifecycle a "
        "ON a.agent_type = h.scope AND a.created_at >= h.until AND a.status = 'running' "
        f"WHERE h.reason IN {_TRIED} GROUP BY h.scope, h.reason"
    )


def next_end(tx: Transaction, now: str) -> str | None:
    """When the next hold is over."""
    end: str | None = tx.value("SELECT min(until) FROM launch_hold WHERE until > ?", (now,))
    return end
