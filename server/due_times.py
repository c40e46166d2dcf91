"""Every time that is still to come, by the wall clock: moved along when that clock is set."""

from . import events
from .store import Transaction

# Table, column, and which of its rows still wait for that time.
DUE = (
    ("orchestrator_task", "not_before", "status = 'assigned'"),
    ("merge_request", "not_before", "status = 'queued'"),
    ("launch_hold", "until", "1"),
    ("launch_hold", "since", "1"),  # launches are compared with it
    ("agent_lifecycle", "created_at", "status IN ('starting', 'running')"),
    ("agent_message", "lease_until", "status = 'delivered'"),
    ("agent_message", "visible_at", "status IN ('pending', 'delivered')"),
    ("agent_message", "expires_at", "status IN ('pending', 'delivered')"),
    # When a live agent was last heard of is moved too: it is compared with the new time from now on.
    ("agent_lifecycle", "last_heartbeat", "status IN ('starting', 'running')"),
    ("agent_lifecycle", "kill_requested_at", "status IN ('starting', 'running')"),
    ("worker", "until", "status <> 'retired'"),
    ("worker", "offline_since", "status = 'offline'"),
    ("worker", "restarted_at", "status = 'offline'"),
)


def shift(tx: Transaction, seconds: float, *, now: str, actor: str) -> None:
    """The clock was set by ``seconds``: what was due in a minute is due in a minute still."""
    for table, column, waits in DUE:
        tx.run(
            f"UPDATE {table} SET {column} = strftime('%Y-%m-%dT%H:%M:%fZ', {column}, ?) "
            f"WHERE {column} IS NOT NULL AND {waits}",
            (f"{seconds:+.3f} seconds",),
        )
    events.record(
        tx, now=now, actor=actor, subject_type="clock", subject_id="wall", kind="clock_set", seconds=round(seconds, 3)
    )
