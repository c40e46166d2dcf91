"""Why no agent is launched: holds that are put, kept, lifted, and that end with a trial (G-19, L-18)."""

from typing import Any

import pytest

from crewyard.server import clock, events, holds

NOW = "2026-01-01T00:00:00.000Z"


def later(seconds: float) -> str:
    return clock.plus(NOW, seconds)


def hold(bench: Any, scope: str, reason: str, until: float | None, *, at: float = 0.0, again: bool = False) -> None:
    end = None if until is None else later(until)
    bench.store.run(
        holds.hold, scope, reason, f"because of {reason}", until=end, now=later(at), actor="test", again=again
    )


def in_force(bench: Any, agent_type: str, at: float) -> str | None:
    row = bench.store.read(holds.in_force, agent_type, later(at))
    return None if row is None else str(row["reason"])


def kinds(bench: Any, scope: str) -> list[str]:
    return [row["kind"] for row in bench.store.read(events.of, "launches", scope)]


def test_a_hold_is_of_one_type_or_of_all(bench: Any) -> None:
    hold(bench, "builder", "quota", 60)
    assert (in_force(bench, "builder", 0), in_force(bench, "architect", 0)) == ("quota", None)
    hold(bench, holds.EVERYONE, "disk", 10)
    assert (in_force(bench, "builder", 0), in_force(bench, "architect", 0)) == ("quota", "disk"), "the longest counts"


def test_a_hold_is_over_at_its_time_and_one_without_stays(bench: Any) -> None:
    hold(bench, "builder", "quota", 60)
    assert (in_force(bench, "builder", 59.999), in_force(bench, "builder", 60)) == ("quota", None)
    hold(bench, holds.EVERYONE, "stopped", None)
    assert in_force(bench, "builder", 1e9) == "stopped"
    assert bench.store.read(holds.next_end, NOW) == later(60)


def test_the_same_hold_again_is_one_row_and_one_event(bench: Any) -> None:
    hold(bench, holds.EVERYONE, "memory", 2)
    hold(bench, holds.EVERYONE, "memory", 4, at=2)
    row = bench.row("launch_hold")
    assert (row["since"], row["until"], row["times"]) == (NOW, later(4), 1)
    assert kinds(bench, "*") == ["launches_held"]
    hold(bench, holds.EVERYONE, "memory", 9, at=4, again=True)
    row = bench.row("launch_hold")
    assert (row["since"], row["until"], row["times"]) == (later(4), later(9), 2)
    assert len(kinds(bench, "*")) == 2


def test_lifting_tells_of_what_there_was_only(bench: Any) -> None:
    hold(bench, "builder", "quota", 60)
    assert bench.store.run(holds.lift, "builder", "quota", "cpu", now=NOW, actor="test") is True
    assert bench.store.run(holds.lift, "builder", "quota", "cpu", now=NOW, actor="test") is False
    assert kinds(bench, "builder") == ["launches_held", "launches_free"]


def test_whoever_wants_work_done_lifts_a_stop_and_what_could_not_start_and_no_limit(bench: Any) -> None:
    for scope, reason in (
        ("*", "stopped"),
        ("*", "disk"),
        ("a", "failed_starts"),
        ("b", "not_logged_in"),
        ("a", "quota"),
    ):
        hold(bench, scope, reason, 60)
    bench.store.run(holds.lift_stop, now=NOW, actor="lead")
    assert [(row["scope"], row["reason"]) for row in bench.store.read(holds.listed)] == [("*", "disk"), ("a", "quota")]


@pytest.mark.parametrize("reason", ["quota", "failed_starts", "not_logged_in"])
def test_after_such_a_hold_one_launch_is_a_trial(bench: Any, reason: str) -> None:
    hold(bench, "builder", reason, 60)
    assert bench.store.read(holds.trial_of, "builder", later(59)) is None
    assert bench.store.read(holds.trial_of, "builder", later(60))["reason"] == reason
    assert bench.store.read(holds.trial_of, "architect", later(60)) is None


def test_what_the_machine_refused_needs_no_trial(bench: Any) -> None:
    hold(bench, "builder", "memory", 60)
    assert bench.store.read(holds.trial_of, "builder", later(60)) is None


def test_an_agent_that_was_let_through_and_lives_long_enough_ends_the_hold(bench: Any) -> None:
    bench.add_tasks("A", "B")
    hold(bench, "builder", "failed_starts", 60)
    bench.add_agent("A", at=later(30))  # from before: it says nothing
    bench.store.run(holds.end_passed_trials, 5.0, now=later(100), actor="test")
    assert bench.store.read(holds.next_passed_trial, 5.0) is None
    assert in_force(bench, "builder", 30) == "failed_starts"
    bench.add_agent("B", at=later(61))
    assert bench.store.read(holds.next_passed_trial, 5.0) == later(66)
    bench.store.run(holds.end_passed_trials, 5.0, now=later(65.999), actor="test")
    assert bench.value("SELECT count(*) FROM launch_hold") == 1
    bench.store.run(holds.end_passed_trials, 5.0, now=later(66), actor="test")
    assert bench.value("SELECT count(*) FROM launch_hold") == 0


def test_every_reason_may_stand_in_the_table(bench: Any) -> None:
    for reason in holds.REASONS:
        hold(bench, "builder", reason, 60)
    assert bench.value("SELECT count(*) FROM launch_hold") == len(holds.REASONS)
    assert set(holds.PASSING) < set(holds.REASONS)
