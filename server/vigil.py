"""Keeps watch over live agents: judges each now and then, and has the stalled ended and started again (C-09)."""

import time
from dataclasses import dataclass, field

from . import agent_processes, agents, alerts, clock, health, reports
from .crew import ACTOR, Crew
from .health import Judgement, Seen
from .store import Row, Transaction
from .workflows import workers

SLACK_SECONDS = 30.0


@dataclass
class Vigil:
    """Remembers when it last saw a new sign of life, by a clock that nobody sets: one that jumps stalls nobody."""

    _signs: dict[str, tuple[str, float]] = field(default_factory=dict)
    _since: dict[str, tuple[float, float]] = field(default_factory=dict)

    def look(self, crew: Crew) -> None:
        """Judge every running agent, and do what follows."""
        running = [row for row in crew.store.read(agents.live) if row["status"] == "running"]
        self._signs = {row["agent_id"]: self._sign(row) for row in running}
        self._since = {name: since for name, since in self._since.items() if name in self._signs}
        for row in running:
            seen = Seen(
                agent_processes.runner_lives(row),
                time.monotonic() - self._signs[row["agent_id"]][1],
                row["cpu_percent"],
                row["memory_mb"],
                row["memory_limit_mb"],
                waits=crew.store.read(reports.waits, row["agent_id"]),
            )
            if seen.process_alive:  # the keeper deals with the others
                judged = health.judge(seen, crew.settings.health)
                self._end_overdue(crew, row)
                if judged.health != row["health"]:
                    crew.write(_take_down, crew, row, judged, clock.now())

    def _end_overdue(self, crew: Crew, row: Row) -> None:
        """Its runner bounds its time; where that does not happen, something is wrong with the runner."""
        first, age = self._since.setdefault(
            row["agent_id"], (time.monotonic(), max(0.0, clock.seconds_between(row["started_at"], clock.now())))
        )
        lasted = age + time.monotonic() - first
        grace = crew.settings.crew.grace_period_seconds
        if lasted > (row["timeout_seconds"] or 0.0) + grace + SLACK_SECONDS and row["kill_requested_at"] is None:
            crew.write(
                agents.request_kill,
                row["agent_id"],
                reason="It ran out of time, and its runner did not end it.",
                outcome="restart",
                code="agent_timeout",
                grace_seconds=grace,
                now=clock.now(),
                actor=ACTOR,
            )

    def _sign(self, row: Row) -> tuple[str, float]:
        """The last sign of life and when it was seen; one from before this watch is taken at its word."""
        last = row["last_heartbeat"] or row["created_at"]
        known = self._signs.get(row["agent_id"])
        if known is not None and known[0] == last:
            return known
        age = 0.0 if known is not None else max(0.0, clock.seconds_between(last, clock.now()))
        return last, time.monotonic() - age


def _take_down(tx: Transaction, crew: Crew, row: Row, judged: Judgement, now: str) -> None:
    agent_id, why = row["agent_id"], "; ".join(judged.reasons)
    agents.judged(tx, agent_id, judged.health, why, now=now, actor=ACTOR)
    if judged.health != "stalled":
        return
    worker = workers.of_agent(tx, agent_id)
    restarts = crew.settings.restarts_stalled and worker is None
    then = "it is ended and started again" if restarts else "it is left alone (health.on_stalled)"
    if worker is not None:  # another worker gets what it has
        then = f"{worker['worker_id']} is failed over when it stays silent (workflows.heartbeat_minutes)"
    title = f"Agent {agent_id} is stalled"
    alerts.alert(tx, "warning", title, f"{why}; {then}.", now=now, agent=agent_id, task_id=row["task_id"])
    if restarts:
        grace = crew.settings.crew.grace_period_seconds
        agents.end_stalled(tx, agent_id, why, grace_seconds=grace, now=now, actor=ACTOR)
