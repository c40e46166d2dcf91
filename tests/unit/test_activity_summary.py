"""Activity summaries: their figures against a second calculation, and each rule of theirs (R-153 to R-157)."""

import contextlib
import sqlite3
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import recount
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import BEGIN, IDS, SIDEWAYS, History, add_sample, history, straight, work_off

from crewyard.server import activity, bottlenecks, clock, lease, makespan, summary, summary_markdown
from crewyard.server.store import Store

HOLDER = lease.Holder("one", 1, "10", "boot")


def counted_again(made: History) -> recount.Recount:
    connection = sqlite3.connect(made.store.path)
    with contextlib.closing(connection):
        return recount.recount(connection, until=recount.ms(made.now))


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
        tasks = {task.task_id: task for task in seen.tasks}
        for link in links:  # parts of a wait with and without an assignment are one
            inside = [(span.begin, span.end) for span in tasks[link.task_id].spans if span.phase == link.phase]
            here = [(max(begin, link.begin), min(end, link.end)) for begin, end in inside]
            assert makespan.union(part for part in here if part[0] < part[1]) == link.end - link.begin
        assert made.figures()["critical_path"]["seconds"] == sum(link.end - link.begin for link in links) / 1000


def test_r155_throughput_efficiency_and_velocity_follow_their_formulas() -> None:
    with history() as made:
        straight(made)
        figures = made.figures()
        done, work = figures["performance"], {each["task_id"]: each["work_seconds"] for each in figures["tasks"]}

        assert figures["summary"]["completed"] == 5
        assert done["efficiency"] == 1.0
        assert done["avg_hours_per_task"] == pytest.approx(sum(work.values()) / 5 / 3600, abs=1e-6)
        assert done["total_hours"] == pytest.approx(sum(work.values()) / 3600, abs=1e-6)
        elapsed = clock.seconds_between(BEGIN, made.now)
        assert done["elapsed_hours"] == pytest.approx(elapsed / 3600, abs=1e-6)
        assert done["tasks_per_hour"] == pytest.approx(5 / (elapsed / 3600), rel=1e-3)
        assert done["speed_up"] == pytest.approx(sum(work.values()) / elapsed, abs=0.01)
        assert done["fastest_task"] == {"task_id": "A", "work_seconds": min(work.values())}
        assert done["slowest_task"] == {"task_id": "B", "work_seconds": max(work.values())}
        assert (done["attempts"], done["retries"]) == (6, 1)


def test_the_critical_path_names_what_each_wait_was_for() -> None:
    with history() as made:
        straight(made)
        links = made.figures()["critical_path"]["links"]

        assert [(link["task_id"], link["phase"]) for link in links] == [
            ("A", "slot"), ("A", "working"), ("A", "proving"), ("A", "merging"),
            ("C", "working"), ("C", "restart"), ("C", "working"),
            ("D", "working"), ("D", "proving"), ("D", "merging"),
            ("E", "working"), ("E", "proving"), ("E", "merging"),
        ]  # fmt: skip
        assert sum(link["seconds"] for link in links) == clock.seconds_between(BEGIN, made.now)


def test_time_in_which_a_dispatch_was_paused_counts_for_nobody() -> None:
    with history() as made:
        work_off(made, "A", 1_000)
        before = made.figures()
        made.later(0).do("pause", "")
        made.later(3_600_000).do("resume", "")
        after = made.figures()

        assert after["performance"]["elapsed_hours"] == before["performance"]["elapsed_hours"]
        assert after["time_seconds"]["paused"] == 4 * 3600
        assert after["time_seconds"]["dependencies"] == before["time_seconds"]["dependencies"]


def test_time_in_which_nobody_supervised_is_no_ones_fault_and_named() -> None:
    with history() as made:
        made.store.run(lease.acquire, HOLDER, now=made.now, uptime=100.0)
        for action in ("assign", "launch"):
            made.later(1_000).do(action, "A")
        made.store.run(lease.renew, 1, now=made.now, uptime=102.0)
        died = made.now
        made.later(60_000).do("end", "A")  # its runner goes on
        made.later(600_000)
        alone = made.figures()
        made.store.run(lease.acquire, HOLDER, now=made.now, uptime=762.0)
        back = made.now
        for action in ("prove", "claim", "merge"):
            made.later(1_000).do(action, "A")
        figures = made.figures()

        assert alone["time_seconds"]["unsupervised"] > 600
        of_a = sum(span.length for span in made.seen().tasks[0].spans if span.phase == "unsupervised")
        assert of_a == 600_000, "while its agent worked nobody was needed"
        assert figures["time_seconds"]["working"] == 60.02
        assert figures["time_seconds"]["proving"] == 1
        gap = clock.seconds_between(died, back)
        assert figures["time_seconds"]["unsupervised"] == pytest.approx(600 + 4 * gap, abs=0.1), "the others' waits too"
        assert figures["performance"]["elapsed_hours"] < 70 / 3600
        assert issues(made)["Nobody supervised while there was something to be done"].severity == "high"


def test_a_task_that_is_only_reserved_is_in_nobodys_hands() -> None:
    with history() as made:
        made.do("cancel", "")  # the dispatch
        made.do("assign", "A")
        made.later(3_600_000).do("launch", "A")
        for action in ("end", "prove", "claim", "merge"):
            made.later(1_000).do(action, "A")
        figures = made.figures()

        assert figures["time_seconds"]["slot"] == 0
        assert figures["performance"]["elapsed_hours"] == pytest.approx(4.02 / 3600, abs=1e-6)


def test_r154_r157_a_range_has_what_was_recorded_in_it_and_nothing_else() -> None:
    with history() as made:
        work_off(made, "A", 60_000)
        made.later(0).do("cancel", "")
        made.later(7_200_000).do("open", "")
        work_off(made, "B", 30_000)
        of_an_hour, of_a_day = made.figures("last_1h"), made.figures("last_24h")

        assert (of_an_hour["summary"]["completed"], of_a_day["summary"]["completed"]) == (1, 2)
        assert [each["task_id"] for each in of_an_hour["tasks"] if each["status"] == "completed"] == ["B"]
        assert of_an_hour["performance"]["total_hours"] == pytest.approx(30.03 / 3600, abs=1e-5)
        assert of_an_hour["agents"]["builder"]["launched"] == 1
        assert of_an_hour["merges"]["merged"] == 1
        assert all(mark["at"] >= of_an_hour["range"]["since"] for mark in of_an_hour["timeline"])
        assert made.figures("last_7d")["summary"] == made.figures("all")["summary"]


def test_r157_what_began_before_the_range_counts_from_its_beginning() -> None:
    with history() as made:
        made.do("assign", "A")
        made.do("launch", "A")
        made.later(5_400_000)
        figures = made.figures("last_1h")

        assert figures["time_seconds"]["working"] == 3600
        assert figures["agents"]["builder"]["uptime_hours"] == 1
        assert figures["agents"]["builder"]["uptime_percent"] == 100


def test_r153_r156_resources_are_what_was_measured_in_the_range() -> None:
    with history() as made:
        made.later(7_200_000)
        for ago, cpu, disk in ((5000, 99.0, 10.0), (120, 20.0, 50.0), (60, 40.0, 52.0), (0, 60.0, 60.0)):
            at = clock.plus(made.now, -ago)
            for name, value in (("cpu_percent", cpu), ("disk_percent", disk)):
                made.store.run(add_sample, at, name, value)
        seen = made.figures("last_1h")["resources"]

        assert seen["cpu"] == {"average": 40.0, "maximum": 60.0, "change": 40.0, "trend": "increasing", "samples": 3}
        assert seen["utilisation"] == 0.4
        assert (seen["disk"]["change"], seen["disk"]["trend"]) == (10.0, "increasing")
        assert (seen["memory"], seen["swap"], seen["active_agents"]) == (None, None, None)


def test_a_sample_that_stands_for_a_span_weighs_as_much_as_that() -> None:
    with history() as made:
        for at, value, span in ((0, 90.0, 0), (30, 90.0, 0), (60, 10.0, 540)):
            made.store.run(add_sample, clock.plus(BEGIN, at), "cpu_percent", value, span)
        made.later(900_000)

        assert made.figures()["resources"]["cpu"]["average"] == pytest.approx((2 * 90 * 30 + 10 * 540) / 600, abs=0.1)


def test_an_empty_yard_has_a_summary_with_nothing_in_it() -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Store(Path(folder) / "orchestrator.db")) as store:
        seen = store.read(activity.of_range, "all", approvals=False, now=BEGIN)
        figures = summary.of(seen, "all")

        assert figures["summary"]["total"] == 0
        assert figures["summary"]["success_rate"] is None
        assert figures["performance"]["speed_up"] is None
        assert (figures["bottlenecks"], figures["critical_path"]["links"]) == ([], [])


def issues(made: History) -> dict[str, bottlenecks.Bottleneck]:
    return {each.issue: each for each in bottlenecks.found(made.seen())}


def test_r153_r156_r301_each_bottleneck_has_its_impact_tasks_severity_and_cure() -> None:
    with history() as made:
        work_off(made, "A", 1_000)
        work_off(made, "B", 1_000)
        for action in ("assign", "launch", "end", "prove", "claim", "conflict"):
            made.later(1_000).do(action, "C")
        made.later(200_000).do("assign", "D")
        for _ in range(4):
            made.later(200_000).do("launch", "D")
            made.later(5_000).do("fail", "D")
        for _ in range(3):
            made.store.run(add_sample, made.now, "cpu_percent", 97.0)
            made.later(30_000)
        seen = issues(made)

        assert seen["D did not complete, and others depend on it"].affected_tasks == ("D", "E")
        assert seen["D did not complete, and others depend on it"].severity == "critical"
        assert seen["Tasks wait for a free agent"].affected_tasks[:2] == ("C", "D")
        assert seen["Branches conflict"].affected_tasks == ("C",)
        assert seen["Attempts fail and are made again"].affected_tasks == ("D",)
        assert seen["The machine is short of CPU"].severity == "critical"
        assert "busy" in seen["Tasks wait for a free agent"].recommendation
        assert all(each.impact and each.recommendation for each in seen.values())
        assert bottlenecks.found(made.seen())[0].severity == "critical"


def test_work_that_waits_for_an_approval_is_a_bottleneck_of_its_own() -> None:
    with history() as made:
        for action in ("assign", "launch", "end", "prove"):
            made.later(100).do(action, "A")
        made.later(600_000)
        waiting = made.store.read(activity.of_range, "all", approvals=True, now=made.now)
        assert makespan.time_by_phase(waiting.tasks)["approval"] == 600_000
        made.do("approve", "A")
        made.later(0).do("claim", "A")
        made.later(10).do("merge", "A")

        assert made.figures()["time_seconds"]["approval"] == 600
        assert issues(made)["Finished work waits for an approval"].affected_tasks == ("A",)


def test_a_task_that_takes_far_longer_than_the_others_is_named() -> None:
    with history() as made:
        for task_id, length in (("A", 10_000), ("B", 300_000), ("C", 11_000)):
            work_off(made, task_id, length)

        assert issues(made)["Some tasks take far longer than the others"].affected_tasks == ("B",)


def test_g22_r309_speed_up_is_told_beside_its_target_and_simulated_agents_are_told_as_such() -> None:
    with history() as made:
        straight(made)
        made.store.run(lambda tx: tx.run("UPDATE agent_lifecycle SET kind = 'scripted' WHERE task_id = 'A'"))
        done = made.figures()["performance"]

        assert done["target_speed_up"] == [3.0, 6.0]
        assert done["simulated_agents"] == 1


@pytest.mark.parametrize("factor", [1, 1000])
def test_a_try_of_seconds_or_of_simulated_agents_alone_is_not_judged_by_its_speed(factor: int) -> None:
    with history() as made:
        for task_id, length in (("A", 10), ("B", 300), ("C", 11)):
            work_off(made, task_id, length * factor)
        if factor > 1:
            assert "tasks an hour" in summary_markdown.to_markdown(made.figures(), "detailed")
            made.store.run(lambda tx: tx.run("UPDATE agent_lifecycle SET kind = 'scripted'"))
        figures = made.figures()
        told = summary_markdown.to_markdown(figures, "detailed")

        assert "Too little to tell how fast the crew is" in told
        assert not [words for words in ("tasks an hour", "target", "Shorten the critical path") if words in told]


def test_r156_tokens_and_cost_are_summed_by_type_where_agents_told_them() -> None:
    with history() as made:
        straight(made)
        made.store.run(
            lambda tx: tx.run(
                "UPDATE agent_lifecycle SET input_tokens = 1000, output_tokens = 50, cost_usd = 0.125 "
                "WHERE task_id IN ('A', 'B')"
            )
        )
        told = {"reported_by": 2, "input_tokens": 2000, "output_tokens": 100, "cost_usd": 0.25}

        assert made.figures()["usage"] == told
        assert {key: made.figures()["agents"]["builder"][key] for key in told} == told
