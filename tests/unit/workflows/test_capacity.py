"""Workers come and go with the queues, and alarms with their causes (R-242 to R-249, C-31, C-42)."""

import json
from typing import Any

import pytest

from crewyard.server.store import Row
from crewyard.server.workflows import alarms, assignment, capacity, items, reviews, staffing, workers
from crewyard.server.workflows.capacity import Host

from .line import REPOSITORY, Line

FULL = Host(("10 MiB of memory are free; 500 are wanted",))


def watch(line: Line, host: Host | None = None) -> bool:
    """A look of the foreman's; whether it had anything to do."""
    host = host or Host()
    if not line.read(capacity.is_called_for, line.pipeline, host, now=line.now):
        return False
    line.run(capacity.adjust, line.pipeline, host)
    assert not line.read(capacity.is_called_for, line.pipeline, host, now=line.now), "a look has its effect at once"
    return True


def crowd(line: Line, workflow: str = "genesis") -> list[str]:
    return [row["worker_id"] for row in line.read(workers.present, workflow)]


def standing(line: Line) -> list[tuple[str, str]]:
    return [(row["kind"], row["subject"]) for row in line.read(alarms.open_ones)]


def mail(line: Line) -> list[dict[str, Any]]:
    sql = "SELECT content FROM agent_message WHERE to_agent = 'lead' AND message_type = 'alert' ORDER BY id"
    return [json.loads(row["content"]) for row in line.read(lambda tx: tx.all(sql))]


def scaled(line: Line) -> list[Row]:
    sql = "SELECT * FROM event WHERE kind = 'workflow_scaled' ORDER BY event_id"
    rows: list[Row] = line.read(lambda tx: tx.all(sql))
    return rows


def dispatch(line: Line, count: int) -> list[str]:
    return [line.dispatch(f"Project {n}") for n in range(count)]


def test_nothing_is_done_where_nothing_calls_for_it(line: Line) -> None:
    dispatch(line, 3)
    assert not watch(line)


def test_r243_the_next_of_the_roster_comes_to_a_long_queue(line: Line) -> None:
    dispatch(line, 11)
    assert watch(line)
    assert crowd(line) == ["genesis-01", "genesis-02", "genesis-03"]
    facts = json.loads(scaled(line)[0]["data"])
    assert (facts["before"], facts["after"], facts["workers"]) == (2, 3, ["genesis-03"])
    assert facts["why"] == "11 wait, more than 10 (scale_up_depth)"


def test_c31_a_queue_at_its_maximum_raises_the_capacity_alarm_with_its_cause(line: Line) -> None:
    dispatch(line, 11)
    watch(line)
    watch(line)
    [alarm] = line.read(alarms.open_ones)
    assert (alarm["kind"], alarm["subject"], alarm["level"]) == ("capacity", "genesis", "high")
    assert alarm["cause"].endswith("it has 3 workers and gets no more: max_workers is 3")
    assert [each["title"] for each in mail(line)] == ["genesis wants more workers than it may have"]


def test_the_capacity_alarm_does_not_come_and_go_with_each_item(line: Line) -> None:
    names = dispatch(line, 14)
    watch(line)
    line.distribute()
    watch(line)
    for name in names[:6]:
        line.finish(name, REPOSITORY)
        line.distribute()
        watch(line)
        alarm, *_ = line.read(lambda tx: tx.all("SELECT * FROM workflow_alert WHERE subject = 'genesis'"))
        assert (alarm["alert_id"], bool(alarm["ended_at"])) == (1, line.read(items.depth, "genesis") <= 5)
    assert alarm["ended_at"]
    assert [each["title"] for each in mail(line)].count("genesis wants more workers than it may have") == 1


def test_what_came_back_from_a_review_has_had_its_wait(line: Line) -> None:
    names = dispatch(line, 2)
    line.distribute()
    line.later(3600)
    for name in names:
        line.fail(name)
        line.run(reviews.decide, line.pipeline, reviews.Verdict(name, "retry"))
    assert line.read(capacity.counted, line.pipeline, "genesis", now=line.now).average_wait == 0.0


def test_an_emergency_that_brings_everybody_there_can_be_is_looked_at_like_any_other(line: Line) -> None:
    [done] = line.run(staffing.emergency, line.pipeline, "content", Host())
    watch(line)
    assert len(crowd(line, "content")) == 1 + len(done.workers) == line.pipeline.stage("content").most_in_emergency


def test_c42_the_machine_keeps_a_queue_from_growing_and_the_alarm_says_so(line: Line) -> None:
    dispatch(line, 11)
    watch(line, FULL)
    assert len(crowd(line)) == 2
    assert "10 MiB of memory are free" in line.read(alarms.open_ones)[0]["cause"]
    watch(line)
    assert len(crowd(line)) == 3
    watch(line, FULL)
    assert standing(line) == [("capacity", "genesis")], "now it is the maximum"


def test_a_type_of_agent_that_may_have_no_more_instances_bounds_workers_as_well(line: Line) -> None:
    dispatch(line, 11)
    watch(line, Host(instance_limits={"builder": 5}))
    assert len(crowd(line)) == 2
    assert "5 of builder is all there may be" in line.read(alarms.open_ones)[0]["cause"]


def test_r247_a_queue_that_overflows_is_an_alarm_until_it_is_short_again(line: Line) -> None:
    names = dispatch(line, 21)
    watch(line)
    assert ("overflow", "genesis") in standing(line)
    assert len(crowd(line)) == 3
    assert "The queue of genesis overflows" in [each["title"] for each in mail(line)]
    told = len(mail(line))
    for name in names[:10]:
        line.run(lambda tx, name=name, **_: tx.run("DELETE FROM queue_item WHERE project_id = ?", (name,)))
        watch(line)
        assert ("overflow", "genesis") in standing(line), "no alarm that comes and goes"
    line.run(lambda tx, **_: tx.run("DELETE FROM queue_item WHERE project_id = ?", (names[10],)))
    watch(line)
    assert ("overflow", "genesis") not in standing(line)
    assert len(mail(line)) == told
    ended = line.read(lambda tx: tx.all("SELECT * FROM workflow_alert WHERE kind = 'overflow'"))
    assert [row["ended_at"] for row in ended] == [line.now]


def test_r247_what_is_urgent_in_a_queue_that_overflows_goes_first(line: Line) -> None:
    dispatch(line, 20)
    line.later(30 * 3600)
    urgent = line.dispatch(priority=1)
    assert line.read(items.waiting, "genesis")[0]["project_id"] != urgent
    watch(line)
    assert line.read(items.waiting, "genesis")[0]["project_id"] == urgent


def test_r244_idle_workers_go_one_by_one_after_a_rest_and_the_least_stay(line: Line) -> None:
    dispatch(line, 21)
    watch(line)
    line.run(lambda tx, **_: tx.run("DELETE FROM queue_item"))
    line.later(359)
    watch(line)
    assert len(crowd(line)) == 3
    line.later(1)
    watch(line)
    assert crowd(line) == ["genesis-01", "genesis-02"], "the last of the roster goes first"
    line.later(3600)
    assert not watch(line)


def test_c32_a_worker_at_work_never_goes(line: Line) -> None:
    dispatch(line, 21)
    watch(line)
    line.distribute()
    line.run(lambda tx, **_: tx.run("DELETE FROM queue_item WHERE status = 'waiting'"))
    line.later(86_400)
    watch(line)
    assert len(crowd(line)) == 3


def test_g12_utilisation_is_busy_time_of_all_time_over_the_window(line: Line) -> None:
    name = line.dispatch()
    line.later(600)
    line.distribute()
    line.later(150)
    assert line.read(capacity.utilisation, "genesis", 600.0, now=line.now) == pytest.approx(12.5)
    line.finish(name, REPOSITORY)
    line.later(525)
    assert line.read(capacity.utilisation, "genesis", 600.0, now=line.now) == pytest.approx(100 * 75 / 1200)
    assert line.read(capacity.utilisation, "nobody", 600.0, now=line.now) is None


def test_r245_the_arrivals_of_a_week_are_provided_for(line: Line) -> None:
    line.now = "2026-01-05T10:30:00.000Z"
    for _ in range(3):
        dispatch(line, 10)
        line.run(lambda tx, **_: tx.run("UPDATE queue_item SET status = 'rejected', ended_at = queued_at"))
        line.later(86_400)
    line.now = "2026-01-08T09:44:00.000Z"
    assert not watch(line)
    line.later(60)
    watch(line)
    assert len(crowd(line)) == 3
    assert "a peak hour is near" in scaled(line)[0]["data"]


def test_r245_configured_hours_are_provided_for_a_quarter_before_and_until_their_end(line: Line) -> None:
    configured = Line(line.store, {**line.settings, "peak_hours": [22]}, "2026-01-05T21:44:59.999Z")
    assert not watch(configured)
    configured.now = "2026-01-05T21:45:00.000Z"
    watch(configured)
    assert len(crowd(line)) == 3
    configured.now = "2026-01-05T22:59:00.000Z"
    assert not watch(configured)
    configured.now = "2026-01-05T23:00:00.000Z"
    watch(configured)
    assert len(crowd(line)) == 2


def test_r249_work_that_slowed_is_an_alarm(line: Line) -> None:
    def spells(tx: Any, seconds: float, count: int, *, now: str, actor: str) -> None:
        for _ in range(count):
            tx.run(
                "INSERT INTO work_spell (item_id, worker_id, workflow, began_at, ended_at, outcome) "
                "VALUES (1, 'genesis-01', 'genesis', ?, strftime('%Y-%m-%dT%H:%M:%fZ', ?, ?), 'done')",
                (now, now, f"{seconds} seconds"),
            )

    line.dispatch()
    line.run(lambda tx, **_: tx.run("UPDATE queue_item SET status = 'rejected', ended_at = queued_at"))
    line.run(spells, 60.0, 30)
    line.later(86_400)
    assert not watch(line)
    line.run(spells, 100.0, 10)
    line.dispatch()
    line.run(assignment.by_hand, line.pipeline, "genesis", "P-2", "genesis-01")
    line.dispatch()
    line.run(assignment.by_hand, line.pipeline, "genesis", "P-3", "genesis-01")
    watch(line)
    assert line.item("P-3")["worker_id"] == "genesis-02", "what waited for the busy one was given to another"
    [alarm] = line.read(alarms.open_ones)
    assert (alarm["kind"], alarm["cause"]) == (
        "slow", "in genesis the last 10 took 1.7 minutes on the average, the 30 before 1.0",
    )  # fmt: skip
