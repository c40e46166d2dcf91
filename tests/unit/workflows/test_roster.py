"""What is configured now is what holds, whatever was there before."""

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from crewyard.server.errors import InvalidInput
from crewyard.server.store import Store
from crewyard.server.workflow_sections import Workflows
from crewyard.server.workflows import capacity, flow, projects, reviews, roster, workers
from crewyard.server.workflows.capacity import Host
from crewyard.server.workflows.pipeline import Pipeline

from .line import REPOSITORY, SETTINGS, Line


def changed(line: Line, change: Any) -> Pipeline:
    settings = copy.deepcopy(SETTINGS)
    change(settings["stages"])
    line.pipeline = Pipeline(Workflows.model_validate(settings))
    return line.pipeline


def put_in_order(line: Line) -> None:
    line.run(roster.put_in_order, line.pipeline)
    assert line.read(roster.is_in_order, line.pipeline)


def there(line: Line, workflow: str) -> dict[str, str]:
    return {row["worker_id"]: row["agent_type"] for row in line.read(workers.present, workflow)}


def test_a_line_as_configured_is_in_order(line: Line) -> None:
    assert line.read(roster.is_in_order, line.pipeline)


def test_a_stage_with_another_agent_has_workers_of_that_type(line: Line) -> None:
    changed(line, lambda stages: stages["genesis"].update(agent="architect"))
    assert not line.read(roster.is_in_order, line.pipeline)
    put_in_order(line)
    assert there(line, "genesis") == {"genesis-01": "architect", "genesis-02": "architect"}


def test_who_is_at_work_becomes_as_configured_afterwards(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    changed(line, lambda stages: stages["genesis"].update(agent="architect"))
    put_in_order(line)
    assert there(line, "genesis") == {"genesis-01": "builder", "genesis-02": "architect"}

    line.finish(name, REPOSITORY)
    put_in_order(line)
    assert there(line, "genesis")["genesis-01"] == "architect"


def test_who_moves_to_another_stage_comes_there(line: Line) -> None:
    def rename(stages: dict[str, Any]) -> None:
        first = stages.pop("genesis")
        stages.update({"creation": first} | {name: stages.pop(name) for name in list(stages)})

    changed(line, rename)
    put_in_order(line)
    assert there(line, "genesis") == {}
    assert list(there(line, "creation")) == ["genesis-01", "genesis-02"]


def test_who_is_at_work_in_a_stage_that_is_gone_is_not_taken_from_it(line: Line) -> None:
    name = line.dispatch()
    line.distribute()

    def rename(stages: dict[str, Any]) -> None:
        stages["creation"] = stages.pop("genesis")

    changed(line, rename)
    put_in_order(line)
    assert list(there(line, "creation")) == ["genesis-02", "genesis-03"]
    assert line.worker("genesis-01")["status"] == "busy"
    assert line.item(name)["status"] == "working"


def test_who_is_in_no_roster_any_more_leaves(line: Line) -> None:
    changed(line, lambda stages: stages["genesis"].update(workers=[{"name": "ada"}, {"name": "bob"}]))
    put_in_order(line)
    assert "ada" in there(line, "genesis")


def test_workers_of_a_workflow_that_is_configured_no_more_leave(line: Line) -> None:
    changed(line, lambda stages: stages.pop("development"))
    put_in_order(line)
    assert there(line, "development") == {}


def test_what_waits_for_a_stage_that_is_gone_is_put_before_a_person(line: Line) -> None:
    name = line.dispatch()
    changed(line, lambda stages: stages.pop("genesis"))
    put_in_order(line)

    item = line.item(name)
    assert (item["status"], item["error_code"]) == ("review", "workflow_not_found")
    assert "development, content" in item["error_message"]


def test_with_fewer_workers_than_are_there_nobody_is_missed(store: Store) -> None:
    line = Line(store)
    changed(line, lambda stages: stages["genesis"].update(min_workers=1, max_workers=1, workers=[]))
    put_in_order(line)
    assert there(line, "genesis")


def test_with_a_lower_maximum_scaling_goes_on(line: Line) -> None:
    changed(line, lambda stages: stages["genesis"].update(min_workers=2, max_workers=6, workers=[]))
    put_in_order(line)
    for _ in range(4):
        line.run(workers.add, line.pipeline, "genesis", origin="scaled", why="much waits")
    changed(line, lambda stages: stages["genesis"].update(min_workers=1, max_workers=1, workers=[]))
    put_in_order(line)
    line.run(capacity.adjust, line.pipeline, Host((), {}))
    assert len(there(line, "genesis")) <= 2


def test_what_failed_in_a_stage_that_is_gone_goes_back_to_another_one(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.fail(name)
    changed(line, lambda stages: stages.pop("genesis"))
    with pytest.raises(InvalidInput, match="no workflow genesis any more"):
        line.run(reviews.decide, line.pipeline, reviews.Verdict(name, "retry", "again"))
    line.run(reviews.decide, line.pipeline, reviews.Verdict(name, "return", "there is another now", "development"))
    assert (line.item(name)["workflow"], line.item(name)["status"]) == ("development", "waiting")


def test_who_is_at_work_in_a_stage_that_is_gone_can_still_report(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    agent = line.start(name)
    changed(line, lambda stages: stages.pop("genesis"))
    for settings in (line.pipeline.settings, None):
        line.store.run(flow.report, settings, flow.Word(agent, "complete", output=REPOSITORY), now=line.now)


def test_a_raised_project_is_launched_by_its_level_also_where_a_worker_has_it(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.run(projects.set_priority, name, 1)
    assert line.task(name)["priority"] == 1


@pytest.mark.parametrize("pointer", ["#/$defs/nowhere", "https://example.org/schema.json", "other.json"])
def test_a_schema_that_refers_to_what_is_not_in_it_is_refused(pointer: str) -> None:
    settings = copy.deepcopy(SETTINGS)
    settings["stages"]["genesis"]["output"] = {"properties": {"url": {"$ref": pointer}}}
    with pytest.raises(ValidationError, match="leads nowhere"):
        Workflows.model_validate(settings)


def test_a_schema_may_refer_to_its_own_parts() -> None:
    settings = copy.deepcopy(SETTINGS)
    settings["stages"]["genesis"]["output"] = {
        "$defs": {"url": {"type": "string"}},
        "properties": {"url": {"$ref": "#/$defs/url"}},
    }
    Workflows.model_validate(settings)
