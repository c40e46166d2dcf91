"""Ways out of the review queue (G-10, R-261)."""

import pytest

from crewyard.server import agents, assignments, events, tasks
from crewyard.server.errors import IllegalTransition, InvalidInput, NoAvailableWork, WorkflowNotFound
from crewyard.server.store import Row
from crewyard.server.workflows import flow, items, reviews

from .line import DEPLOYED, REPOSITORY, Line


def decide(line: Line, name: str, exit_: str, why: str = "", workflow: str = "") -> Row:
    row: Row = line.run(reviews.decide, line.pipeline, reviews.Verdict(name, exit_, why, workflow))
    return row


def failed_in(line: Line, *, stage: str = "genesis") -> str:
    name = line.dispatch()
    line.distribute()
    if stage != "genesis":
        line.finish(name, REPOSITORY)
        line.distribute()
    line.fail(name, "check_failed", "Two tests fail.")
    return name


def test_a_retried_project_goes_through_the_same_stage_again_and_that_counts_as_rework(line: Line) -> None:
    name = failed_in(line)
    assert decide(line, name, "retry", "Leave the tests alone.")["status"] == "active"
    item = line.item(name)
    assert (item["status"], item["rework_count"], item["task_id"]) == ("waiting", 1, "P-1-genesis")
    line.distribute()

    assert line.item(name)["status"] == "working"
    prompt = line.read(assignments.of_task, "P-1-genesis")["next_prompt"]
    assert "Two tests fail." in prompt
    assert "A review of it said: Leave the tests alone." in prompt


def test_work_that_was_merged_without_what_it_should_hand_over_is_done_anew_as_another_task(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.finish(name, {})
    assert line.item(name)["error_code"] == "output_missing"
    decide(line, name, "retry")
    line.distribute()

    assert line.item(name)["task_id"] == "P-1-genesis-2"
    prompt = line.read(assignments.of_task, "P-1-genesis-2")["next_prompt"]
    assert "The work of task P-1-genesis is merged, but" in prompt
    assert "repository_url" in prompt
    line.finish(name, REPOSITORY)
    assert line.item(name)["workflow"] == "development"


def test_a_rejected_project_is_over_and_so_is_its_task(line: Line) -> None:
    name = failed_in(line)
    assert decide(line, name, "reject", "Nobody wants it.")["status"] == "rejected"

    assert line.read(tasks.get, "P-1-genesis")["status"] == "cancelled"
    assert line.read(items.open_of, name) == []
    line.look()
    assert line.item(name)["status"] == "rejected"


def test_a_returned_project_goes_through_all_stages_from_there_again(line: Line) -> None:
    name = failed_in(line, stage="development")
    decide(line, name, "return", "The scaffold lacks a database.", "genesis")
    item = line.item(name)
    assert (item["workflow"], item["status"], item["rework_count"]) == ("genesis", "waiting", 1)
    assert line.item(name, "development")["status"] == "rejected"
    line.distribute()
    prompt = line.read(assignments.of_task, "P-1-genesis-2")["next_prompt"]
    assert "development failed: Two tests fail. The scaffold lacks a database." in prompt

    for output in (REPOSITORY, DEPLOYED, {}):
        line.finish(name, output)
        line.distribute()
    assert line.project(name)["status"] == "completed"


def test_without_a_stage_it_returns_to_the_one_before(line: Line) -> None:
    name = failed_in(line, stage="development")
    decide(line, name, "return", "Again.")
    assert line.item(name)["workflow"] == "genesis"


def test_a_completed_project_is_opened_again_and_is_to_be_deployed_anew(line: Line) -> None:
    name = line.dispatch(stage="development")
    for output in (DEPLOYED, {}):
        line.distribute()
        line.finish(name, output)
    assert line.project(name)["status"] == "completed"
    assert decide(line, name, "return", "The price is wrong.", "development")["status"] == "active"

    assert line.project(name)["deployment_url"] is None
    line.distribute()
    line.finish(name, {})
    assert line.read(items.open_of, name) == [], "it waits for its deployment"


def test_each_judgement_is_recorded_with_its_reason(line: Line) -> None:
    name = failed_in(line)
    decide(line, name, "retry", "Once more.")
    found = [row for row in line.read(events.of, "project", name) if row["kind"] == "project_judged"]
    assert [row["actor"] for row in found] == ["lead"]
    for word in ("retry", "Once more.", "check_failed", "genesis"):
        assert word in found[0]["data"]


def test_a_project_of_which_two_stages_wait_for_a_word_goes_on_after_the_second(line: Line) -> None:
    name = line.dispatch(stage="development")
    line.distribute()
    line.learn(name, DEPLOYED)
    line.run(flow.hand_over, line.pipeline, line.item(name))
    line.distribute()
    line.fail(name)  # content
    item = line.item(name, "development")
    line.run(flow.to_review, item, "agent_failed", "It broke.")

    assert decide(line, name, "retry", workflow="content")["status"] == "review"
    assert line.item(name, "development")["status"] == "review"
    assert decide(line, name, "retry")["status"] == "active"


def test_who_works_in_another_stage_for_a_rejected_project_is_ended(line: Line) -> None:
    name = line.dispatch(stage="development")
    line.distribute()
    line.learn(name, DEPLOYED)
    line.run(flow.hand_over, line.pipeline, line.item(name))
    agent = line.start(name, "development")
    line.distribute()
    line.fail(name)  # content
    decide(line, name, "reject", "Nobody wants it.")
    line.look()

    assert line.read(agents.get, agent)["kill_outcome"] == "release"
    line.end(agent)
    assert line.read(items.open_of, name) == []
    assert line.read(tasks.get, "P-1-development")["status"] == "cancelled"


@pytest.mark.parametrize(
    ("exit_", "why", "workflow", "error", "says"),
    [
        ("reject", "", "", InvalidInput, "reject needs a why"),
        ("return", "", "genesis", InvalidInput, "return needs a why"),
        ("return", "Again.", "content", InvalidInput, "cannot go back from development to content"),
        ("return", "Again.", "development", InvalidInput, "cannot go back from development"),
        ("return", "Again.", "genesys", WorkflowNotFound, "no workflow 'genesys'"),
        ("retry", "", "content", NoAvailableWork, "does not wait for a judgement in content"),
    ],
)
def test_a_wrong_judgement_is_refused_and_changes_nothing(
    line: Line, exit_: str, why: str, workflow: str, error: type[Exception], says: str
) -> None:
    name = failed_in(line, stage="development")
    with pytest.raises(error, match=says):
        decide(line, name, exit_, why, workflow)
    assert (line.item(name)["status"], line.project(name)["status"]) == ("review", "review")


def test_from_the_first_stage_there_is_no_way_back(line: Line) -> None:
    with pytest.raises(InvalidInput, match="cannot go back from genesis to an earlier stage"):
        decide(line, failed_in(line), "return", "Again.")


def test_what_flows_does_not_wait_for_a_judgement(line: Line) -> None:
    with pytest.raises(NoAvailableWork, match="it is active"):
        decide(line, line.dispatch(), "retry")


def test_what_was_rejected_is_not_opened_again(line: Line) -> None:
    name = failed_in(line)
    decide(line, name, "reject", "No.")
    with pytest.raises((IllegalTransition, NoAvailableWork)):
        decide(line, name, "return", "Yes.", "genesis")
