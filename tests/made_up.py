"""Runs that never were: the domain's own units at made-up times, past git and processes."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crewyard.server import (
    activity,
    agents,
    assignments,
    attempts,
    backoff,
    clock,
    consequences,
    dispatches,
    failed_starts,
    launches,
    merges,
    plans,
    readers,
    summary,
)
from crewyard.server.errors import CrewyardError
from crewyard.server.kinds import Heard
from crewyard.server.readers.draft import PlanDraft
from crewyard.server.store import Store, Transaction

BEGIN = "2026-03-01T08:00:00.000Z"
IDS = ("A", "B", "C", "D", "E")
POLICY = backoff.Policy(3, 2.0, 120.0, healthy_after=600.0, max_launches=20)
RULES = consequences.Rules(POLICY, failed_starts.Limits(5.0, 3, 10.0, 120.0, 5), quota_pause_seconds=300.0)


class History:
    """A made-up run: the domain's own units at made-up times, past git and processes. C and D wait for A, E for all."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = BEGIN
        rows = [{"task_id": name, "title": f"Task {name}"} for name in IDS]
        for row in rows:
            row["depends_on"] = {"C": ["A"], "D": ["A"], "E": ["B", "C", "D"]}.get(row["task_id"], [])
        self.store.run(plans.import_plan, _draft(rows), now=self.now, actor="test", agent_types={"builder"})
        self.do("open", "")

    def later(self, milliseconds: int) -> "History":
        self.now = clock.plus(self.now, milliseconds / 1000)
        return self

    def do(self, action: str, task_id: str) -> bool:
        """Do it, where it can be done at this moment; ``go_on``: what brings the task nearer to its end."""
        if action == "go_on":
            return any(self.do(each, task_id) for each in FORWARD)
        try:
            self.store.run(getattr(self, f"_{action}"), task_id)
        except (CrewyardError, LookupError):
            return False
        return True

    def _assign(self, tx: Transaction, task_id: str) -> None:
        task = tx.only("SELECT * FROM specs_task WHERE task_id = ? AND status = 'ready'", (task_id,))
        row = assignments.create(
            tx, task, agent_type="builder", dispatch_id=self.dispatch_id, now=self.now, actor="test"
        )
        assignments.placed(tx, row["orchestrator_task_id"], path=f"/w/{task_id}", branch=f"branch-{task_id}")

    def _launch(self, tx: Transaction, task_id: str) -> None:
        row = tx.only("SELECT * FROM orchestrator_task WHERE task_id = ? AND status = 'assigned'", (task_id,))
        order = launches.LaunchOrder(
            "builder", "command", task_id, row["orchestrator_task_id"], f"/w/{task_id}", "/runs", 60.0, None,
            f"{task_id}{self.now}", 1,
        )  # fmt: skip
        agent_id = launches.plan_launch(tx, order, now=self.now, actor="test")["agent_id"]
        launches.runner_started(tx, agent_id, pid=1, start_time="1", boot_id="b")
        self.now = clock.plus(self.now, 0.02)
        launches.started(tx, agent_id, pid=2, start_time="1", boot_id="b", at=self.now, actor="test")
        assignments.started(tx, row["orchestrator_task_id"], agent_id, now=self.now, actor="test")

    def _end(self, tx: Transaction, task_id: str, status: str = "completed") -> None:
        row = tx.only("SELECT * FROM agent_lifecycle WHERE task_id = ? AND status = 'running'", (task_id,))
        how = agents.Exit(status, self.now, code=0 if status == "completed" else 3, message="as made up")
        consequences.of_end(tx, row["agent_id"], how, code=None, heard=Heard(), rules=RULES, now=self.now, actor="test")

    def _fail(self, tx: Transaction, task_id: str) -> None:
        self._end(tx, task_id, "failed")

    def _prove(self, tx: Transaction, task_id: str, approved_by: str | None = None) -> None:
        row = self._unproven(tx, task_id)
        assignments.proven(tx, row["orchestrator_task_id"], no_change=False, now=self.now, actor="test")
        merges.enqueue(
            tx, row["orchestrator_task_id"], head="c0ffee", target="roadmap", approved_by=approved_by, now=self.now,
            actor="test",
        )  # fmt: skip

    def _disprove(self, tx: Transaction, task_id: str) -> None:
        row = self._unproven(tx, task_id)
        attempts.failed(
            tx, row["orchestrator_task_id"], code="no_commits", message="nothing was done", tail="",
            exited_at=self.now, policy=POLICY, now=self.now, actor="test",
        )  # fmt: skip

    def _unproven(self, tx: Transaction, task_id: str) -> Any:
        return {row["task_id"]: row for row in assignments.unproven(tx)}[task_id]

    def _approve(self, tx: Transaction, task_id: str) -> None:
        row = tx.only("SELECT * FROM merge_request WHERE task_id = ? AND status = 'queued'", (task_id,))
        merges.enqueue_again(tx, row["orchestrator_task_id"], row, approved_by="lead", now=self.now, actor="lead")

    def _claim(self, tx: Transaction, task_id: str) -> None:
        row = tx.only("SELECT * FROM merge_request WHERE task_id = ? AND status = 'queued'", (task_id,))
        if merges.checking(tx):
            raise LookupError
        merges.claim(tx, row["merge_id"], now=self.now, actor="test")

    def _merge(self, tx: Transaction, task_id: str) -> None:
        row = tx.only("SELECT * FROM merge_request WHERE task_id = ? AND status = 'checking'", (task_id,))
        done = merges.Merged("c0ffee", 2, 3, 1)
        merges.all_succeeded(tx, [(row["merge_id"], done)], now=self.now, actor="test")

    def _conflict(self, tx: Transaction, task_id: str) -> None:
        row = tx.only("SELECT * FROM merge_request WHERE task_id = ? AND status = 'checking'", (task_id,))
        merges.refused(
            tx, row["merge_id"], want="conflicted", code="merge_conflicts", message="both changed it", prompt="",
            limit=2, now=self.now, actor="test",
        )  # fmt: skip

    def _pause(self, tx: Transaction, _: str) -> None:
        dispatches.change(tx, self.dispatch_id, "paused", now=self.now, actor="test")

    def _resume(self, tx: Transaction, _: str) -> None:
        dispatches.change(tx, self.dispatch_id, "active", now=self.now, actor="test")

    def _cancel(self, tx: Transaction, _: str) -> None:
        dispatches.change(tx, self.dispatch_id, "cancelled", now=self.now, actor="test")

    def _open(self, tx: Transaction, _: str) -> None:
        row, _is_new = dispatches.open_or_join(tx, IDS, max_parallel=2, agent_type=None, now=self.now, actor="test")
        self.dispatch_id = row["dispatch_id"]

    def seen(self, name: str = "all") -> Any:
        return self.store.read(activity.of_range, name, approvals=False, now=self.now)

    def figures(self, name: str = "all") -> dict[str, Any]:
        return summary.of(self.seen(name), name)


FORWARD = ("merge", "claim", "prove", "end", "launch", "assign")
SIDEWAYS = ("fail", "disprove", "conflict", "approve", "pause", "resume", "cancel", "open")


def _draft(rows: list[dict[str, Any]]) -> PlanDraft:
    return readers.read_plan(json.dumps({"tasks": rows}).encode(), name="plan.json")


@contextlib.contextmanager
def history() -> Iterator[History]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "orchestrator.db")
        try:
            yield History(store)
        finally:
            store.close()


def work_off(made: History, task_id: str, milliseconds: int) -> None:
    """The straight way: assigned, done and merged, with what it takes in between."""
    for action, gap in (
        ("assign", 10),
        ("launch", 30),
        ("end", milliseconds),
        ("prove", 40),
        ("claim", 5),
        ("merge", 60),
    ):
        made.later(gap).do(action, task_id)


def straight(made: History) -> History:
    """A and B together on two slots; then C, which fails once, and D when C leaves its slot; E when all are merged."""
    for task_id in ("A", "B"):
        made.later(100).do("assign", task_id)
        made.later(0).do("launch", task_id)
    made.later(980).do("end", "A")
    finish(made, "A")
    for task_id in ("C", "D"):
        made.later(0).do("assign", task_id)
    made.later(0).do("launch", "C")
    made.later(500).do("fail", "C")
    made.later(2_000).do("launch", "C")
    made.later(1_500).do("end", "C")
    made.later(0).do("launch", "D")
    finish(made, "C")
    made.later(200).do("end", "B")
    finish(made, "B")
    made.later(1_000).do("end", "D")
    finish(made, "D")
    made.later(0).do("assign", "E")
    made.later(0).do("launch", "E")
    made.later(2_000).do("end", "E")
    finish(made, "E")
    return made


def finish(made: History, task_id: str) -> None:
    for action in ("prove", "claim", "merge"):
        made.later(100).do(action, task_id)


def add_sample(tx: Transaction, at: str, name: str, value: float, span: int = 0) -> None:
    tx.run(
        "INSERT INTO metrics.metrics (timestamp, metric_type, value, unit, span_seconds) VALUES (?, ?, ?, '%', ?)",
        (at, name, value, span),
    )
