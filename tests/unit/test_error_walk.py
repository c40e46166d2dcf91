"""However a task goes, ends and is taken back, what is recorded of its errors is true (R-158)."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from crewyard.server import agents, assignments, attempts, clock, merges, recoveries, reports, restarts, tasks
from crewyard.server.errors import CrewyardError
from crewyard.server.store import Row, Transaction

START = "2026-01-01T00:00:00.000Z"
TASKS = ("A", "B", "C")
STEPS = 200
# Nothing is on its way of a task that no agent is to work on, works on, or has worked on for its proof and merge.
UNTRUE = (
    "SELECT e.error_id, e.task_id, t.status FROM error_events e JOIN specs_task t USING (task_id) "
    "WHERE e.status = 'recovering' AND NOT EXISTS (SELECT 1 FROM orchestrator_task o WHERE o.task_id = e.task_id "
    "AND o.status IN ('assigned', 'running', 'completed') AND json_extract(o.metadata, '$.reserved') IS NULL)"
)
MEANS = recoveries.Means(retry_max=99, grace_seconds=1, fallback="architect", instances=None, everywhere=False)


class Walk:
    """Takes a step at a time, whichever is possible."""

    def __init__(self, bench: Any, seed: int) -> None:
        self.bench, self.dice, self.now = bench, random.Random(seed), START

    def step(self) -> str:
        self.now = clock.plus(self.now, self.dice.choice((0.5, 20, 900)))
        name = self.dice.choice(sorted(STEPS_KNOWN))
        try:
            STEPS_KNOWN[name](self, self.dice.choice(TASKS))
        except CrewyardError:
            return f"{name} refused"
        return name

    def run(self, unit: Callable[..., Any], *given: Any, **named: Any) -> Any:
        return self.bench.store.run(unit, *given, **named, now=self.now, actor="test")

    def work(self, task_id: str) -> Row:
        row: Row | None = self.bench.store.read(assignments.of_task, task_id)
        if row is None:
            raise CrewyardError("nothing is assigned")
        return row

    def agent(self, task_id: str) -> str:
        live = [row["agent_id"] for row in self.bench.store.read(agents.live) if row["task_id"] == task_id]
        if not live:
            raise CrewyardError("no agent lives")
        return str(live[0])

    def request(self, task_id: str, status: str) -> int:
        row = self.bench.store.read(merges.latest, task_id)
        if row is None or row["status"] != status:
            raise CrewyardError("no such request")
        return int(row["merge_id"])


def assign(walk: Walk, task_id: str, *, reserved: bool = False) -> None:
    def unit(tx: Transaction, *, now: str, actor: str) -> None:
        task = tasks.get(tx, task_id)
        if task["status"] not in ("ready", "pending"):
            raise CrewyardError("not to be had")
        assignments.create(tx, task, agent_type="builder", dispatch_id=None, reserved=reserved, now=now, actor=actor)

    walk.run(unit)


def take_up(walk: Walk, task_id: str) -> None:
    work = walk.work(task_id)
    if assignments.is_reserved(work):
        walk.run(assignments.take_up, work, agent_type="builder", instance_id=None)


def launch(walk: Walk, task_id: str) -> None:
    work = walk.work(task_id)
    if work["status"] != "assigned" or assignments.is_reserved(work):
        raise CrewyardError("it waits for no agent")
    assert walk.bench.add_agent(task_id, at=walk.now, agent_type=work["agent_type"])
    walk.bench.store.run(assignments.placed, work["orchestrator_task_id"], path=f"/w/{task_id}", branch=f"b-{task_id}")


def end(walk: Walk, task_id: str) -> None:
    agent_id = walk.agent(task_id)
    how = walk.dice.choice(["completed", "failed", "timeout", "lost", "failed quota", "failed spawn", "asks", "killed"])
    status, _, more = how.partition(" ")
    named: dict[str, Any] = {"code": 0 if status == "completed" else 1}
    if status == "asks":
        walk.bench.store.run(reports.record, agent_id, "question", "which?", now=walk.now)
        status, named = "completed", {"code": 0}
    if status == "killed":
        outcome = walk.dice.choice(["restart", "release", "fail"])
        wish = {"reason": "It was time.", "outcome": outcome, "grace_seconds": 1}
        walk.run(agents.request_kill, agent_id, **wish)
    if more == "quota":
        named["said"] = "Claude AI usage limit reached"
    if more == "spawn":
        named["error"] = "spawn_failed"
    walk.bench.finish(agent_id, status, at=walk.now, message="It ended.", **named)


def prove(walk: Walk, task_id: str) -> None:
    if walk.bench.store.read(assignments.is_being_proven, task_id):
        walk.run(assignments.proven, walk.work(task_id)["orchestrator_task_id"], no_change=walk.dice.random() < 0.1)


def refute(walk: Walk, task_id: str) -> None:
    if walk.bench.store.read(assignments.is_being_proven, task_id):
        work = walk.work(task_id)["orchestrator_task_id"]
        walk.run(
            attempts.failed, work, code="check_failed", message="m", tail="", exited_at=walk.now,
            policy=walk.bench.rules.policy,
        )  # fmt: skip


def queue(walk: Walk, task_id: str) -> None:
    if (work := walk.work(task_id))["status"] == "completed":
        walk.run(merges.enqueue, work["orchestrator_task_id"], head="1" * 40, target="main", approved_by=None)


def claim(walk: Walk, task_id: str) -> None:
    if not walk.bench.store.read(merges.checking):
        walk.run(merges.claim, walk.request(task_id, "queued"))


def requeue(walk: Walk, task_id: str) -> None:
    request = walk.request(task_id, "checking")
    walk.run(merges.requeue, request, why="git fetch failed", code="git_error", retry_seconds=1.0)


def conflict(walk: Walk, task_id: str) -> None:
    request = walk.request(task_id, "checking")
    said = {"code": "merge_conflicts", "message": "It conflicts.", "files": ["f"], "prompt": "p", "limit": 2}
    walk.run(merges.refused, request, want="conflicted", **said)


def abandon(walk: Walk, task_id: str) -> None:
    walk.run(merges.abandoned, walk.request(task_id, "checking"), code="git_error", message="It cannot be done.")


def merge(walk: Walk, task_id: str) -> None:
    if walk.dice.random() < 0.2:
        walk.run(merges.succeeded, walk.request(task_id, "checking"), merges.Merged("2" * 40, 1, 1, 1))


def take_back(walk: Walk, task_id: str) -> None:
    if (work := walk.work(task_id))["status"] == "assigned":
        walk.run(assignments.release, work["orchestrator_task_id"], why="taken back")


def by_hand(walk: Walk, task_id: str) -> None:
    walk.run(tasks.update_status, task_id, walk.dice.choice(["cancelled", "ready", "ready", "ready"]))


def restart(walk: Walk, task_id: str) -> None:
    walk.run(restarts.of_task, task_id, grace_seconds=1)


def recover(walk: Walk, task_id: str) -> None:
    strategy: Any = walk.dice.choice(["automatic_retry", "manual_intervention", "fallback_path"])
    walk.run(recoveries.recover, None, task_id, strategy, means=MEANS)


def handle(walk: Walk, task_id: str) -> None:
    walk.run(recoveries.handle, None, task_id, threshold=3, means=MEANS)


def escalate(walk: Walk, task_id: str) -> None:
    walk.run(recoveries.escalate, None, task_id, "high")


STEPS_KNOWN: dict[str, Callable[[Walk, str], None]] = {
    f"{each.__name__} {n}": each
    for each, weight in {
        assign: 2, take_up: 1, launch: 4, end: 5, prove: 3, refute: 1, queue: 3, claim: 3, requeue: 1, conflict: 1,
        abandon: 1, merge: 2, take_back: 1, by_hand: 1, restart: 1, recover: 1, handle: 1, escalate: 1,
    }.items()
    for n in range(weight)
}  # fmt: skip
STEPS_KNOWN["reserve"] = lambda walk, task_id: assign(walk, task_id, reserved=True)


@pytest.mark.parametrize("seed", range(25))
def test_r158_no_error_is_being_recovered_from_where_nothing_follows(bench: Any, seed: int) -> None:
    bench.add_tasks(*TASKS)
    walk, path = Walk(bench, seed), []
    for _ in range(STEPS):
        path.append(walk.step())
        untrue = [dict(row) for row in bench.store.read(lambda tx: tx.all(UNTRUE))]
        assert untrue == [], f"after {path[-6:]}"


def test_the_walk_meets_every_state_of_an_error_and_of_a_task(bench: Any) -> None:
    bench.add_tasks(*TASKS)
    met: set[str] = set()
    for seed in range(12):
        walk = Walk(bench, seed)
        for _ in range(STEPS):
            walk.step()
            rows = bench.store.read(lambda tx: tx.all("SELECT status FROM error_events"))
            met |= {f"error {row['status']}" for row in rows}
            rows = bench.store.read(lambda tx: tx.all("SELECT status FROM specs_task"))
            met |= {f"task {row['status']}" for row in rows}
    assert met >= {"error open", "error recovering", "error escalated", "error resolved", "task failed", "task ready"}
