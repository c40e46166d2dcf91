"""The emergency stop of a project, and its end (R-219, G-11)."""

import pytest

from crewyard.server import agents, assignments, events, tasks
from crewyard.server.errors import IllegalTransition, NoAvailableWork, ProjectNotFound
from crewyard.server.workflows import assignment, flow, items, projects, reviews, stops

from .line import DEPLOYED, REPOSITORY, Line


def stop(line: Line, name: str) -> stops.Stopped:
    done: stops.Stopped = line.run(stops.stop, name, why="It sends mail.", grace_seconds=5.0)
    return done


def resume(line: Line, name: str) -> str:
    return str(line.run(stops.resume, line.pipeline, name, why="mended")["status"])


def test_r219_what_waits_of_a_stopped_project_is_held_and_given_to_nobody(line: Line) -> None:
    name = line.dispatch()
    assert stop(line, name).held == ["genesis"]
    line.look()

    assert (line.item(name)["status"], line.project(name)["status"]) == ("held", "held")
    assert line.worker("genesis-01")["status"] == "idle"


def test_r219_an_agent_at_work_is_ended_gently_and_its_task_rests_with_its_work(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    agent = line.start(name)
    assert stop(line, name).ending == [agent]

    row = line.read(agents.get, agent)
    assert (row["kill_outcome"], row["kill_grace_seconds"]) == ("release", 5.0)
    assert "P-1 was stopped" in row["kill_reason"]
    line.end(agent)
    item = line.item(name)
    assert (item["status"], line.task(name)["status"]) == ("held", "ready")
    assert line.worker(item["worker_id"])["status"] == "idle"
    line.look()
    assert line.read(assignments.of_task, item["task_id"]) is None


def test_what_has_no_agent_yet_is_taken_back_at_once(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    assert stop(line, name).ending == []
    line.look()

    assert line.item(name)["status"] == "held"


def test_a_restart_that_was_due_is_taken_back_before_it_is_launched(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    agent = line.start(name)
    line.run(agents.request_kill, agent, reason="stalled", outcome="restart", grace_seconds=1.0)
    assert stop(line, name).ending == []
    line.end(agent)

    assert line.read(assignments.of_task, line.item(name)["task_id"]) is None
    assert line.item(name)["status"] == "held"


def test_stopping_twice_asks_for_nothing_more(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    agent = line.start(name)
    stop(line, name)
    before = len(line.read(events.of, "project", name))
    assert stop(line, name).ending == []
    assert not line.read(stops.at_work)
    assert len(line.read(events.of, "project", name)) == before
    assert len([row for row in line.read(events.of, "agent", agent) if row["kind"] == "agent_kill_requested"]) == 1


def test_r219_a_resumed_project_goes_on_with_the_same_task_and_its_age(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    agent = line.start(name)
    task, queued = line.item(name)["task_id"], line.item(name)["queued_at"]
    stop(line, name)
    line.end(agent)
    line.later(60)
    assert resume(line, name) == "active"
    line.look()

    item = line.item(name)
    assert (item["status"], item["task_id"], item["queued_at"]) == ("working", task, queued)


def test_a_project_that_is_resumed_while_its_agent_still_ends_goes_on_after_that(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    agent = line.start(name)
    stop(line, name)
    resume(line, name)
    assert line.item(name)["status"] == "working"
    line.end(agent)

    assert line.item(name)["status"] == "working"
    assert line.task(name)["status"] == "assigned"


def test_what_is_done_while_its_project_is_stopped_is_handed_over_and_held_there(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    stopped = line.item(name)["task_id"]
    line.run(projects.change, name, "held")
    line.finish(name, REPOSITORY)

    assert line.item(name, "genesis")["status"] == "done"
    assert (line.item(name)["workflow"], line.item(name)["status"]) == ("development", "held")
    assert line.read(tasks.get, stopped)["status"] == "completed"
    assert resume(line, name) == "active"
    assert line.item(name)["status"] == "waiting"


def test_a_project_whose_last_stage_ended_while_it_was_stopped_is_completed_when_it_is_resumed(line: Line) -> None:
    name = line.dispatch(stage="content")
    line.distribute()
    line.run(projects.change, name, "held")
    line.finish(name)

    assert line.project(name)["status"] == "held"
    assert resume(line, name) == "completed"


def test_what_waits_for_a_judgement_waits_for_it_still_after_a_stop(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.fail(name)
    stop(line, name)
    with pytest.raises(IllegalTransition, match="is stopped") as error:
        line.run(reviews.decide, line.pipeline, reviews.Verdict(name, "retry"))
    assert "resume" in error.value.hint

    assert resume(line, name) == "review"
    assert line.item(name)["status"] == "review"


def test_a_failure_while_it_is_stopped_waits_for_a_judgement_when_it_is_resumed(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.run(projects.change, name, "held")
    line.fail(name)

    assert (line.project(name)["status"], line.item(name)["status"]) == ("held", "review")
    assert resume(line, name) == "review"


def test_other_projects_go_on(line: Line) -> None:
    name, other = line.dispatch(), line.dispatch()
    line.distribute()
    line.start(name)
    agent = line.start(other)
    stop(line, name)

    assert line.read(agents.get, agent)["kill_requested_at"] is None
    line.finish(other, REPOSITORY)
    assert line.item(other)["workflow"] == "development"


@pytest.mark.parametrize("act", ["stop", "resume"])
def test_an_unknown_project_is_neither_stopped_nor_resumed(line: Line, act: str) -> None:
    line.dispatch()
    with pytest.raises(ProjectNotFound) as error:
        stop(line, "P-7") if act == "stop" else resume(line, "P-7")
    assert "P-1" in error.value.hint


def test_a_completed_project_cannot_be_stopped_nor_one_that_flows_resumed(line: Line) -> None:
    flowing = line.dispatch()
    with pytest.raises(IllegalTransition, match="was not stopped"):
        resume(line, flowing)
    name = line.dispatch(stage="content")
    line.distribute()
    line.finish(name, DEPLOYED)
    with pytest.raises(IllegalTransition, match="is completed; nobody works on it"):
        stop(line, name)


def test_a_stopped_project_is_assigned_to_nobody(line: Line) -> None:
    name = line.dispatch()
    stop(line, name)
    with pytest.raises(NoAvailableWork, match="is held in genesis"):
        line.run(assignment.by_hand, line.pipeline, "genesis", name, "genesis-01")


def test_a_stopped_project_can_be_given_up_with_what_works_for_it(line: Line) -> None:
    name = line.dispatch(stage="development")
    line.distribute()
    agent = line.start(name)
    line.learn(name, DEPLOYED)
    line.run(flow.hand_over, line.pipeline, line.item(name))
    stop(line, name)
    line.run(reviews.decide, line.pipeline, reviews.Verdict(name, "reject", "Nobody wants it."))
    assert line.item(name, "content")["status"] == "rejected"
    line.end(agent)

    assert line.item(name, "development")["status"] == "rejected"
    assert line.project(name)["status"] == "rejected"
    assert line.read(tasks.get, "P-1-development")["status"] == "cancelled"
    assert line.read(items.open_of, name) == []
