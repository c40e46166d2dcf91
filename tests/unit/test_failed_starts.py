"""A type of agent that fails as soon as it starts is held; one broken task holds nobody up (L-18)."""

from dataclasses import replace
from typing import Any

import pytest

from crewyard.server import backoff, clock, failed_starts

NOW = "2026-01-01T00:00:00.000Z"
LIMITS = failed_starts.Limits(seconds=5.0, tasks=3, pause=10.0, cap=60.0, pauses=3)


def later(seconds: float) -> str:
    return clock.plus(NOW, seconds)


@pytest.fixture
def ends(bench: Any) -> Any:
    """``ends(task, at, lasted, status)``: an agent of that task started at ``at`` and ended so long after."""

    bench.rules = replace(bench.rules, starts=LIMITS, policy=backoff.Policy(1000, 2.0, 120.0))

    def end(task_id: str, at: float, lasted: float = 1.0, status: str = "failed", agent_type: str = "builder") -> None:
        if not bench.value("SELECT count(*) FROM specs_task WHERE task_id = ?", task_id):
            bench.add_tasks(task_id)
        agent_id = bench.add_agent(task_id, at=later(at), agent_type=agent_type)
        bench.finish(agent_id, status, code=1, message="exit code 1.", at=later(at + lasted))

    return end


def hold(bench: Any, scope: str = "builder") -> Any:
    rows = bench.store.read(lambda tx: tx.all("SELECT * FROM launch_hold WHERE scope = ?", (scope,)))
    return rows[0] if rows else None


def test_three_different_tasks_in_a_row_hold_their_type(bench: Any, ends: Any) -> None:
    bench.employ("project_manager")
    ends("A", 0)
    ends("B", 10)
    assert hold(bench) is None
    ends("C", 20)
    row = hold(bench)
    assert (row["reason"], row["until"], row["times"]) == ("failed_starts", later(31), 1)
    assert "3 tasks in a row (A, B, C)" in row["message"]
    assert "exit code 1" in row["message"]
    for box in ("lead", "project_manager"):
        assert [alert["level"] for alert in bench.alerts(box)] == ["high"]


def test_one_broken_task_never_holds_its_type(bench: Any, ends: Any) -> None:
    for n in range(10):
        ends("A", 10 * n)
    ends("B", 200)
    assert hold(bench) is None


@pytest.mark.parametrize(("status", "lasted"), [("completed", 1.0), ("failed", 5.0), ("timeout", 1.0), ("lost", 1.0)])
def test_whatever_is_no_failed_start_begins_the_row_anew(bench: Any, ends: Any, status: str, lasted: float) -> None:
    ends("A", 0)
    ends("B", 10)
    ends("C", 20, lasted, status)
    ends("D", 30)
    ends("E", 40)
    assert hold(bench) is None
    ends("F", 50)
    assert hold(bench) is not None


def test_one_that_was_killed_says_nothing_either_way(bench: Any, ends: Any) -> None:
    ends("A", 0)
    ends("B", 10)
    ends("C", 20, 1.0, "killed")
    ends("D", 30)
    assert hold(bench) is not None


def test_another_type_is_another_row(bench: Any, ends: Any) -> None:
    for n, task_id in enumerate("ABC"):
        ends(task_id, 10 * n, agent_type="architect" if n == 2 else "builder")
    assert (hold(bench), hold(bench, "architect")) == (None, None)


def test_each_trial_that_fails_doubles_the_hold_up_to_its_cap(bench: Any, ends: Any) -> None:
    for n, task_id in enumerate("ABC"):
        ends(task_id, n)
    pauses, now = [], 0.0
    for _ in range(4):
        until = clock.seconds_between(NOW, hold(bench)["until"])
        pauses.append(until - now - 1 if now else until - 3)
        now = until
        ends("D", now)
    assert pauses == [10, 20, 40, 60]
    assert len(bench.alerts("lead")) == 1


def test_an_agent_from_before_the_hold_neither_doubles_nor_lifts_it(bench: Any, ends: Any) -> None:
    for n, task_id in enumerate("ABC"):
        ends(task_id, n, 4.0)  # the hold begins at 6
    ends("D", 3, 4.5)
    assert hold(bench)["times"] == 1
    ends("E", 3, 100.0, "completed")
    assert hold(bench) is not None


@pytest.mark.parametrize("status", ["completed", "failed", "timeout"])
def test_a_trial_that_does_not_fail_at_once_lifts_it(bench: Any, ends: Any, status: str) -> None:
    for n, task_id in enumerate("ABC"):
        ends(task_id, n)
    ends("D", 20, 6.0, status)
    assert hold(bench) is None


def test_a_trial_that_is_killed_leaves_it(bench: Any, ends: Any) -> None:
    for n, task_id in enumerate("ABC"):
        ends(task_id, n)
    ends("D", 20, 6.0, "killed")
    assert hold(bench) is not None


def test_after_so_many_holds_the_type_is_given_up(bench: Any, ends: Any) -> None:
    for n, task_id in enumerate("ABC"):
        ends(task_id, n)
    for n in range(3):
        assert bench.store.read(failed_starts.given_up, LIMITS) == []
        ends("D", 1000 * (n + 1))
    [row] = bench.store.read(failed_starts.given_up, LIMITS)
    assert (row["scope"], row["times"]) == ("builder", 4)
