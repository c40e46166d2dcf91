"""A health check on demand: how agents stand, by what was measured at this moment (R-105 to R-109, R-164 to R-170).

No heartbeat is written by it: only an agent itself gives signs of its life (R-110).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import agents, clock, health, launches, overview, reports, states
from .health import Judgement, Measured, Seen
from .sections import Health
from .store import Row, Transaction

COUNTED_SECONDS = 3600.0
JUDGED = ("healthy", "warning", "stalled")
WORST_FIRST = ("dead", "stalled", "failed", "warning", "healthy", "completed")


@dataclass(frozen=True)
class Subject:
    """An agent to be looked at, and whether it waits for an answer."""

    row: Row
    waits: bool


@dataclass(frozen=True)
class Checkup:
    """How one agent stands; ``health`` is ``completed`` or ``failed`` of one that has ended (R-109)."""

    row: Row
    judged: Judgement
    process_alive: bool
    cpu_percent: float | None
    memory_mb: float | None
    silent_seconds: float
    uptime_seconds: float | None

    @property
    def place(self) -> str:
        """What check-ups are ordered by: those in the worst health first."""
        return f"{WORST_FIRST.index(self.judged.health)}{self.row['agent_id']}"


@dataclass(frozen=True)
class Recent:
    """Agents started anew and agents killed within the last hour."""

    restarted: int
    killed: int


def subjects(tx: Transaction, agent_id: str | None, agent_type: str | None) -> list[Subject]:
    """One agent, ended or not, or every live one (of a type). Raises AgentNotFound."""
    rows = [agents.get(tx, agent_id)] if agent_id else agents.live(tx)
    return [
        Subject(row, reports.waits(tx, row["agent_id"]))
        for row in rows
        if agent_type is None or row["agent_type"] == agent_type
    ]


def recent(tx: Transaction, agent_id: str | None, agent_type: str | None, *, now: str) -> Recent:
    """Of all agents, of a type, or of one agent."""
    given = {"since": clock.plus(now, -COUNTED_SECONDS), "agent": agent_id, "type": agent_type}
    mine = "(:agent IS NULL OR a.agent_id = :agent) AND (:type IS NULL OR a.agent_type = :type)"
    restarted = tx.value(
        "SELECT count(*) FROM agent_restart_log r JOIN agent_lifecycle a USING (agent_id) "
        f"JOIN agent_lifecycle n ON n.agent_id = r.new_agent_id WHERE n.created_at > :since AND {mine}",
        given,
    )
    killed = tx.value(
        f"SELECT count(*) FROM agent_lifecycle a WHERE a.status = 'killed' AND a.completed_at > :since AND {mine}",
        given,
    )
    return Recent(int(restarted), int(killed))


def of(subject: Subject, measured: Measured, limits: Health, *, now: str) -> Checkup:
    """Judge one agent by what was measured of it."""
    row = subject.row
    silent = max(0.0, clock.seconds_between(row["last_heartbeat"] or row["created_at"], row["completed_at"] or now))
    return Checkup(
        row,
        _judged(subject, measured, silent, limits),
        measured.process_alive,
        measured.cpu_percent,
        measured.memory_mb,
        silent,
        overview.uptime(row, now),
    )


def all_of(
    found: Sequence[Subject], measured: Mapping[str, Measured], limits: Health, *, now: str
) -> tuple[list[Checkup], str]:
    """Each agent's check-up, those in the worst health first, and how the crew stands with them."""
    checked = [of(subject, measured[subject.row["agent_id"]], limits, now=now) for subject in found]
    checked.sort(key=lambda each: each.place)
    return checked, health.of_crew([each.judged for each in checked])


def keep(tx: Transaction, found: Sequence[Checkup], *, now: str, actor: str) -> None:
    """Keep what was measured and judged of live agents (R-105, R-109); their heartbeats stay as they are (R-110)."""
    for each in found:
        row, judged = agents.get(tx, each.row["agent_id"]), each.judged
        if row["status"] not in states.LIVE_AGENT:
            continue
        tx.run(
            "UPDATE agent_lifecycle SET cpu_percent = coalesce(?, cpu_percent), memory_mb = coalesce(?, memory_mb) "
            "WHERE agent_id = ?",
            (each.cpu_percent, each.memory_mb, row["agent_id"]),
        )
        if judged.health in JUDGED and judged.health != (row["health"] or "healthy"):
            agents.judged(tx, row["agent_id"], judged.health, "; ".join(judged.reasons), now=now, actor=actor)


def end_stalled(
    tx: Transaction, found: Sequence[Checkup], *, grace_seconds: float, now: str, actor: str
) -> list[Checkup]:
    """Have those ended that are stalled, and have given no sign of life since they were looked at; returns them."""
    wanted = []
    for each in found:
        row = agents.get(tx, each.row["agent_id"])
        if each.judged.health != "stalled" or row["status"] not in states.LIVE_AGENT:
            continue
        if row["last_heartbeat"] == each.row["last_heartbeat"]:
            why = "; ".join(each.judged.reasons)
            agents.end_stalled(tx, row["agent_id"], why, grace_seconds=grace_seconds, now=now, actor=actor)
            wanted.append(each)
    return wanted


def _judged(subject: Subject, measured: Measured, silent: float, limits: Health) -> Judgement:
    row = subject.row
    if row["completed_at"] is not None:
        if row["status"] == "completed":
            return Judgement("completed")
        return Judgement("failed", (f"{row['status']}: {row['error_message'] or 'no more is known'}",))
    alive = measured.process_alive or measured.runner_alive
    if row["status"] == "starting" and (alive or silent < launches.CLAIM_SECONDS):
        return Judgement("healthy", ("it is starting",))
    seen = Seen(alive, silent, measured.cpu_percent, measured.memory_mb, row["memory_limit_mb"], waits=subject.waits)
    return health.judge(seen, limits)
