"""Activity summaries: their figures against a second calculation, and each rule of theirs (R-153 to R-157)."""

import contextlib
import json
import sqlite3
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import recount
from hypothesis import given, settings
from hypothesis import strategies as st

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
    makespan,
    merges,
    plans,
    readers,
    summary,
)
from crewyard.server.errors import CrewyardError
from crewyard.server.readers.draft import PlanDraft
from crewyard.server.sections import QUOTA_PATTERN
from crewyard.server.store import Store, Transaction

BEGIN = "2026-03-01T08:00:00.000Z"
IDS = ("A", "B", "C", "D", "E")
POLICY = backoff.Policy(3, 2.0, 120.0, healthy_after=600.0, max_launches=20)
RULES = consequences.Rules(
    POLICY, failed_starts.Limits(5.0, 3, 10.0, 120.0, 5), quota_pattern=QUOTA_PATTERN, quota_pause_seconds=300.0
)


class History:
    """A made-up run: the domain's own units at made-up times, past git and processes. C and D wait for A, E for all."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = BEGIN
        rows = [{"task_id": name, "title": f"Task {name}"} for name in IDS]
        for row in rows:
            row["depends_on"] = {"C": ["A"], "D": ["A"], "E": ["B", "C", "D"]}.get(row["task_id"], [])
        self.store.run(plans.import_plan, _draft(rows), now=self.now, actor="test", agent_types={"builder"})
        dispatch, _ = self.store.run(
            dispatches.open_or_join, IDS, max_parallel=2, agent_type=None, now=self.now, actor="test"
        )
        self.dispatch_id = dispatch["dispatch_id"]

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
        consequences.of_end(tx, row["agent_id"], how, code=None, output="", rules=RULES, now=self.now, actor="test")

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

    def seen(self, name: str = "all") -> Any:
        return self.store.read(activity.of_range, name, approvals=False, now=self.now)

    def figures(self, name: str = "all") -> dict[str, Any]:
        return summary.of(self.seen(name), name)


FORWARD = ("merge", "claim", "prove", "end", "launch", "assign")
SIDEWAYS = ("fail", "disprove", "conflict", "approve", "pause", "resume")


def _draft(rows: list[dict[str, Any]]) -> PlanDraft:
    return readers.read_plan(json.dumps({"tasks": rows}).encode(), name="plan.json")


@contextlib.contextmanager
def history() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "orchestrator.db")
        try:
            yield History(store)
        finally:
            store.close()


def counted_again(made: History) -> recount.Recount:
    connection = sqlite3.connect(made.store.path)
    with contextlib.closing(connection):
        return recount.recount(connection, until=recount.ms(made.now))


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


steps = st.lists(
    st.tuples(
        st.one_of(st.just("go_on"), st.just("go_on"), st.sampled_from(SIDEWAYS)),
        st.sampled_from(IDS),
        st.integers(1, 9_000),
    ),
    min_size=20,
    max_size=120,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_r153_r155_r157_a_summary_of_any_history_is_what_the_events_alone_say(made_up: Any) -> None:
    with history() as made:
        for action, task_id, gap in made_up:
            made.later(gap).do(action, task_id)
        made.later(100)
        figures, again = made.figures(), counted_again(made)

        spent = Counter({phase: round(1000 * seconds) for phase, seconds in figures["time_seconds"].items()})
        spent["waiting"] = spent.pop("slot") + spent.pop("restart")
        assert +spent == +again.phases
        assert sum(spent.values()) == sum(round(1000 * task["total_seconds"]) for task in figures["tasks"])
        assert {task["task_id"]: round(1000 * task["work_seconds"]) for task in figures["tasks"]} == {
            task["task_id"]: again.work[task["task_id"]] for task in figures["tasks"]
        }
        assert figures["performance"]["elapsed_hours"] == round(again.elapsed / 3_600_000, 6)
        _compare_counts(figures, again)


def _compare_counts(figures: dict[str, Any], again: recount.Recount) -> None:
    states = figures["summary"]
    assert states["completed"] == again.states["completed"]
    assert states["failed"] == again.states["failed"]
    assert states["running"] == again.states["assigned"] + again.states["in_progress"]
    assert states["pending"] == again.states["pending"] + again.states["ready"]
    assert states["total"] == again.states.total()
    assert figures["performance"]["attempts"] == again.attempts.total()
    for how in ("completed", "failed", "running"):
        assert sum(each[how] for each in figures["agents"].values()) == again.attempts[how]
    assert figures["errors"]["by_severity"] == again.errors
    assert figures["merges"]["merged"] == again.merges["merged"]
    assert figures["merges"]["conflicted"] == again.merges["conflicted"]
    ended = states["completed"] + states["failed"]
    assert figures["performance"]["efficiency"] == (round(states["completed"] / ended, 4) if ended else None)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_the_critical_path_of_any_history_has_no_gap_and_ends_with_the_last_task(made_up: Any) -> None:
    with history() as made:
        for task_id in ("A", "B"):
            work_off(made, task_id, 500)
        for action, task_id, gap in made_up:
            made.later(gap).do(action, task_id)
        seen = made.seen()
        links = makespan.critical_path(seen.tasks, seen.blockers)

        done = [task for task in seen.tasks if task.status == "completed"]
        assert links[-1].end == max(task.ended for task in done)
        assert all(earlier.end == later.begin for earlier, later in pairwise(links))
        assert all(link.begin < link.end for link in links)
        assert made.figures()["critical_path"]["seconds"] == sum(link.end - link.begin for link in links) / 1000
