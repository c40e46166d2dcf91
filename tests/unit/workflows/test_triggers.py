"""A stage that somebody begins by hand (R-217, R-218)."""

import pytest

from crewyard.server import events
from crewyard.server.errors import IllegalTransition, InvalidInput, ProjectNotFound, WorkflowNotFound
from crewyard.server.store import Row
from crewyard.server.workflows import stops, triggers

from .line import DEPLOYED, REPOSITORY, Line

URL = "https://shop.example.org"


def trigger(line: Line, name: str, workflow: str = "", **given: str) -> Row:
    row: Row = line.run(triggers.trigger, line.pipeline, name, workflow, **given)
    return row


def undeployed(line: Line) -> str:
    name = line.dispatch(stage="development")
    line.distribute()
    line.finish(name, {})
    return name


def test_r217_development_begins_by_the_repository_of_a_project_that_is_through_genesis(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.learn(name, REPOSITORY)
    with pytest.raises(IllegalTransition, match="is not through genesis: it is working there"):
        trigger(line, REPOSITORY["repository_url"], "development")
    line.finish(name, REPOSITORY)
    with pytest.raises(IllegalTransition, match="is in development already"):
        trigger(line, REPOSITORY["repository_url"] + "/", "development")


def test_r217_a_stage_whose_hand_over_was_lost_is_begun_by_hand(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.finish(name, REPOSITORY)
    line.store.run(lambda tx: tx.run("DELETE FROM queue_item WHERE workflow = 'development'"))
    line.store.run(lambda tx: tx.run("UPDATE project SET stage = 'genesis'"))

    assert trigger(line, REPOSITORY["repository_url"], "development")["project_id"] == name
    assert line.project(name)["stage"] == "development"


def test_r218_content_begins_for_a_deployed_project(line: Line) -> None:
    name = undeployed(line)
    with pytest.raises(IllegalTransition, match="is not deployed, and content begins with that") as error:
        trigger(line, name, "content")
    assert "input='…'" in error.value.hint
    line.learn(name, DEPLOYED)

    item = trigger(line, name, "content")
    assert (item["workflow"], item["status"]) == ("content", "waiting")
    assert line.item(name, "development")["handed_over_at"] is not None


def test_r218_where_it_was_deployed_may_be_told_with_that(line: Line) -> None:
    name = undeployed(line)
    assert trigger(line, name, deployed_at=URL)["workflow"] == "content"

    assert line.project(name)["deployment_url"] == URL
    assert "development_milestone" in [row["kind"] for row in line.read(events.of, "project", name)]


@pytest.mark.parametrize(
    ("workflow", "given", "error", "says"),
    [
        ("contnet", {}, WorkflowNotFound, "contnet"),
        ("genesis", {}, InvalidInput, "is where projects begin"),
        ("content", {"deployed_at": "somewhere"}, InvalidInput, "is no URL"),
    ],
)
def test_a_wrong_trigger_is_refused_and_changes_nothing(
    line: Line, workflow: str, given: dict[str, str], error: type[Exception], says: str
) -> None:
    name = undeployed(line)
    with pytest.raises(error, match=says):
        trigger(line, name, workflow, **given)
    assert line.item(name)["workflow"] == "development"
    assert line.project(name)["deployment_url"] is None


def test_a_project_that_does_not_flow_is_not_triggered(line: Line) -> None:
    stopped = undeployed(line)
    line.run(stops.stop, stopped, why="", grace_seconds=1.0)
    with pytest.raises(IllegalTransition, match="is held") as error:
        trigger(line, stopped, deployed_at=URL)
    assert "resume" in error.value.hint
    assert line.project(stopped)["deployment_url"] is None
    done = line.dispatch(stage="content")
    line.distribute()
    line.finish(done)
    with pytest.raises(IllegalTransition, match="is completed"):
        trigger(line, done)


def test_after_the_last_stage_comes_none(line: Line) -> None:
    with pytest.raises(InvalidInput, match="After content comes no other"):
        trigger(line, line.dispatch(stage="content"))


def test_an_unknown_project_is_not_triggered(line: Line) -> None:
    with pytest.raises(ProjectNotFound):
        trigger(line, "https://example.org/other", "development")
