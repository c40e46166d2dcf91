"""More or fewer workers, and restarts, because somebody asks (R-212 to R-214, R-224, R-228)."""

import pytest

from crewyard.server.errors import InvalidInput, NoAvailableWork, ResourceExhaustion, WorkflowNotFound
from crewyard.server.workflows import alarms, capacity, failover, flow, items, staffing, workers
from crewyard.server.workflows.capacity import Host

from .line import LEAD, Line

FREE = Host()
FULL = Host(("10 MiB of memory are free; 500 are wanted",))


def crowd(line: Line, workflow: str = "genesis") -> list[str]:
    return [row["worker_id"] for row in line.read(workers.present, workflow)]


def test_r213_a_worker_more_comes_within_the_range(line: Line) -> None:
    [done] = line.run(staffing.scale_up, line.pipeline, "genesis", FREE)
    assert (done.workers, line.worker("genesis-03")["origin"]) == (["genesis-03"], "scaled")
    with pytest.raises(InvalidInput, match="max_workers is 3") as error:
        line.run(staffing.scale_up, line.pipeline, "genesis", FREE)
    assert "emergency=true" in error.value.hint


def test_all_workflows_grow_as_far_as_they_may(line: Line) -> None:
    line.run(staffing.scale_up, line.pipeline, "genesis", FREE)
    done = line.run(staffing.scale_up, line.pipeline, "all", FREE)
    assert [(each.workflow, len(each.workers)) for each in done] == [
        ("genesis", 0), ("development", 1), ("content", 1),
    ]  # fmt: skip
    assert done[0].why_not == "it has its 3 workers"


def test_c42_a_machine_that_is_full_refuses_with_the_reason(line: Line) -> None:
    for unit in (staffing.scale_up, staffing.emergency):
        with pytest.raises(ResourceExhaustion, match="10 MiB of memory are free"):
            line.run(unit, line.pipeline, "genesis", FULL)
    assert crowd(line) == ["genesis-01", "genesis-02"]


def test_an_unknown_workflow_is_refused(line: Line) -> None:
    with pytest.raises(WorkflowNotFound) as error:
        line.run(staffing.scale_up, line.pipeline, "genesys", FREE)
    assert "genesis" in error.value.hint


def test_r224_an_emergency_goes_beyond_the_maximum_for_a_while(line: Line) -> None:
    [done] = line.run(staffing.emergency, line.pipeline, "genesis", FREE)
    assert done.workers == ["genesis-03", "genesis-04", "genesis-05", "genesis-06"]
    assert [line.worker(name)["origin"] for name in done.workers] == ["scaled", *["emergency"] * 3]
    [alarm] = line.read(alarms.open_ones)
    assert alarm["cause"] == f"{LEAD} called an emergency: 6 workers until 2026-01-01T00:30:00.000Z; max_workers is 3"
    line.later(1799)
    line.run(capacity.adjust, line.pipeline, FREE)
    assert len(crowd(line)) >= 3
    line.later(1)
    line.run(capacity.adjust, line.pipeline, FREE)
    assert line.read(alarms.open_ones) == []
    assert "genesis-04" not in crowd(line)


def test_an_emergency_worker_at_work_finishes_it_and_then_leaves(line: Line) -> None:
    line.run(staffing.emergency, line.pipeline, "genesis", FREE)
    names = [line.dispatch(f"Project {n}") for n in range(6)]
    line.distribute()
    line.later(1801)
    line.run(capacity.adjust, line.pipeline, FREE)
    assert len(crowd(line)) == 6
    theirs = next(name for name in names if line.item(name)["worker_id"] == "genesis-06")
    line.fail(theirs)
    line.run(capacity.adjust, line.pipeline, FREE)
    assert "genesis-06" not in crowd(line)


def test_nobody_of_the_roster_goes_for_an_emergency_worker_that_is_still_at_work(line: Line) -> None:
    line.run(staffing.emergency, line.pipeline, "genesis", FREE)
    names = [line.dispatch(f"Project {n}") for n in range(6)]
    line.distribute()
    for name in names:
        if line.item(name)["worker_id"] in ("genesis-01", "genesis-02"):
            line.fail(name)
    line.later(1801)
    line.run(capacity.adjust, line.pipeline, FREE)
    assert len(crowd(line)) == 6
    assert [row["kind"] for row in line.read(alarms.open_ones)] == ["emergency"]


def test_an_emergency_worker_gets_nothing_more_once_its_time_is_over(line: Line) -> None:
    line.run(staffing.emergency, line.pipeline, "genesis", FREE)
    line.later(1800)
    for n in range(6):
        line.dispatch(f"Project {n}")
    assert line.distribute() == 3


def test_a_second_emergency_lasts_as_long_as_if_it_were_the_first(line: Line) -> None:
    line.run(staffing.emergency, line.pipeline, "genesis", FREE)
    line.later(600)
    [done] = line.run(staffing.emergency, line.pipeline, "genesis", FREE)
    assert (done.workers, done.why_not) == ([], "it has its 6 workers")
    assert line.worker("genesis-06")["until"] == "2026-01-01T00:40:00.000Z"


def test_r214_every_idle_worker_goes_that_the_least_does_not_need(line: Line) -> None:
    line.run(staffing.emergency, line.pipeline, "genesis", FREE)
    with pytest.raises(NoAvailableWork, match="it was scaled 0 s ago, and rests for 360 s"):
        line.run(staffing.scale_down, line.pipeline, "genesis")
    line.later(360)
    [done] = line.run(staffing.scale_down, line.pipeline, "genesis")
    assert done.workers == ["genesis-06", "genesis-05", "genesis-04", "genesis-03"]
    with pytest.raises(NoAvailableWork, match="min_workers is 2"):
        line.run(staffing.scale_down, line.pipeline, "genesis")


def test_c32_nobody_goes_who_is_at_work_or_for_whom_something_waits(line: Line) -> None:
    line.run(staffing.scale_up, line.pipeline, "genesis", FREE)
    line.later(360)
    for n in range(4):
        line.dispatch(f"Project {n}")
    with pytest.raises(NoAvailableWork, match="4 wait"):
        line.run(staffing.scale_down, line.pipeline, "genesis")
    line.distribute()
    with pytest.raises(NoAvailableWork, match="none is idle"):
        line.run(staffing.scale_down, line.pipeline, "genesis")
    assert line.read(items.depth, "genesis") == 1


def test_r212_one_that_is_offline_gets_work_again(line: Line) -> None:
    line.run(workers.offline, "genesis-01", why="silent")
    assert line.run(staffing.restart_offline, "Genesis-01")["status"] == "idle"
    with pytest.raises(InvalidInput, match="is idle; there is nothing to restart"):
        line.run(staffing.restart_offline, "genesis-01")


def test_r212_one_whose_silent_agent_still_lives_works_again_as_soon_as_that_has_ended(line: Line) -> None:
    line.dispatch()
    line.distribute()
    line.run(workers.offline, "genesis-01", why="silent")
    line.later(60)
    asked = line.run(staffing.restart_offline, "genesis-01")
    assert (asked["status"], asked["restarted_at"]) == ("offline", line.now)
    line.later(60)
    line.run(failover.attend, line.pipeline, grace_seconds=0.0)
    for item in line.read(flow.to_settle):
        line.run(flow.settle, line.pipeline, item["item_id"], flow.Left())
    line.run(failover.attend, line.pipeline, grace_seconds=0.0)
    assert line.worker("genesis-01")["status"] == "idle"


def test_r228_everyone_who_failed_is_restarted(line: Line) -> None:
    line.run(workers.offline, "genesis-01", why="silent")
    line.run(workers.offline, "content-01", why="silent")
    assert [row["worker_id"] for row in line.run(staffing.restart_failed)] == ["content-01", "genesis-01"]
    assert line.run(staffing.restart_failed) == []
