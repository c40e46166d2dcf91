"""The documents' own queries, word for word where they can be, on the real schema (contract 7)."""

from typing import Any

import pytest

from crewyard.server import tasks
from crewyard.server.store import IntegrityError, Store

NOW = "2026-01-01T00:00:00.000Z"
ZEROS = "0" * 40

# Document 002: available is a task with no open blocker (R-180; C-25 mends the document's own WHERE).
AVAILABLE = """
    SELECT t.task_id
    FROM specs_task AS t
    LEFT JOIN specs_task_dependency AS d ON d.dependent_task_id = t.task_id AND d.dependency_type = 'hard'
    LEFT JOIN specs_task AS blocker ON blocker.task_id = d.blocking_task_id
    WHERE t.status IN ('pending', 'ready')
    GROUP BY t.task_id
    HAVING sum(CASE WHEN d.dependency_id IS NULL OR blocker.status = 'completed' THEN 0 ELSE 1 END) = 0
    ORDER BY t.priority, t.task_id
"""

HEALTH = """
    SELECT agent_id, (julianday('now') - julianday(last_heartbeat)) * 24 * 60 * 60 AS seconds_since_heartbeat
    FROM agent_lifecycle
    WHERE status = 'running' AND (julianday('now') - julianday(last_heartbeat)) * 24 * 60 * 60 > 300
"""

INBOX = """
    SELECT id, sender, recipient, type, content, priority, created_at FROM tasks
    WHERE recipient = ? AND status = 'pending' ORDER BY priority, created_at
"""

ANALYTICS = """
    SELECT task_type, AVG(duration_ms) AS average, MIN(duration_ms) AS fastest, MAX(duration_ms) AS slowest,
           COUNT(*) AS n
    FROM metrics WHERE timestamp >= datetime('now', '-7 days') GROUP BY task_type ORDER BY average DESC
"""

STATE_COLUMNS = (
    "task_id", "worktree_path", "branch_name", "status", "created_at", "git_commit_ref", "merged_at",
    "merge_commit_ref", "cleaned_at", "orchestrator_instance_id",
)  # fmt: skip


@pytest.fixture
def put(store: Store, insert: Any) -> Any:
    """``put(table, **columns)``: one row, in a transaction of its own."""
    return lambda table, **columns: store.run(insert, table, **columns)


@pytest.fixture
def put_task(put: Any) -> Any:
    def put_one(task_id: str, status: str, **columns: Any) -> None:
        tied = {"completed": {"completed_at": NOW}, "failed": {"error_code": "x"}}.get(status, {})
        put(
            "specs_task",
            task_id=task_id,
            title=task_id,
            status=status,
            created_at=NOW,
            updated_at=NOW,
            **tied,
            **columns,
        )

    return put_one


def rows(store: Store, sql: str, *parameters: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in store.read(lambda tx: tx.all(sql, parameters))]


def test_available_are_tasks_without_an_open_blocker(store: Store, put: Any, put_task: Any) -> None:
    put_task("done", "completed")
    put_task("open", "in_progress")
    put_task("free", "pending", priority=2)
    put_task("after-done", "ready", priority=1)
    put_task("after-both", "pending")
    put_task("after-open", "pending")
    put_task("after-open-softly", "pending", priority=3)
    edges = [("done", "after-done"), ("done", "after-both"), ("open", "after-both"), ("open", "after-open")]
    for blocking, dependent in edges:
        put("specs_task_dependency", blocking_task_id=blocking, dependent_task_id=dependent, created_at=NOW)
    put(
        "specs_task_dependency",
        blocking_task_id="open",
        dependent_task_id="after-open-softly",
        dependency_type="soft",
        created_at=NOW,
    )

    assert [row["task_id"] for row in rows(store, AVAILABLE)] == ["after-done", "free", "after-open-softly"]


def test_the_health_query_finds_running_agents_that_are_silent_for_long(store: Store, put: Any) -> None:
    for agent, status, beat in [
        ("silent", "running", "-400 seconds"),
        ("lively", "running", "-10 seconds"),
        ("over", "completed", "-400 seconds"),
    ]:
        last = store.read(lambda tx, beat=beat: tx.value("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)", (beat,)))
        put(
            "agent_lifecycle",
            agent_id=agent, agent_type=agent, kind="command", status=status, workspace="/w", run_dir="/r", term=1,
            pid=1, created_at=NOW, started_at=NOW, last_heartbeat=last,
            completed_at=NOW if status == "completed" else None,
        )  # fmt: skip

    [found] = rows(store, HEALTH)
    assert found["agent_id"] == "silent"
    assert found["seconds_since_heartbeat"] == pytest.approx(400, abs=5)


def test_document_004s_inbox_is_read_from_the_one_message_store(store: Store, put: Any) -> None:
    for message_id, to, status, priority, tied in [
        ("low", "architect", "pending", 9, {}),
        ("high", "architect", "pending", 1, {}),
        ("taken", "architect", "delivered", 1, {"lease_until": NOW, "delivery_count": 1}),
        ("done", "architect", "acknowledged", 1, {"acknowledged_at": NOW}),
        ("other", "assistant", "pending", 1, {}),
    ]:
        put(
            "agent_message",
            message_id=message_id, from_agent="lead", to_agent=to, message_type="spec_request", status=status,
            priority=priority, content=f'{{"name": "{message_id}"}}', created_at=NOW, **tied,
        )  # fmt: skip

    assert [row["content"] for row in rows(store, INBOX, "architect")] == ['{"name": "high"}', '{"name": "low"}']
    assert {row["status"] for row in rows(store, "SELECT DISTINCT status FROM tasks")} == {
        "pending",
        "in_progress",
        "completed",
    }


def test_durations_are_averaged_by_kind_of_work_over_the_last_week(store: Store, put: Any) -> None:
    for kind, duration, at in [("build", 100, "-1 hours"), ("build", 300, "-2 days"), ("build", 9000, "-8 days")]:
        timestamp = store.read(lambda tx, at=at: tx.value("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)", (at,)))
        put("main.metrics", agent="a", task_type=kind, duration_ms=duration, timestamp=timestamp)
    put("main.metrics", agent="a", task_type="review", duration_ms=50)

    assert rows(store, ANALYTICS) == [
        {"task_type": "build", "average": 200.0, "fastest": 100, "slowest": 300, "n": 2},
        {"task_type": "review", "average": 50.0, "fastest": 50, "slowest": 50, "n": 1},
    ]


def test_resource_samples_live_in_their_own_file(store: Store, put: Any) -> None:
    put("metrics.metrics", timestamp=NOW, metric_type="cpu_percent", value=12.5, unit="percent")

    assert rows(store, "SELECT metric_type, value, unit FROM metrics.metrics") == [
        {"metric_type": "cpu_percent", "value": 12.5, "unit": "percent"}
    ]
    assert rows(store, "SELECT * FROM main.metrics") == []


def test_orchestrator_state_follows_a_task_from_worktree_to_merge(store: Store, put: Any, put_task: Any) -> None:
    put_task("T", "in_progress")
    put(
        "orchestrator_task",
        orchestrator_task_id="O", task_id="T", agent_type="builder", priority=5, orchestrator_instance_id="host-1",
        assigned_at=NOW, created_at=NOW,
    )  # fmt: skip
    put(
        "git_worktree_tracker",
        task_id="T", branch_name="b", worktree_path="/w", status="active", base_branch="main", base_commit=ZEROS,
        created_at=NOW,
    )  # fmt: skip
    [before] = rows(store, f"SELECT {', '.join(STATE_COLUMNS)} FROM orchestrator_state WHERE task_id = ?", "T")
    put(
        "merge_request",
        task_id="T", orchestrator_task_id="O", branch_name="b", target_branch="main", head_commit=ZEROS,
        status="merged", merge_commit="1" * 40, created_at=NOW, ended_at=NOW,
    )  # fmt: skip
    [after] = rows(store, "SELECT * FROM orchestrator_state")

    assert tuple(after) == STATE_COLUMNS
    assert (before["status"], before["merge_commit_ref"], before["orchestrator_instance_id"]) == (
        "created",
        None,
        "host-1",
    )
    assert (after["merge_commit_ref"], after["merged_at"], after["git_commit_ref"]) == ("1" * 40, NOW, ZEROS)


def test_every_table_is_strict(store: Store) -> None:
    tables = rows(store, "SELECT schema, name, strict FROM pragma_table_list WHERE type = 'table'")

    lax = {table["name"] for table in tables if not table["strict"] and not table["name"].startswith("sqlite_")}
    assert lax == set()
    assert {table["schema"] for table in tables} >= {"main", "metrics"}


@pytest.mark.parametrize("dispatch_id", [None, "D"])
def test_reading_what_is_ready_does_not_depend_on_the_size_of_the_plan(store: Store, dispatch_id: str | None) -> None:
    executed: list[str] = []
    store._reader.set_trace_callback(executed.append)
    store.read(tasks.ready, limit=4, dispatch_id=dispatch_id)
    store._reader.set_trace_callback(None)
    [query] = [sql for sql in executed if sql.startswith("SELECT")]

    plan = " ".join(row["detail"] for row in rows(store, f"EXPLAIN QUERY PLAN {query}"))
    assert "specs_task_ready" in plan
    assert "TEMP B-TREE" not in plan


def test_two_agents_of_a_type_cannot_live_in_one_workspace(put: Any) -> None:
    agent = {
        "agent_type": "builder", "kind": "command", "workspace": "/w", "run_dir": "/r", "term": 1, "created_at": NOW,
    }  # fmt: skip
    put("agent_lifecycle", agent_id="over", status="failed", completed_at=NOW, **agent)
    put("agent_lifecycle", agent_id="first", **agent)

    with pytest.raises(IntegrityError, match="UNIQUE"):
        put("agent_lifecycle", agent_id="second", **agent)


def test_one_merge_at_a_time_is_checked_for_a_branch(put: Any, put_task: Any) -> None:
    for name in ("A", "B"):
        put_task(name, "in_progress")
        put(
            "orchestrator_task",
            orchestrator_task_id=name, task_id=name, agent_type="builder", priority=5, assigned_at=NOW, created_at=NOW,
        )  # fmt: skip
    merge = {"target_branch": "main", "head_commit": ZEROS, "created_at": NOW, "status": "checking"}
    put("merge_request", task_id="A", orchestrator_task_id="A", branch_name="a", **merge)

    with pytest.raises(IntegrityError, match="UNIQUE"):
        put("merge_request", task_id="B", orchestrator_task_id="B", branch_name="b", **merge)


def test_a_task_has_one_assignment_that_is_not_given_up(put: Any, put_task: Any) -> None:
    put_task("T", "in_progress")
    row = {"task_id": "T", "agent_type": "builder", "priority": 5, "assigned_at": NOW, "created_at": NOW}
    put("orchestrator_task", orchestrator_task_id="1", status="cancelled", **row)
    put("orchestrator_task", orchestrator_task_id="2", **row)

    with pytest.raises(IntegrityError, match="UNIQUE"):
        put("orchestrator_task", orchestrator_task_id="3", **row)
