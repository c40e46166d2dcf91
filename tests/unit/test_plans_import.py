"""Importing a plan: once it is there, again it changes nothing, changed it moves what has not started."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewyard.server import plans, tasks
from crewyard.server.errors import DependencyCycle, PlanRefused, TaskNotFound
from crewyard.server.readers import TaskDraft, read_data, read_plan
from crewyard.server.readers.draft import PlanDraft
from crewyard.server.store import Row, Store, Transaction

PLANS = Path(__file__).parents[1] / "plans"
NOW = "2026-01-01T00:00:00.000Z"
LATER = "2026-01-02T00:00:00.000Z"


def bring(store: Store, given_tasks: Any, now: str = NOW, **options: Any) -> plans.ImportReport:
    known = store.read(plans.known_ids)
    return store.run(plans.import_plan, read_data(given_tasks, known=known), now=now, actor="test", **options)


def task(task_id: str, *depends_on: str, **values: Any) -> dict[str, Any]:
    return {"task_id": task_id, "title": task_id, "depends_on": list(depends_on), **values}


def states(store: Store) -> dict[str, tuple[str, int]]:
    rows = store.read(lambda tx: tx.all("SELECT task_id, status, unmet_blockers FROM specs_task"))
    return {row[0]: (row[1], row[2]) for row in rows}


def column(store: Store, task_id: str, name: str) -> Any:
    return store.read(lambda tx: tasks.get(tx, task_id)[name])


def events_of(store: Store) -> list[tuple[str, str]]:
    rows = store.read(lambda tx: tx.all("SELECT kind, subject_id FROM event ORDER BY event_id"))
    return [(row[0], row[1]) for row in rows]


def everything(store: Store) -> list[list[tuple[Any, ...]]]:
    names = ("specs_task", "specs_task_dependency", "specs_specification", "roadmap_priority", "event")
    return store.read(lambda tx: [[tuple(row) for row in tx.all(f"SELECT * FROM {name}")] for name in names])


def set_state(store: Store, task_id: str, status: str) -> None:
    def change(tx: Transaction) -> int:
        return tx.run("UPDATE specs_task SET status = ?, error_code = 'x' WHERE task_id = ?", (status, task_id))

    store.run(change)


# ------------------------------------------------------------------------------------------------ a new plan


def test_every_field_reaches_its_column(store: Store) -> None:
    store.run(plans.import_plan, read_plan((PLANS / "small.json").read_bytes(), name="small.json"), now=NOW, actor="me")
    row: Row = store.read(lambda tx: tasks.get(tx, "GREET-1"))
    assert (row["title"], row["description"], row["spec_id"]) == (
        "Write the greeting",
        "Put it into greet.py.",
        "SPEC-1",
    )
    assert (row["priority"], row["estimated_hours"], row["remaining_hours"]) == (2, 2.0, 3.0)
    assert json.loads(row["files"]) == ["greet.py"]
    assert json.loads(row["check_command"]) == ["python3", "greet.py"]
    assert (row["created_at"], row["position"]) == (NOW, 0)
    assert column(store, "GREET-2", "agent_type") == "translator"
    assert column(store, "GREET-2", "position") == 1


def test_what_waits_for_nothing_is_ready_and_the_rest_pending(store: Store) -> None:
    report = bring(store, [task("a"), task("b", "a"), task("c", "a", "b"), task("d", soft_depends_on=["a"])])
    assert states(store) == {"a": ("ready", 0), "b": ("pending", 1), "c": ("pending", 2), "d": ("ready", 0)}
    assert (report.tasks_added, report.tasks_updated, report.tasks_unchanged) == (["a", "b", "c", "d"], [], 0)
    assert report.dependencies_added == 4


def test_what_has_ended_comes_in_ended_and_blocks_nobody(store: Store) -> None:
    bring(store, [task("a", status="completed"), task("b", "a"), task("c", status="cancelled"), task("d", "b", "a")])
    assert states(store) == {"a": ("completed", 0), "b": ("ready", 0), "c": ("cancelled", 0), "d": ("pending", 1)}
    assert column(store, "a", "completed_at") == NOW
    edges = store.read(lambda tx: tx.all("SELECT dependency_status, resolved_at FROM specs_task_dependency"))
    assert sorted(tuple(edge) for edge in edges)[:2] == [("completed", NOW), ("completed", NOW)]


def test_a_dependency_on_a_cancelled_task_is_a_warning(store: Store) -> None:
    report = bring(store, [task("a", status="cancelled"), task("b", "a"), task("c", "a")])
    assert report.warnings == ["task a is cancelled, so that b, c cannot start"]
    assert states(store)["b"] == ("pending", 1)


def test_one_event_for_the_plan_and_one_for_each_task(store: Store) -> None:
    bring(store, [task("a"), task("b", "a")])
    assert events_of(store) == [("plan_imported", "tasks"), ("task_added", "a"), ("task_added", "b")]
    to_states = store.read(
        lambda tx: [row[0] for row in tx.all("SELECT to_state FROM event WHERE kind = 'task_added'")]
    )
    assert to_states == ["ready", "pending"]


def test_a_specification_that_tasks_only_name_is_made(store: Store) -> None:
    bring(store, [task("a", spec_id="S", priority_id="P")])
    assert store.read(lambda tx: tx.value("SELECT title FROM specs_specification WHERE id = 'S'")) == "S"
    assert store.read(lambda tx: tx.value("SELECT title FROM roadmap_priority WHERE id = 'P'")) == "P"
    bring(store, {"specs": [{"spec_id": "S", "title": "Told"}], "tasks": [task("b", spec_id="S")]})
    bring(store, [task("c", spec_id="S")])
    assert store.read(lambda tx: tx.value("SELECT title FROM specs_specification WHERE id = 'S'")) == "Told"


def test_warnings_of_the_reader_are_in_the_report(store: Store) -> None:
    assert "'owner'" in bring(store, [task("a", owner="x")]).warnings[0]


# ------------------------------------------------------------------------------------------------ again


@pytest.mark.parametrize("name", ["small.json", "small.yaml", "small.md", "taskmaster.json", "issues.jsonl"])
def test_the_same_plan_again_changes_nothing(store: Store, name: str) -> None:
    draft = read_plan((PLANS / name).read_bytes(), name=name)
    first = store.run(plans.import_plan, draft, now=NOW, actor="test")
    before = everything(store)
    again = store.run(plans.import_plan, draft, now=LATER, actor="test")
    assert everything(store) == before
    assert (again.tasks_added, again.tasks_updated, again.dependencies_added) == ([], [], 0)
    assert again.tasks_unchanged == len(first.tasks_added)


def test_the_same_plan_again_changes_nothing_while_it_is_worked_on(store: Store) -> None:
    plan = [task("a"), task("b", "a"), task("c", "b")]
    bring(store, plan)
    store.run(tasks.complete, "a", now=NOW, actor="test")
    set_state(store, "b", "in_progress")
    before = everything(store)
    assert bring(store, plan, now=LATER).warnings == []
    assert everything(store) == before


# ------------------------------------------------------------------------------------------------ a changed plan


def test_changed_fields_of_what_has_not_started_are_updated(store: Store) -> None:
    bring(store, [task("a"), task("b", "a")])
    report = bring(store, [task("a", priority=1), task("b", "a", title="new", estimated_hours=4)], now=LATER)
    assert (report.tasks_updated, report.tasks_unchanged) == (["a", "b"], 0)
    assert (column(store, "a", "priority"), column(store, "b", "title")) == (1, "new")
    assert column(store, "a", "remaining_hours") == 5.0
    assert column(store, "a", "updated_at") == LATER
    assert events_of(store)[-3:] == [("plan_imported", "tasks"), ("task_updated", "a"), ("task_updated", "b")]


def test_added_and_removed_dependencies_move_tasks_between_ready_and_pending(store: Store) -> None:
    bring(store, [task("a"), task("b", "a"), task("c")])
    report = bring(store, [task("a", "c"), task("b"), task("c")])
    assert states(store) == {"a": ("pending", 1), "b": ("ready", 0), "c": ("ready", 0)}
    assert (report.dependencies_added, report.dependencies_removed) == (1, 1)
    assert report.tasks_updated == ["a", "b"]
    assert {("task_pending", "a"), ("task_ready", "b")} <= set(events_of(store))


def test_a_dependency_that_turns_soft_blocks_no_more(store: Store) -> None:
    bring(store, [task("a"), task("b", "a")])
    bring(store, [task("a"), task("b", soft_depends_on=["a"])])
    assert states(store)["b"] == ("ready", 0)


def test_a_new_dependency_on_what_is_completed_is_met(store: Store) -> None:
    bring(store, [task("a"), task("b")])
    store.run(tasks.complete, "a", now=NOW, actor="test")
    bring(store, [task("a"), task("b", "a")])
    assert states(store)["b"] == ("ready", 0)


def test_tasks_that_the_plan_no_longer_names_stay(store: Store) -> None:
    bring(store, [task("a"), task("b", "a")])
    assert bring(store, [task("a")]).tasks_unchanged == 1
    assert set(states(store)) == {"a", "b"}


def test_a_task_that_the_plan_now_calls_completed_sets_free_what_waits(store: Store) -> None:
    bring(store, [task("a"), task("b", "a")])
    report = bring(store, [task("a", status="completed"), task("b", "a"), task("c", "a")], now=LATER)
    assert states(store) == {"a": ("completed", 0), "b": ("ready", 0), "c": ("ready", 0)}
    assert report.tasks_updated == ["a"]
    bring(store, [task("b", status="cancelled")])
    assert states(store)["b"][0] == "cancelled"


@pytest.mark.parametrize("status", ["assigned", "in_progress", "failed"])
def test_a_change_to_what_has_started_is_ignored_with_a_warning(store: Store, status: str) -> None:
    bring(store, [task("a"), task("b")])
    set_state(store, "a", status)
    before = everything(store)
    for changed in (
        task("a", priority=1),
        task("a", "b"),
        task("a", status="completed"),
        task("a", status="cancelled"),
    ):
        report = bring(store, [changed, task("b")])
        assert report.warnings == [f"task a is {status}: its change in the plan is ignored"]
        assert (report.tasks_updated, report.dependencies_added) == ([], 0)
    assert everything(store) == before


def test_a_change_to_what_is_completed_is_ignored_with_a_warning(store: Store) -> None:
    bring(store, [task("a", status="completed")])
    report = bring(store, [task("a", title="new")])
    assert "is completed" in report.warnings[0]
    assert column(store, "a", "title") == "a"


def test_a_changed_specification_is_brought_up_to_date(store: Store) -> None:
    for content in ("one", "two"):
        bring(store, {"specs": [{"spec_id": "S", "content": content}], "tasks": [task("a", spec_id="S")]})
    assert store.read(lambda tx: tx.value("SELECT content FROM specs_specification")) == "two"
    assert [kind for kind, _ in events_of(store)].count("plan_imported") == 2


# ------------------------------------------------------------------------------------------------ refusals


def test_a_plan_may_wait_for_tasks_of_the_database(store: Store) -> None:
    bring(store, [task("old")])
    bring(store, [task("new", "old")])
    assert states(store)["new"] == ("pending", 1)


def test_a_circle_through_the_database_is_refused_and_nothing_changes(store: Store) -> None:
    bring(store, [task("a"), task("b", "a")])
    before = everything(store)
    with pytest.raises(DependencyCycle) as caught:
        bring(store, [task("c", "b"), task("a", "c"), task("d")])
    assert set(caught.value.details["chain"]) == {"a", "b", "c"}
    assert everything(store) == before


def test_a_task_that_waits_for_itself_is_refused_even_past_the_readers(store: Store) -> None:
    draft = PlanDraft((TaskDraft("a", "a", depends_on=("a",)),))
    with pytest.raises(DependencyCycle):
        store.run(plans.import_plan, draft, now=NOW, actor="test")


def test_a_task_that_vanished_meanwhile_is_a_refusal(store: Store) -> None:
    draft = read_data([task("a", "gone", "lost")], known={"gone", "lost"})
    with pytest.raises(PlanRefused, match="gone, lost"):
        store.run(plans.import_plan, draft, now=NOW, actor="test")
    assert states(store) == {}


def test_an_id_that_differs_from_one_in_the_database_only_in_case_is_refused(store: Store) -> None:
    bring(store, [task("Ab")])
    with pytest.raises(PlanRefused, match="only in case"):
        store.run(plans.import_plan, read_data([task("aB")]), now=NOW, actor="test")


def test_an_agent_type_that_is_not_configured_is_refused_with_the_nearest(store: Store) -> None:
    plan = [task("a", agent_type="code_develper"), task("b", agent_type="poet"), task("c")]
    with pytest.raises(PlanRefused, match="code_develper") as caught:
        bring(store, plan, agent_types={"code_developer", "architect"})
    assert "'code_developer'" in caught.value.hint
    assert states(store) == {}
    bring(store, plan, agent_types=None)


# ------------------------------------------------------------------------------------------------ out again


@pytest.mark.parametrize("name", ["small.json", "small.md", "taskmaster.json", "issues.jsonl"])
def test_an_exported_plan_comes_in_unchanged(store: Store, tmp_path: Path, name: str) -> None:
    draft = read_plan((PLANS / name).read_bytes(), name=name)
    store.run(plans.import_plan, draft, now=NOW, actor="test")
    text = json.dumps(store.read(plans.export_plan))
    exported = read_plan(text, name="export.json")
    assert exported.warnings == ()
    before = everything(store)
    report = store.run(plans.import_plan, exported, now=LATER, actor="test")
    assert (report.tasks_updated, report.tasks_unchanged) == ([], len(draft.tasks))
    assert everything(store) == before
    other = Store(tmp_path / "other" / "orchestrator.db")
    other.run(plans.import_plan, exported, now=NOW, actor="test")
    assert json.dumps(other.read(plans.export_plan)) == text
    other.close()


def test_an_export_keeps_the_plans_order(store: Store) -> None:
    bring(store, [task("z"), task("a", "z"), task("m")])
    bring(store, [task("b")])
    assert [each["task_id"] for each in store.read(plans.export_plan)["tasks"]] == ["z", "a", "m", "b"]


def test_a_part_of_a_plan_can_be_exported(store: Store) -> None:
    bring(
        store,
        {
            "specs": [{"spec_id": "S"}],
            "priorities": [{"priority_id": "P"}],
            "tasks": [task("a", spec_id="S"), task("b", "a", priority_id="P")],
        },
    )
    part = store.read(plans.export_plan, ["b"])
    assert [each["task_id"] for each in part["tasks"]] == ["b"]
    assert (part["tasks"][0]["depends_on"], part["specs"]) == (["a"], [])
    assert part["priorities"][0]["priority_id"] == "P"
    with pytest.raises(TaskNotFound):
        store.read(plans.export_plan, ["z"])


# ------------------------------------------------------------------------------------------------ at large


def test_a_thousand_tasks_come_in_with_all_their_dependencies(store: Store) -> None:
    plan = [task(f"T{n}", *{f"T{n - back}" for back in (1, 7, 31) if n >= back}) for n in range(1_000)]
    draft = read_data(plan)
    report = store.run(plans.import_plan, draft, now=NOW, actor="test")
    assert (len(report.tasks_added), report.dependencies_added) == (1_000, 2_961)


IDS = "abcdef"
one_task = st.fixed_dictionaries(
    {
        "hard": st.sets(st.sampled_from(IDS), max_size=3),
        "soft": st.sets(st.sampled_from(IDS), max_size=2),
        "status": st.sampled_from(["pending", "pending", "pending", "completed", "cancelled"]),
        "hours": st.integers(1, 3),
    }
)
one_plan = st.dictionaries(st.sampled_from(IDS), one_task, min_size=1)
one_step = st.one_of(one_plan, st.tuples(st.sampled_from(["assigned", "complete"]), st.sampled_from(IDS)))


@settings(max_examples=60, deadline=None)
@given(st.lists(one_step, max_size=6))
def test_after_any_imports_the_counters_equal_a_recount(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "data" / "orchestrator.db")
        for step in steps:
            have = states(store)
            if isinstance(step, tuple):
                verb, task_id = step
                if verb == "complete" and have.get(task_id, ("completed",))[0] not in ("completed", "cancelled"):
                    store.run(tasks.complete, task_id, now=NOW, actor="test")
                elif have.get(task_id, ("",))[0] == "ready":
                    set_state(store, task_id, "assigned")
            else:
                _import_or_refuse(store, step)
            _assert_counters(store)
        store.close()


def _import_or_refuse(store: Store, plan: dict[str, Any]) -> None:
    drafts = tuple(
        TaskDraft(
            task_id,
            task_id,
            estimated_hours=float(each["hours"]),
            status=each["status"],
            depends_on=tuple(sorted(each["hard"])),
            soft_depends_on=tuple(sorted(each["soft"])),
        )
        for task_id, each in plan.items()
    )
    before = everything(store)
    try:
        store.run(plans.import_plan, PlanDraft(drafts), now=NOW, actor="test")
    except (DependencyCycle, PlanRefused):
        assert everything(store) == before
    else:
        middle = everything(store)
        store.run(plans.import_plan, PlanDraft(drafts), now=LATER, actor="test")
        assert everything(store) == middle


def _assert_counters(store: Store) -> None:
    rows = store.read(
        lambda tx: tx.all(
            "SELECT t.task_id, t.status, t.unmet_blockers, (SELECT count(*) FROM specs_task_dependency d "
            "JOIN specs_task b ON b.task_id = d.blocking_task_id WHERE d.dependent_task_id = t.task_id "
            "AND d.dependency_type = 'hard' AND b.status <> 'completed') AS recount FROM specs_task t"
        )
    )
    for row in rows:
        assert row["unmet_blockers"] == row["recount"], tuple(row)
        if row["status"] in ("pending", "ready"):
            assert (row["status"] == "ready") == (row["recount"] == 0), tuple(row)
