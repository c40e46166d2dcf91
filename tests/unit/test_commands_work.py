"""find-available-work, create-parallel-tasks, coordinate-dependencies: one test a requirement (R-079 to R-096)."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from crewyard import ClaudeAgentInvoker
from crewyard.server import assignments, clock, dispatches, plans, why
from crewyard.server.readers import read_data
from crewyard.server.store import Store, Transaction

Invoke = Callable[..., dict[str, Any]]
PLAN = {
    "specs": [{"id": "SPEC-1", "title": "The engine"}],
    "tasks": [
        {"task_id": "late", "title": "late", "priority": 8},
        {"task_id": "long", "title": "long", "priority": 2, "estimated_hours": 5, "spec_id": "SPEC-1"},
        {"task_id": "short", "title": "short", "priority": 2, "estimated_hours": 1, "spec_id": "SPEC-1"},
        {"task_id": "half", "title": "half", "depends_on": ["short", "long"]},
        {"task_id": "end", "title": "end", "depends_on": ["half"]},
        {"task_id": "page", "title": "page", "files": ["docs/"]},
        {"task_id": "index", "title": "index", "files": ["docs/index.md"]},
    ],
}


@pytest.fixture
def database(git_repo: Path) -> Path:
    return git_repo / "data" / "orchestrator.db"


@pytest.fixture
def planned(store: Store) -> Store:
    store.run(plans.import_plan, read_data(PLAN), now=clock.now(), actor="test", agent_types=set())
    return store


@pytest.fixture
def invoke(git_repo: Path, planned: Store) -> Invoke:
    def call(name: str, **parameters: Any) -> dict[str, Any]:
        return ClaudeAgentInvoker(repo=git_repo).invoke_command(name, parameters)

    return call


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in store.read(lambda tx: tx.all(sql))]


def ids(answer: dict[str, Any]) -> list[str]:
    return [each["task_id"] for each in answer["available_tasks"]]


# ------------------------------------------------------------------------------------------ find-available-work


def test_r079_what_waits_for_nothing_comes_by_priority_then_by_the_longest_way_and_by_hours(invoke: Invoke) -> None:
    assert ids(invoke("find-available-work", MAX_PARALLEL=9)) == ["long", "short", "index", "page", "late"]


def test_r080_a_task_with_one_open_blocker_of_two_is_not_found(invoke: Invoke) -> None:
    invoke("coordinate-dependencies", TASK_ID="long", NEW_STATUS="completed")
    assert "half" not in ids(invoke("find-available-work", MAX_PARALLEL=9))
    invoke("coordinate-dependencies", TASK_ID="short", NEW_STATUS="completed")
    assert "half" in ids(invoke("find-available-work", MAX_PARALLEL=9))


def test_r081_a_number_may_be_text(invoke: Invoke) -> None:
    assert len(ids(invoke("find-available-work", MAX_PARALLEL="2"))) == 2


def test_r082_filters_and_their_defaults(invoke: Invoke) -> None:
    assert len(ids(invoke("find-available-work"))) == 4
    assert ids(invoke("find-available-work", PRIORITY_FILTER="high")) == ["long", "short"]
    assert ids(invoke("find-available-work", PRIORITY_FILTER="low")) == ["late"]
    blocked = invoke("find-available-work", MAX_PARALLEL="9", EXCLUDE_BLOCKED="false", RESOURCE_CHECK="no")
    assert {"half", "end"} < set(ids(blocked))
    assert blocked["resource_available"] is None


def test_r083_what_an_agent_has_in_hand_is_not_found(invoke: Invoke) -> None:
    invoke("create-parallel-tasks", TASKS="long")
    assert "long" not in ids(invoke("find-available-work", MAX_PARALLEL=9))


def test_r084_each_task_is_told_with_its_specification_and_dependencies(invoke: Invoke) -> None:
    answer = invoke("find-available-work", MAX_PARALLEL=9, EXCLUDE_BLOCKED=False)
    found = {each["task_id"]: each for each in answer["available_tasks"]}
    assert found["long"]["spec_title"] == "The engine"
    assert found["half"]["dependencies"] == {"total": 2, "completed": 0, "blocked": 2}
    assert (found["long"]["can_parallelize"], found["half"]["can_parallelize"]) == (True, False)
    assert (answer["total_available"], answer["next_check_in_seconds"]) == (7, 30)


def test_r085_without_work_it_says_when_to_look_again_within_a_second_and_writes_nothing(
    invoke: Invoke, planned: Store
) -> None:
    planned.run(lambda tx: tx.run("UPDATE specs_task SET status = 'cancelled'"))
    before = rows(planned, "SELECT count(*) FROM event")
    began = time.process_time()
    answer = invoke("find-available-work")
    assert time.process_time() - began < 1
    assert (answer["success"], answer["error"], answer["next_check_in_seconds"]) == (False, "no_available_work", 60)
    assert rows(planned, "SELECT count(*) FROM event") == before


# ---------------------------------------------------------------------------------------- create-parallel-tasks


def test_r086_chosen_tasks_are_assigned_in_one_transaction(invoke: Invoke, planned: Store) -> None:
    invoke("create-parallel-tasks", TASKS="long,short")
    assert rows(planned, "SELECT task_id, status FROM orchestrator_task ORDER BY task_id") == [
        ("long", "assigned"), ("short", "assigned"),
    ]  # fmt: skip
    assert rows(planned, "SELECT task_id FROM specs_task WHERE status = 'assigned' ORDER BY 1") == [
        ("long",), ("short",),
    ]  # fmt: skip
    events = rows(planned, "SELECT to_state FROM event WHERE subject_type = 'task' AND to_state = 'assigned'")
    assert len(events) == 2


def test_r087_a_task_may_be_named_with_its_specification_priority_and_hours(invoke: Invoke, planned: Store) -> None:
    task = {"task_id": "long", "spec_id": "SPEC-1", "priority": "high", "estimated_hours": "3"}
    answer = invoke(
        "create-parallel-tasks",
        TASKS=json.dumps([task]),
        MAX_PARALLEL="4",
        ORCHESTRATOR_INSTANCE_ID="orch-20260101-001",
    )
    assert answer["success"], answer
    assert rows(planned, "SELECT priority, estimated_hours, orchestrator_instance_id FROM orchestrator_task") == [
        (2, 3.0, "orch-20260101-001")
    ]
    assert rows(planned, "SELECT estimated_hours FROM specs_task WHERE task_id = 'long'") == [(5.0,)], "C-21"


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ([{"task_id": "../up"}], "task_not_found"),
        ([{"task_id": "long", "spec_id": "SPEC-2"}], "invalid_input"),
        ([{"task_id": "long", "priority": "soon"}], "invalid_input"),
        ([{"task_id": "long", "estimated_hours": 0}], "invalid_input"),
        (["long", "long"], "invalid_input"),
        (["long", "short", "late", "page", "half"], "resource_exhaustion"),
        (["half"], "no_available_work"),
    ],
)
def test_r088_each_fault_is_found(invoke: Invoke, planned: Store, tasks: list[Any], code: str) -> None:
    answer = invoke("create-parallel-tasks", TASKS=tasks)
    assert code in [each["error"] for each in answer["failed_tasks"]] or code == "resource_exhaustion"
    assert rows(planned, "SELECT * FROM orchestrator_task") == []


def test_r088_more_than_max_parallel_in_hand_are_refused(invoke: Invoke) -> None:
    assert invoke("create-parallel-tasks", TASKS="long,short", MAX_PARALLEL=2)["success"]
    answer = invoke("create-parallel-tasks", TASKS="late", MAX_PARALLEL=2)
    assert [each["error"] for each in answer["failed_tasks"]] == ["resource_exhaustion"]


def test_r089_the_answer_names_each_row(invoke: Invoke, planned: Store) -> None:
    answer = invoke("create-parallel-tasks", TASKS="long")
    [created] = answer["created_tasks"]
    assert rows(planned, "SELECT orchestrator_task_id, created_at FROM orchestrator_task") == [
        (created["orchestrator_id"], created["created_at"])
    ]
    assert (created["status"], created["retry_count"], answer["total_created"]) == ("assigned", 0, 1)


def test_r090_one_fault_leaves_no_row_and_is_recorded(invoke: Invoke, planned: Store) -> None:
    answer = invoke("create-parallel-tasks", TASKS="long,half")
    assert (answer["error"], answer["created_count"]) == ("validation_failed", 0)
    assert [each["task_id"] for each in answer["failed_tasks"]] == ["half"]
    assert rows(planned, "SELECT * FROM orchestrator_task") == []
    assert rows(planned, "SELECT status FROM specs_task WHERE task_id = 'long'") == [("ready",)]
    [(data,)] = rows(planned, "SELECT data FROM event WHERE kind = 'refused'")
    assert json.loads(data)["code"] == "validation_failed"


def test_r091_who_waits_for_another_or_shares_its_files_does_not_run_beside_it(invoke: Invoke) -> None:
    answer = invoke("create-parallel-tasks", TASKS="page,index")
    assert [each["task_id"] for each in answer["failed_tasks"]] == ["index"]
    assert "page" in answer["failed_tasks"][0]["message"]
    assert [each["task_id"] for each in invoke("create-parallel-tasks", TASKS="short,half")["failed_tasks"]] == ["half"]
    assert invoke("create-parallel-tasks", TASKS="page,short,late")["resource_available"] in (True, False)


def test_no_agent_is_started_for_a_reserved_task_before_somebody_asks(invoke: Invoke, planned: Store) -> None:
    invoke("create-parallel-tasks", TASKS="long")
    assert planned.read(assignments.waiting, now=clock.now()) == []
    told = planned.read(why.explain, "long", now=clock.now(), bounds=why.Bounds("builder", {}, auto_approve=True))
    assert "reserved" in told.because


def test_a_dispatch_that_covers_a_reserved_task_works_it_off(invoke: Invoke, planned: Store) -> None:
    invoke("create-parallel-tasks", TASKS="long")
    planned.run(dispatches.open_or_join, ["long"], max_parallel=1, agent_type=None, now=clock.now(), actor="lead")
    assert rows(planned, "SELECT status FROM specs_task WHERE task_id = 'long'") == [("ready",)]
    assert rows(planned, "SELECT status FROM orchestrator_task") == [("cancelled",)]


# -------------------------------------------------------------------------------------- coordinate-dependencies


def test_r092_r094_what_waited_for_nothing_else_becomes_ready(invoke: Invoke, planned: Store) -> None:
    first = invoke("coordinate-dependencies", TASK_ID="long", NEW_STATUS="completed")
    assert (first["dependencies_resolved"], first["dependent_tasks_unblocked"]) == (1, [])
    second = invoke("coordinate-dependencies", TASK_ID="short", NEW_STATUS="completed")
    assert (second["action"], second["dependent_tasks_unblocked"]) == ("update_status", ["half"])
    edges = "SELECT dependency_status FROM specs_task_dependency WHERE dependent_task_id = 'half'"
    assert rows(planned, edges) == [("completed",)] * 2
    assert rows(planned, "SELECT status FROM specs_task WHERE task_id = 'half'") == [("ready",)]
    assert rows(planned, "SELECT status FROM specs_task WHERE task_id = 'end'") == [("pending",)]


def test_r093_its_parameters_are_needed_and_recorded(invoke: Invoke, planned: Store) -> None:
    assert invoke("coordinate-dependencies", ACTION="update_status", TASK_ID="long")["parameter"] == "NEW_STATUS"
    assert invoke("coordinate-dependencies", NEW_STATUS="completed")["parameter"] == "TASK_ID"
    given = {"TASK_ID": "long", "NEW_STATUS": "completed", "ORCHESTRATOR_INSTANCE_ID": "orch-20260101-002"}
    invoke("coordinate-dependencies", **given)
    [*_, (data,)] = rows(planned, "SELECT data FROM event WHERE kind = 'invoked' ORDER BY event_id")
    assert json.loads(data)["parameters"] == given


def circle(tx: Transaction) -> None:
    """``long`` waits for ``end``, past the domain, which refuses such a plan."""
    tx.run(
        "INSERT INTO specs_task_dependency (blocking_task_id, dependent_task_id, created_at) "
        "VALUES ('end', 'long', '2026-01-01T00:00:00.000Z')"
    )
    tx.run("UPDATE specs_task SET status = 'pending', unmet_blockers = 1 WHERE task_id = 'long'")


def test_r095_circles_are_found_and_the_graph_is_checked(invoke: Invoke, planned: Store) -> None:
    assert invoke("coordinate-dependencies", ACTION="check_deadlocks")["deadlocks_detected"] == 0
    sound = invoke("coordinate-dependencies", ACTION="validate_graph")
    assert (sound["total_tasks"], sound["total_dependencies"], sound["valid"], sound["issues"]) == (7, 3, True, [])
    planned.run(circle)
    found = invoke("coordinate-dependencies", ACTION="check_deadlocks")
    assert found["deadlocks_detected"] == 1
    assert set(found["circular_dependencies"][0]["affected_tasks"]) == {"long", "half", "end"}
    planned.run(lambda tx: tx.run("UPDATE specs_task SET unmet_blockers = 3 WHERE task_id = 'half'"))
    broken = invoke("coordinate-dependencies", ACTION="validate_graph")
    assert broken["valid"] is False
    assert any("half counts 3" in issue for issue in broken["issues"])


def test_r096_tasks_in_a_circle_are_held_until_it_is_resolved(invoke: Invoke, planned: Store, database: Path) -> None:
    planned.run(circle)
    answer = invoke("coordinate-dependencies", TASK_ID="half", NEW_STATUS="ready")
    assert (answer["success"], answer["error"]) == (False, "dependency_cycle")
    assert set(answer["affected_tasks"]) == {"long", "half", "end"}
    assert answer["circular_chain"][0] == answer["circular_chain"][-1]
    assert {"long", "half", "end"}.isdisjoint(ids(invoke("find-available-work", MAX_PARALLEL=9)))
    assert invoke("create-parallel-tasks", TASKS="long")["error"] == "validation_failed"
    with closing(sqlite3.connect(database)) as raw:
        raw.execute("PRAGMA foreign_keys = ON")
        orphan = (
            "INSERT INTO specs_task_dependency (blocking_task_id, dependent_task_id, created_at) "
            "VALUES ('no', 'long', '')"
        )
        with pytest.raises(sqlite3.IntegrityError):
            raw.execute(orphan)
