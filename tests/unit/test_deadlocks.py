"""Circles of tasks and of agents: found, explained, told once, and never started (R-121 to R-126, C-27)."""

import itertools
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import (
    assignments,
    clock,
    deadlock_advice,
    deadlocks,
    dispatches,
    lease,
    messages,
    process,
    reports,
    tasks,
    wishes,
)
from crewyard.server.crew import Crew
from crewyard.server.deadlock_advice import Edge, Work
from crewyard.server.deadlocks import Deadlocks
from crewyard.server.dispatches import Limits
from crewyard.server.errors import InvalidInput, NoAvailableWork, TaskNotFound
from crewyard.server.repository import Repository
from crewyard.server.rounds import _look_for_deadlocks
from crewyard.server.settings import Settings
from crewyard.server.store import Store

NOW = "2026-01-01T00:00:00.000Z"
LATER = clock.plus(NOW, 600)


def detect(bench: Any, *, asked_before: str = LATER) -> Deadlocks:
    found: Deadlocks = bench.store.read(deadlocks.detect, asked_before=asked_before)
    return found


def knot(bench: Any, *names: str) -> None:
    """Tasks that wait for each other in a circle, written past us: the first blocks the second, and so on."""
    bench.add_tasks(*names)
    for one, other in zip(names, (*names[1:], names[0]), strict=True):
        bench.add_edge(one, other)


# -------------------------------------------------------------------------------------------------------- detection


@pytest.mark.parametrize(("length", "severity"), [(2, "critical"), (3, "high"), (4, "high"), (5, "medium")])
def test_r121_r123_r124_a_circle_is_found_and_rated_by_its_length(bench: Any, length: int, severity: str) -> None:
    names = "ABCDE"[:length]
    knot(bench, *names)
    bench.add_tasks("X", "Y")
    bench.add_edge("A", "X")
    bench.add_edge("X", "Y")
    found = detect(bench)
    assert found.among_tasks.chains == ((*names, "A"),)
    assert (found.total_tasks, found.total_dependencies, found.graph_acyclic) == (length + 2, length + 2, False)
    assert found.behind == 2
    assert deadlock_advice.severity(length) == severity


def test_r122_only_hard_edges_make_the_graph_and_nothing_is_written(bench: Any) -> None:
    knot(bench, "A", "B")
    bench.store.run(
        lambda tx: tx.run("UPDATE specs_task_dependency SET dependency_type = 'soft' WHERE blocking_task_id = 'B'")
    )
    before = bench.value("PRAGMA data_version"), bench.value("SELECT count(*) FROM event")
    found = detect(bench)
    assert (found.among_tasks.chains, found.graph_acyclic) == ((), True)
    assert (bench.value("PRAGMA data_version"), bench.value("SELECT count(*) FROM event")) == before


def test_r126_a_task_that_waits_for_itself_is_reported(bench: Any, database: Path) -> None:
    bench.add_tasks("A")
    foreign = sqlite3.connect(database)
    foreign.execute("PRAGMA ignore_check_constraints = ON")
    foreign.execute(
        "INSERT INTO specs_task_dependency (blocking_task_id, dependent_task_id, created_at) VALUES ('A', 'A', ?)",
        (NOW,),
    )
    foreign.commit()
    foreign.close()
    assert detect(bench).among_tasks.chains == (("A", "A"),)
    [edge], options = bench.store.read(deadlocks.analyze, ["A"])
    assert (edge.blocking, edge.dependent) == ("A", "A")
    assert [option.option for option in options] == ["drop_dependency"]
    [error_id] = bench.store.run(deadlocks.settle, detect(bench), now=NOW, actor="supervisor")
    assert bench.row("error_events", error_id=error_id)["severity"] == "critical"


def test_r125_a_hundred_thousand_tasks_are_looked_through_in_time(store: Store) -> None:
    count = 100_000
    rows = [(f"t{n:06d}", "pending", "T", NOW, NOW, 1) for n in range(count)]
    edges = [(f"t{n - gap:06d}", f"t{n:06d}", NOW) for n in range(count) for gap in (1, 7, 40) if n >= gap]
    edges += [(f"t{n + 3:06d}", f"t{n:06d}", NOW) for n in range(0, 1000, 100)]

    def write(tx: Any) -> None:
        tx.many(
            "INSERT INTO specs_task (task_id, status, title, created_at, updated_at, unmet_blockers) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        tx.many(
            "INSERT INTO specs_task_dependency (blocking_task_id, dependent_task_id, created_at) VALUES (?, ?, ?)",
            edges,
        )

    store.run(write)
    began = time.process_time()
    found = store.read(deadlocks.detect, asked_before=LATER)
    took = time.process_time() - began
    assert found.among_tasks.knots == 10
    assert {len(chain) - 1 for chain in found.among_tasks.chains} == {4}
    assert took < 4.0, f"{took:.1f} s; two on an idle machine"


# ------------------------------------------------------------------------------------------------------ explanation


def test_r124_r125_a_circle_is_explained_edge_by_edge_with_the_cheapest_way_out_first(bench: Any) -> None:
    knot(bench, "A", "B", "C")
    bench.store.run(
        lambda tx: tx.run("UPDATE specs_task_dependency SET reason = 'the schema' WHERE blocking_task_id <> 'B'")
    )
    edges, options = bench.store.read(deadlocks.analyze, ["A", "B", "C", "A"])
    assert [(edge.blocking, edge.dependent, edge.kind, edge.reason) for edge in edges] == [
        ("A", "B", "hard", "the schema"), ("B", "C", "hard", None), ("C", "A", "hard", "the schema"),
    ]  # fmt: skip
    assert [option.option for option in options] == [
        "drop_dependency", "parallelise", "reorder", "split_task", "intermediate_task",
    ]  # fmt: skip
    assert "'B'" in options[0].action
    assert "'C'" in options[0].action
    backward, _ = bench.store.read(deadlocks.analyze, ["C", "B", "A"])
    assert {edge.dependent for edge in backward} == {"A", "B", "C"}


def test_r125_each_way_out_breaks_the_circle_when_it_is_gone(bench: Any) -> None:
    knot(bench, "A", "B", "C")
    chain = detect(bench).among_tasks.chains[0]
    edge, _ = bench.store.read(deadlocks.cheapest_way_out, chain, [chain])
    bench.store.run(
        lambda tx: tx.run(
            "DELETE FROM specs_task_dependency WHERE blocking_task_id = ? AND dependent_task_id = ?",
            (edge.blocking, edge.dependent),
        )
    )
    assert detect(bench).graph_acyclic


def test_r125_the_edge_to_drop_is_the_one_that_most_circles_share_and_that_costs_least() -> None:
    works = {"a": Work(1), "b": Work(1), "c": Work(8, ("x",)), "d": Work(1, ("x",))}
    edges = [Edge("a", "b", "hard", "why"), Edge("b", "a", "hard", "why")]
    assert deadlock_advice.cheapest(edges, works, [("a", "b", "a"), ("a", "b", "c", "a")]).dependent == "b"
    assert (
        deadlock_advice.cheapest([Edge("a", "b", "hard", "why"), Edge("b", "a", "hard", None)], works).blocking == "b"
    )
    assert (
        deadlock_advice.cheapest([Edge("c", "d", "hard", None), Edge("d", "b", "hard", None)], works).dependent == "b"
    )
    assert (
        deadlock_advice.cheapest([Edge("a", "c", "hard", None), Edge("c", "a", "hard", None)], works).dependent == "a"
    )


def test_r125_a_soft_edge_in_the_circle_is_the_one_to_drop(bench: Any) -> None:
    knot(bench, "A", "B")
    bench.store.run(
        lambda tx: tx.run("UPDATE specs_task_dependency SET dependency_type = 'soft' WHERE blocking_task_id = 'B'")
    )
    _, options = bench.store.read(deadlocks.analyze, ["A", "B"])
    assert [option.option for option in options] == ["drop_soft_dependency"]


@pytest.mark.parametrize(
    ("cycle", "error"), [([], InvalidInput), (["A", "B"], InvalidInput), (["A", "nobody"], TaskNotFound)]
)
def test_r122_what_is_no_circle_is_refused(bench: Any, cycle: list[str], error: type[Exception]) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    with pytest.raises(error):
        bench.store.read(deadlocks.analyze, cycle)


# -------------------------------------------------------------------------------------------- nothing of it is started


def dispatch(bench: Any, *names: str) -> str:
    row, _ = bench.store.run(dispatches.open_or_join, names, max_parallel=4, agent_type=None, now=NOW, actor="lead")
    return str(row["dispatch_id"])


def claim(bench: Any, dispatch_id: str) -> list[str]:
    rows = bench.store.run(dispatches.claim, dispatch_id, Limits(4, {}, "builder"), now=NOW, actor="supervisor")
    return [row["task_id"] for row in rows]


@pytest.mark.parametrize("with_counters", [True, False])
def test_r121_deadlocked_tasks_are_never_started_and_hold_no_dispatch_open(bench: Any, *, with_counters: bool) -> None:
    knot(bench, "A", "B")
    bench.add_tasks("X", "Y")
    bench.add_edge("A", "X")
    if not with_counters:  # as a program leaves them that knows nothing of counters
        bench.store.run(lambda tx: tx.run("UPDATE specs_task SET unmet_blockers = 0, status = 'ready'"))
    dispatch_id = dispatch(bench, "A", "B", "X", "Y")
    assert not bench.store.read(dispatches.is_over, dispatch_id)
    assert claim(bench, dispatch_id) == ["Y"]
    assert not bench.store.read(dispatches.is_over, dispatch_id)
    agent_id = bench.add_agent("Y")
    bench.finish(agent_id, "failed", error="spawn_failed")
    assert bench.store.read(dispatches.is_over, dispatch_id)
    assert claim(bench, dispatch_id) == []
    with pytest.raises(NoAvailableWork):
        bench.store.run(wishes.assign, wishes.Session("A", "builder", None, everywhere=False), now=NOW, actor="lead")
    assert bench.value("SELECT count(*) FROM agent_lifecycle WHERE task_id <> 'Y'") == 0


def test_edges_that_were_written_past_the_counters_neither_hinder_a_completion_nor_are_passed_over(bench: Any) -> None:
    bench.add_tasks("A", "B", "C", "D")
    bench.add_edge("A", "D")
    for blocking, dependent in (("A", "C"), ("B", "D")):
        bench.store.run(
            lambda tx, *edge: tx.run(
                "INSERT INTO specs_task_dependency (blocking_task_id, dependent_task_id, created_at) VALUES (?, ?, ?)",
                (*edge, NOW),
            ),
            blocking,
            dependent,
        )
    assert bench.store.run(tasks.complete, "A", now=NOW, actor="test").unblocked == []
    assert bench.value("SELECT unmet_blockers FROM specs_task WHERE task_id = 'D'") == 1
    assert bench.store.run(tasks.complete, "B", now=NOW, actor="test").unblocked == ["D"]


def test_r121_a_dispatch_goes_on_while_a_blocker_of_the_pending_moves(bench: Any) -> None:
    bench.add_tasks("A", "B", "C")
    bench.add_edge("A", "B")
    bench.add_edge("B", "C")
    dispatch_id = dispatch(bench, "B", "C")
    assert bench.store.read(dispatches.is_over, dispatch_id), "nobody works A off"
    other = dispatch(bench, "A")
    assert not bench.store.read(dispatches.is_over, dispatch_id)
    assert claim(bench, other) == ["A"]
    assert not bench.store.read(dispatches.is_over, dispatch_id)


def test_r121_whoever_asks_learns_of_the_circle_in_which_or_behind_which_a_task_is(bench: Any) -> None:
    knot(bench, "A", "B")
    bench.add_tasks("X", "Y")
    bench.add_edge("B", "X")
    for task_id, chain in (("A", ["A", "B", "A"]), ("B", ["B", "A", "B"]), ("Y", None)):
        assert bench.store.read(deadlocks.before, task_id) == chain
    assert set(bench.store.read(deadlocks.before, "X")) == {"A", "B"}


# --------------------------------------------------------------------------------------------------------- told once


def test_r125_each_new_circle_is_told_once_and_over_when_it_is_gone(bench: Any) -> None:
    knot(bench, "A", "B")
    [error_id] = bench.store.run(deadlocks.settle, detect(bench), now=NOW, actor="supervisor")
    for _ in range(2):
        assert bench.store.run(deadlocks.settle, detect(bench), now=NOW, actor="supervisor") == []
    assert [alert["level"] for alert in bench.alerts("lead")] == ["critical"]
    row = bench.row("error_events", error_id=error_id)
    assert (row["error_class"], row["severity"], row["recovery_action"]) == ("deadlock", "critical", "resolve_graph")

    knot(bench, "C", "D", "E")
    assert len(bench.store.run(deadlocks.settle, detect(bench), now=NOW, actor="supervisor")) == 1
    assert [alert["level"] for alert in bench.alerts("lead")] == ["critical", "high"]

    bench.store.run(tasks.update_status, "A", "completed", now=NOW, actor="lead")
    bench.store.run(deadlocks.settle, detect(bench), now=LATER, actor="supervisor")
    row = bench.row("error_events", error_id=error_id)
    assert (row["status"], row["resolution"]) == ("resolved", "the circle is gone")
    assert bench.value("SELECT count(*) FROM error_events WHERE status <> 'resolved'") == 1


@pytest.mark.parametrize("size", [4, 8])
def test_r125_of_circles_that_share_tasks_one_is_told_until_the_knot_is_gone(bench: Any, size: int) -> None:
    names = "ABCDEFGH"[:size]
    bench.add_tasks(*names)
    for one, other in itertools.permutations(names, 2):
        bench.add_edge(one, other)
    assert len(bench.store.run(deadlocks.settle, detect(bench), now=NOW, actor="supervisor")) == 1
    [alert] = bench.alerts("lead")
    assert f"circles of {size} tasks" in alert["message"]
    gone = bench.row("error_events")["subject"].split(" ")[1]
    bench.store.run(tasks.update_status, gone, "completed", now=NOW, actor="lead")
    bench.store.run(deadlocks.settle, detect(bench), now=LATER, actor="supervisor")
    assert [row["status"] for row in bench.store.read(lambda tx: tx.all("SELECT status FROM error_events"))] == [
        "resolved", "open",
    ]  # fmt: skip
    assert not bench.store.read(deadlocks.has_news, detect(bench))
    for name in names:
        if name != gone:
            bench.store.run(tasks.update_status, name, "cancelled", now=NOW, actor="lead")
    bench.store.run(lambda tx: tx.run("DELETE FROM specs_task_dependency"))
    bench.store.run(deadlocks.settle, detect(bench), now=LATER, actor="supervisor")
    assert bench.value("SELECT count(*) FROM error_events WHERE status <> 'resolved'") == 0


def late_edge(bench: Any) -> str:
    """A works already when somebody writes, past us, that it waits for B, which waits for A; returns A's work."""
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    bench.add_agent("A")
    bench.store.run(
        lambda tx: tx.run(
            "INSERT INTO specs_task_dependency (blocking_task_id, dependent_task_id, created_at) VALUES ('B', 'A', ?)",
            (NOW,),
        )
    )
    return str(bench.row("orchestrator_task")["orchestrator_task_id"])


def test_r121_what_an_agent_has_waits_for_nothing_and_is_in_no_circle(bench: Any) -> None:
    late_edge(bench)
    assert detect(bench).among_tasks.chains == ()
    assert bench.store.read(deadlocks.before, "B") is None


def test_r121_a_dependency_written_past_us_stops_no_task_from_being_completed(bench: Any) -> None:
    work = late_edge(bench)
    bench.store.run(assignments.proven, work, no_change=True, now=NOW, actor="test")
    assert bench.row("specs_task", task_id="B")["status"] == "ready"
    bench.add_agent("B")
    work = bench.row("orchestrator_task", task_id="B")["orchestrator_task_id"]
    bench.store.run(assignments.proven, work, no_change=True, now=NOW, actor="test")
    assert bench.value("SELECT count(*) FROM specs_task WHERE status = 'completed'") == 2
    assert bench.value("SELECT count(*) FROM specs_task_dependency WHERE dependency_status = 'pending'") == 0


def test_r121_a_task_is_ready_when_no_dependency_is_left_whatever_its_counter_says(bench: Any) -> None:
    bench.add_tasks("A", "B", "C")
    bench.add_edge("A", "C")
    bench.add_edge("B", "C")
    bench.store.run(lambda tx: tx.run("UPDATE specs_task SET unmet_blockers = 1 WHERE task_id = 'C'"))
    bench.store.run(tasks.update_status, "A", "completed", now=NOW, actor="lead")
    assert bench.row("specs_task", task_id="C")["status"] == "pending"
    bench.store.run(lambda tx: tx.run("UPDATE specs_task SET unmet_blockers = 7 WHERE task_id = 'C'"))
    bench.store.run(tasks.update_status, "B", "completed", now=NOW, actor="lead")
    assert bench.row("specs_task", task_id="C")["status"] == "ready"


# ------------------------------------------------------------------------------------------------------ among agents


def ask(bench: Any, sender: str, target: str, *, kind: str = "question", at: str = NOW) -> None:
    draft = messages.Draft(target, kind, "which?")
    types = {"builder", "architect"}
    bench.store.run(messages.send, draft, sender=sender, agent_types=types, max_queue=99, now=at)


def test_c27_agents_that_ask_each_other_are_a_circle_until_one_answers(bench: Any) -> None:
    bench.add_tasks("A", "B")
    one, other = bench.add_agent("A", at=NOW), bench.add_agent("B", at=NOW)
    ask(bench, one, other)
    assert detect(bench).between_agents.chains == ()
    ask(bench, other, one)
    found = detect(bench)
    assert found.between_agents.chains == (("A", "B", "A"),)
    assert found.waits["A", "B"].kind == "message"
    [error_id] = bench.store.run(deadlocks.settle, found, now=NOW, actor="supervisor")
    assert one in bench.row("error_events", error_id=error_id)["message"]
    assert detect(bench, asked_before=clock.plus(NOW, -1)).between_agents.chains == (), "they may still answer"
    for asker in (one, other):
        bench.store.run(reports.record, asker, "blocked", "I wait", now=NOW)
    assert detect(bench, asked_before=clock.plus(NOW, -1)).between_agents.chains, "they say that they wait"
    ask(bench, other, one, kind="answer", at=LATER)
    assert detect(bench).between_agents.chains == ()


def test_c27_an_agent_that_waits_for_a_task_behind_its_own_is_a_circle(bench: Any) -> None:
    bench.add_tasks("A")
    bench.add_tasks("B", agent_type="architect")
    bench.add_edge("A", "B")
    ask(bench, bench.add_agent("A", at=NOW), "architect")
    assert detect(bench).between_agents.chains == (("A", "B", "A"),)


def test_c27_an_agent_that_holds_the_files_of_the_one_it_waits_for_is_in_a_circle(bench: Any) -> None:
    bench.add_tasks("A", files='["src/x.py"]')
    bench.add_tasks("B", agent_type="architect", files='["src"]')
    ask(bench, bench.add_agent("A", at=NOW), "architect")
    found = detect(bench)
    assert found.between_agents.chains == (("A", "B", "A"),)
    assert {wait.kind for wait in found.waits.values()} == {"message", "file"}


@pytest.mark.parametrize("others", [(), ("B",), ("B", "C")])
def test_c27_who_asks_its_own_type_waits_for_no_answer_of_its_own(bench: Any, others: tuple[str, ...]) -> None:
    bench.add_tasks("A", *others)
    ask(bench, bench.add_agent("A", at=NOW), "builder")
    assert detect(bench).between_agents.chains == ()


def test_c27_a_task_that_may_get_an_agent_of_any_type_may_answer_too(bench: Any) -> None:
    bench.add_tasks("A", "C")
    bench.add_tasks("B", agent_type="architect")
    bench.add_edge("A", "B")
    ask(bench, bench.add_agent("A", at=NOW), "architect")
    assert detect(bench).between_agents.chains == ()


def test_r121_nobody_waits_for_the_look_for_circles(bench: Any, git_repo: Path) -> None:
    knot(bench, "A", "B")
    crew = Crew.of(Repository.discover(git_repo), Settings(), bench.store)
    me = process.myself()
    holder = lease.Holder("test", me.pid, me.start_time, me.boot_id)
    crew.term = bench.store.run(lease.acquire, holder, now=clock.now(), uptime=clock.uptime())
    begun, done = threading.Event(), threading.Event()

    def read_on(_: Any) -> bool:
        begun.set()
        return done.wait(20)

    other = threading.Thread(target=bench.store.read, args=(read_on,))
    other.start()
    try:
        assert begun.wait(20)
        _look_for_deadlocks(crew)
    finally:
        done.set()
        other.join()
    assert bench.row("error_events")["error_class"] == "deadlock"


def test_c27_who_may_be_answered_by_another_of_that_type_is_in_no_circle(bench: Any) -> None:
    bench.add_tasks("A")
    bench.add_tasks("B", "C", agent_type="architect")
    bench.add_edge("A", "B")
    ask(bench, bench.add_agent("A", at=NOW), "architect")
    assert detect(bench).between_agents.chains == ()
