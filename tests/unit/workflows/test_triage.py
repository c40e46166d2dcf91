"""What is urgent goes first in crowded queues (R-225, R-247), and nothing waits for one worker only (R-207)."""

import pytest

from crewyard.server import events
from crewyard.server.errors import IllegalTransition, InvalidInput, WorkflowNotFound
from crewyard.server.workflows import assignment, items, projects, triage, workers

from .line import REPOSITORY, Line

DAY = 24 * 3600


def order(line: Line) -> list[str]:
    return [row["project_id"] for row in line.read(items.waiting, "genesis")]


def raise_urgent(line: Line, level: str = "urgent", **scope: str) -> triage.Triage:
    done: triage.Triage = line.run(triage.raise_urgent, line.pipeline, level, **scope)
    return done


def test_r225_what_is_urgent_passes_even_what_has_waited_long(line: Line) -> None:
    old = line.dispatch()
    line.later(3 * DAY)
    young, urgent = line.dispatch(), line.dispatch(priority=1)
    assert order(line) == [old, urgent, young]
    done = raise_urgent(line)

    assert order(line) == [urgent, old, young]
    assert ([row["project_id"] for row in done.ahead], done.stepped_back) == ([urgent], 2)


def test_nothing_starves_however_often_a_triage_is_asked_for(line: Line) -> None:
    old = line.dispatch()
    for _ in range(30):
        line.later(3600)
        line.dispatch(priority=1)
        raise_urgent(line)
    assert order(line)[0] != old
    line.later(DAY)
    line.dispatch(priority=1)
    raise_urgent(line)

    young = line.dispatch(priority=1)
    assert order(line).index(old) < order(line).index(young)


def test_where_nothing_is_urgent_nothing_steps_back(line: Line) -> None:
    line.dispatch()
    done = raise_urgent(line)

    assert (done.ahead, done.stepped_back) == ([], 0)
    assert line.read(lambda tx: tx.value("SELECT count(*) FROM event WHERE kind = 'queue_triaged'")) == 0


def test_a_triage_may_be_of_another_level_and_of_one_queue(line: Line) -> None:
    line.dispatch(stage="development")
    normal, low, high = line.dispatch(), line.dispatch(priority=8), line.dispatch(priority=2)
    done = raise_urgent(line, "normal", workflow="genesis")

    assert [row["project_id"] for row in done.ahead] == [high, normal]
    assert done.stepped_back == 1
    assert order(line) == [high, normal, low]
    [told] = line.read(events.of, "queue", "genesis")
    assert (told["kind"], told["actor"]) == ("queue_triaged", "lead")


def test_what_is_urgent_waits_for_no_busy_worker(line: Line) -> None:
    for name in (line.dispatch(), urgent := line.dispatch(priority=1)):
        line.run(assignment.by_hand, line.pipeline, "genesis", name, "genesis-01")
    line.distribute()
    assert line.item(urgent)["status"] == "waiting"
    raise_urgent(line)
    line.distribute()

    assert line.item(urgent)["worker_id"] == "genesis-02"


def test_r208_what_is_raised_after_a_triage_is_held_back_no_more(line: Line) -> None:
    old = line.dispatch()
    line.later(DAY)
    line.dispatch(priority=1)
    line.later(3600)
    raise_urgent(line)
    line.run(projects.set_priority, old, 1)

    assert order(line)[0] == old


def test_r208_the_level_of_what_is_over_cannot_be_changed(line: Line) -> None:
    name = line.dispatch(stage="content")
    line.distribute()
    line.finish(name)
    with pytest.raises(IllegalTransition, match="is completed"):
        line.run(projects.set_priority, name, 1)


@pytest.mark.parametrize(
    ("level", "workflow", "error"), [("urgnt", "", InvalidInput), ("high", "genesys", WorkflowNotFound)]
)
def test_a_wrong_triage_changes_nothing(line: Line, level: str, workflow: str, error: type[Exception]) -> None:
    name = line.dispatch()
    with pytest.raises(error):
        raise_urgent(line, level, workflow=workflow)
    assert line.item(name)["stepped_back_at"] is None


def test_r207_what_waits_for_a_busy_worker_goes_to_whoever_is_idle(line: Line) -> None:
    first, second, third = (line.dispatch() for _ in range(3))
    for name in (first, second, third):
        line.run(assignment.by_hand, line.pipeline, "genesis", name, "genesis-01")
    done = line.run(assignment.rebalance, line.pipeline)

    assert ([row["project_id"] for row in done.freed], done.given) == ([second, third], 1)
    assert line.item(first)["worker_id"] == "genesis-01", "what is worked on stays"
    assert line.item(second)["worker_id"] == "genesis-02"
    assert line.item(third)["wanted_worker"] is None


def test_r207_a_rebalance_of_one_workflow_leaves_the_others_alone(line: Line) -> None:
    for name in (line.dispatch(), waits := line.dispatch()):
        line.run(assignment.by_hand, line.pipeline, "genesis", name, "genesis-01")
    assert line.run(assignment.rebalance, line.pipeline, "content").freed == []
    assert line.item(waits)["wanted_worker"] == "genesis-01"
    with pytest.raises(WorkflowNotFound):
        line.run(assignment.rebalance, line.pipeline, "genesys")


def test_what_waits_for_a_worker_that_is_gone_goes_to_another(line: Line) -> None:
    for name in (line.dispatch(), waits := line.dispatch()):
        line.run(assignment.by_hand, line.pipeline, "genesis", name, "genesis-01")
    line.run(workers.offline, "genesis-01", why="silent")
    line.look()

    assert line.item(waits)["worker_id"] == "genesis-02"


def test_what_waits_for_a_busy_worker_by_name_calls_for_no_look(line: Line) -> None:
    for name in (line.dispatch(), line.dispatch()):
        line.run(assignment.by_hand, line.pipeline, "genesis", name, "genesis-01")
    assert not line.read(assignment.is_called_for)


def test_r206_who_assigned_what_is_recorded(line: Line) -> None:
    name = line.dispatch()
    line.run(assignment.by_hand, line.pipeline, "genesis", name, "genesis-02")
    found = line.read(events.of, "item", str(line.item(name)["item_id"]))
    assert "item_assigned" in [row["kind"] for row in found]
    line.finish(name, REPOSITORY)
