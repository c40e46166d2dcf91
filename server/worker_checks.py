"""How workers are when somebody asks: by their agents' signs of life and what is measured of them (R-211, L-30)."""

from dataclasses import dataclass

from . import clock, examining
from .checkups import Checkup
from .workflows import workforce
from .workflows.pipeline import Pipeline
from .workflows.workforce import Standing
from .yard import Yard

WORST_FIRST = ("offline", "dead", "stalled", "warning", "waiting", "healthy")
WELL = ("waiting", "healthy")


@dataclass(frozen=True)
class WorkerCheck:
    """``health`` is one of ``WORST_FIRST``; ``silent_seconds`` since its agent's last sign of life."""

    standing: Standing
    health: str
    reasons: tuple[str, ...] = ()
    silent_seconds: float | None = None


async def look(yard: Yard, line: Pipeline, workflow: str = "", worker_id: str = "") -> tuple[list[WorkerCheck], str]:
    """Each worker, those in the worst health first, and how all stand. Raises WorkerNotFound, WorkflowNotFound."""
    now = clock.now()
    if worker_id:
        found = [await yard.store.read(workforce.of_one, line, worker_id, now=now)]
    else:
        found = await yard.store.read(workforce.of, line, workflow, now=now)
    examined: dict[str, Checkup] = {}
    if any(each.is_at_work for each in found):
        examined = {each.row["agent_id"]: each for each in (await examining.look(yard))[0]}
    checks = [judged(each, examined.get(each.agent["agent_id"]) if each.agent else None) for each in found]
    checks.sort(key=lambda each: (WORST_FIRST.index(each.health), each.standing.row["worker_id"]))
    return checks, of_all(checks)


def judged(standing: Standing, agent: Checkup | None) -> WorkerCheck:
    """How a worker is, by the check-up of its live agent. An idle one has nothing that could fail."""
    row, task = standing.row, standing.task
    if row["status"] == "offline":
        return WorkerCheck(standing, "offline", (f"it is offline since {row['offline_since']}",))
    if row["status"] in ("idle", "retired") or task is None:
        return WorkerCheck(standing, "healthy", (f"it is {row['status']} and has no process",))
    if agent is not None and standing.is_at_work:
        health = agent.judged.health if agent.judged.health in WORST_FIRST else "warning"
        return WorkerCheck(standing, health, agent.judged.reasons, agent.silent_seconds)
    if task["status"] == "assigned":
        return WorkerCheck(standing, "waiting", (f"task {task['task_id']} waits for its next agent to start",))
    return WorkerCheck(standing, "waiting", (f"its agent has ended; task {task['task_id']} is {task['status']}",))


def of_all(checks: list[WorkerCheck]) -> str:
    """healthy, degraded, or critical where one is offline, dead or stalled."""
    worst = min((WORST_FIRST.index(each.health) for each in checks), default=len(WORST_FIRST) - 1)
    name = WORST_FIRST[worst]
    return "healthy" if name in WELL else "degraded" if name == "warning" else "critical"
