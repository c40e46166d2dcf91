"""A project goes from stage to stage by what its workers hand over (R-232 to R-236)."""

import json

import pytest

from crewyard.server import assignments, dispatches, events, states, tasks
from crewyard.server.errors import IllegalTransition, InvalidInput, NoAvailableWork, ProjectNotFound
from crewyard.server.workflows import assignment, items, projects

from .line import DEPLOYED, NOW, REPOSITORY, Line


def test_r232_a_project_that_genesis_has_done_is_queued_for_development_at_once(line: Line) -> None:
    name = line.dispatch()
    assert line.distribute() == 1
    line.finish(name, REPOSITORY)

    assert line.item(name, "genesis")["status"] == "done"
    assert (line.item(name)["workflow"], line.item(name)["status"]) == ("development", "waiting")
    assert line.project(name)["repository_url"] == REPOSITORY["repository_url"]
    kinds = [row["kind"] for row in line.read(events.of, "project", name)]
    assert kinds == ["project_active", "genesis_complete"]


def test_r233_a_deployed_project_is_queued_for_content_and_completed_by_it(line: Line) -> None:
    name = line.dispatch(stage="development")
    line.distribute()
    line.finish(name, DEPLOYED)
    assert (line.item(name)["workflow"], line.item(name)["status"]) == ("content", "waiting")

    line.distribute()
    line.finish(name)
    assert line.project(name)["status"] == "completed"


def test_a_project_whose_content_is_done_before_its_development_ends_is_completed_by_that(line: Line) -> None:
    name = line.dispatch(stage="development")
    line.distribute()
    line.deploy(name)
    line.distribute()
    line.finish(name)
    assert line.item(name, "content")["status"] == "done"
    assert line.project(name)["status"] == "active"

    line.finish(name, DEPLOYED, workflow="development")
    assert line.project(name)["status"] == "completed"
    assert line.read(lambda tx: tx.value("SELECT count(*) FROM queue_item")) == 2


def test_what_waits_for_a_busy_worker_by_name_calls_for_no_look_at_those_who_are_idle(line: Line) -> None:
    for name in (line.dispatch(), line.dispatch()):
        line.run(assignment.by_hand, line.pipeline, "genesis", name, "genesis-01")

    assert not line.read(assignment.is_called_for)


def test_what_is_not_deployed_waits_for_that(line: Line) -> None:
    name = line.dispatch(stage="development")
    line.distribute()
    line.finish(name, {"notes": "tests are green"})

    assert line.item(name)["workflow"] == "development"
    assert line.project(name)["status"] == "active"


def test_r235_what_fails_for_good_waits_in_the_review_queue_with_its_error(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.fail(name, "check_failed", "Two tests fail.")

    [item] = line.read(items.in_review)
    assert (item["project_id"], item["error_code"], item["error_message"]) == (name, "check_failed", "Two tests fail.")
    assert line.project(name)["status"] == "review"
    assert line.worker(item["worker_id"])["status"] == "idle"


def test_work_without_the_output_that_its_stage_asks_for_goes_to_review(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.finish(name, {"repository_url": 7})

    item = line.item(name)
    assert (item["status"], item["error_code"]) == ("review", "output_missing")
    assert "repository_url: 7 is not of type 'string'" in item["error_message"]


def test_the_next_stage_is_told_what_the_one_before_handed_over(line: Line) -> None:
    name = line.dispatch("Make a shop for hats")
    line.distribute()
    assert "repository_url" in line.task(name)["description"]
    line.finish(name, REPOSITORY)
    line.distribute()

    said = line.task(name)["description"]
    assert "Make a shop for hats" in said
    assert REPOSITORY["repository_url"] in said


def test_r206_a_project_is_assigned_by_hand_to_a_worker(line: Line) -> None:
    first, second = line.dispatch(), line.dispatch()
    line.run(assignment.by_hand, line.pipeline, "genesis", second, "Genesis-02")

    assert (line.item(second)["status"], line.item(second)["worker_id"]) == ("working", "genesis-02")
    assert line.item(first)["status"] == "waiting"


def test_what_is_assigned_to_a_busy_worker_waits_for_it_and_holds_nobody_up(line: Line) -> None:
    busy = line.dispatch()
    line.run(assignment.by_hand, line.pipeline, "genesis", busy, "genesis-01")
    wanted, other = line.dispatch(), line.dispatch()
    line.run(assignment.by_hand, line.pipeline, "genesis", wanted, "genesis-01")
    line.distribute()

    assert line.item(wanted)["status"] == "waiting"
    assert line.item(other)["worker_id"] == "genesis-02"
    line.finish(busy, REPOSITORY)
    line.distribute()
    assert line.item(wanted)["worker_id"] == "genesis-01"


@pytest.mark.parametrize(
    ("workflow", "worker", "says"),
    [
        ("genesys", "genesis-01", "genesis"),
        ("genesis", "genesis-09", "genesis-0"),
        ("genesis", "content-01", "content"),
    ],
)
def test_a_wrong_assignment_is_refused_and_changes_nothing(line: Line, workflow: str, worker: str, says: str) -> None:
    name = line.dispatch()
    with pytest.raises(Exception, match=r"There is no|works in") as error:
        line.run(assignment.by_hand, line.pipeline, workflow, name, worker)
    assert says in f"{error.value} {error.value.hint}"  # type: ignore[attr-defined]
    assert line.item(name)["wanted_worker"] is None


def test_r209_the_level_stays_with_a_project_in_every_stage(line: Line) -> None:
    name = line.dispatch()
    line.run(projects.set_priority, name, projects.level("urgent"))
    line.distribute()
    line.finish(name, REPOSITORY)

    assert line.item(name)["priority"] == 1


def test_r234_what_is_raised_moves_to_the_front_of_its_queue(line: Line) -> None:
    names = [line.dispatch(f"Project {n}") for n in range(4)]
    line.run(projects.set_priority, names[3], projects.level("urgent"))

    assert [row["project_id"] for row in line.read(items.waiting, "genesis")] == [names[3], *names[:3]]


def test_nothing_starves_behind_what_is_urgent(line: Line) -> None:
    old = line.dispatch()
    line.later(25 * 3600)
    young = line.dispatch(priority=1)

    assert [row["project_id"] for row in line.read(items.waiting, "genesis")] == [old, young]


@pytest.mark.parametrize("level", ["", "soon", "0", "11", "1.5"])
def test_a_wrong_level_is_refused(level: str) -> None:
    with pytest.raises(InvalidInput):
        projects.level(level)


def test_a_project_stands_in_a_queue_once(line: Line) -> None:
    name = line.dispatch()
    with pytest.raises(IllegalTransition, match="is in genesis already: waiting"):
        line.run(items.enqueue, name, "genesis")


def test_an_unknown_project_is_refused_with_the_nearest_name(line: Line) -> None:
    line.dispatch()
    with pytest.raises(ProjectNotFound) as error:
        line.read(projects.get, "P-11")
    assert "P-1" in error.value.hint


def test_settling_twice_changes_nothing_more(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.finish(name, REPOSITORY)
    from crewyard.server.workflows import flow

    line.run(flow.settle, line.pipeline, line.item(name, "genesis")["item_id"], flow.Left(REPOSITORY))
    assert len(line.read(lambda tx: tx.all("SELECT * FROM queue_item"))) == 2
    assert json.loads(line.item(name, "genesis")["output"]) == REPOSITORY
    assert line.item(name, "genesis")["ended_at"] == NOW


def test_what_is_in_a_queue_is_given_to_workers_alone(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    task_id = line.item(name)["task_id"]
    line.fail(name)

    line.run(tasks.release, task_id, why="somebody opened it again")
    with pytest.raises(NoAvailableWork, match="is of project P-1, in the queue of genesis"):
        line.run(dispatches.open_or_join, [task_id], max_parallel=1, agent_type=None)
    with pytest.raises(NoAvailableWork, match="a worker gets it"):
        line.run(assignments.create, line.task(name), agent_type="builder", dispatch_id=None)


def test_what_somebody_else_has_in_hand_holds_up_nothing_behind_it(line: Line) -> None:
    first = line.dispatch()
    line.distribute()
    line.run(assignments.release, line.work(first), why="its agent was ended")
    line.run(assignments.create, line.task(first), agent_type="builder", dispatch_id=None)  # in this moment
    line.run(lambda tx, **at: events.change(tx, states.ITEM, line.item(first)["item_id"], "waiting", **at))
    second = line.dispatch()
    line.distribute()

    assert line.item(first)["status"] == "waiting"
    assert line.item(second)["status"] == "working"


def test_r236_the_events_of_hand_overs_hold_what_the_worker_reported_and_when(line: Line) -> None:
    name = line.dispatch()
    for output in (REPOSITORY | {"issues_created": 4}, DEPLOYED):
        line.distribute()
        line.finish(name, output)

    told = {row["kind"]: (row["at"], json.loads(row["data"])) for row in line.read(events.of, "project", name)}
    at, genesis = told["genesis_complete"]
    assert (at, genesis["repository_url"], genesis["output"]["issues_created"]) == (
        NOW, REPOSITORY["repository_url"], 4,
    )  # fmt: skip
    assert told["development_complete"][1]["deployment_url"] == DEPLOYED["deployment_url"]
