"""What is configured now is what holds, whatever was there before."""

import copy
from typing import Any

from crewyard.server.store import Store
from crewyard.server.workflow_sections import Workflows
from crewyard.server.workflows import roster, workers
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
