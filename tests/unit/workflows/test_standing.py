"""The workflows at a glance, from what was recorded (R-202, R-265)."""

from crewyard.server.store import Store
from crewyard.server.workflows.standing import standing

from .line import REPOSITORY, Line


def test_where_no_workflow_was_ever_at_work_there_is_nothing_to_tell(store: Store) -> None:
    assert store.read(standing, now="2026-01-01T00:00:00.000Z") is None


def test_what_nobody_has_measured_is_told_as_unknown(line: Line) -> None:
    seen = line.read(standing, now=line.now)
    assert (seen.success_percent, seen.pipeline_hours) == (None, None)
    assert {each.workflow: each.workers for each in seen.queues} == {
        "content": {"idle": 1},
        "development": {"idle": 2},
        "genesis": {"idle": 2},
    }


def test_r265_queues_workers_and_what_was_done_are_told_as_they_are(line: Line) -> None:
    names = [line.dispatch() for _ in range(4)]
    line.distribute()
    line.later(600)
    line.finish(names[0], REPOSITORY)
    line.fail(names[1])
    seen = line.read(standing, now=line.now)
    genesis = next(each for each in seen.queues if each.workflow == "genesis")

    assert (genesis.waiting, genesis.working, genesis.review, genesis.done_last_day) == (2, 0, 1, 1)
    assert genesis.longest_wait_seconds == 600
    assert seen.success_percent == 50.0
    assert seen.projects == {"active": 3, "review": 1}


def test_what_is_older_than_a_day_counts_no_more(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.finish(name, REPOSITORY)
    line.later(86_401)

    seen = line.read(standing, now=line.now)
    assert seen.success_percent is None
    assert [each.done_last_day for each in seen.queues] == [0, 0, 0]
