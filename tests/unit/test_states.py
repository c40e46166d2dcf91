"""Every state machine, walked pair by pair against a real database."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from crewyard.server import events, states
from crewyard.server.errors import (
    AgentNotFound,
    DispatchNotFound,
    IllegalTransition,
    MessageNotFound,
    NotFound,
    ProjectNotFound,
    TaskNotFound,
    WorkerNotFound,
)
from crewyard.server.states import Machine
from crewyard.server.store import IntegrityError, Row, Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"
LATER = "2026-01-01T00:00:01.000Z"

# What a row of each table must hold beside its key and its status.
ROWS: dict[str, dict[str, Any]] = {
    "task": {"title": "A task", "created_at": NOW, "updated_at": NOW},
    "assignment": {
        "task_id": "T", "agent_type": "builder", "priority": 5, "assigned_at": NOW, "created_at": NOW,
    },
    "agent": {
        "agent_type": "builder", "kind": "command", "workspace": "/w", "run_dir": "/r", "term": 1, "created_at": NOW,
    },
    "worktree": {
        "task_id": "T", "branch_name": "b", "worktree_path": "/w", "base_branch": "main", "base_commit": "0" * 40,
        "created_at": NOW,
    },
    "merge": {
        "task_id": "T", "orchestrator_task_id": "O", "branch_name": "b", "target_branch": "main",
        "head_commit": "0" * 40, "created_at": NOW,
    },
    "pooled_worktree": {"path": "/p", "commit_id": "0" * 40, "worktree_id": 1, "since": NOW},
    "message": {"from_agent": "lead", "to_agent": "builder", "message_type": "note", "created_at": NOW},
    "dispatch": {"scope_key": "s", "max_parallel": 4, "created_by": "lead", "created_at": NOW},
    "error": {
        "error_class": "process_died", "error_code": "agent_failed", "severity": "medium", "retryable": 1,
        "recovery_action": "retry", "message": "m", "timestamp": NOW,
    },
    "project": {
        "title": "A shop", "input": "A shop", "source": "text", "stage": "genesis", "created_by": "lead",
        "created_at": NOW, "updated_at": NOW,
    },
    "item": {"project_id": "P", "workflow": "genesis", "priority": 5, "queued_at": NOW},
    "worker": {"workflow": "genesis", "agent_type": "builder", "since": NOW},
}  # fmt: skip


# The columns that the schema ties to a state, by machine.
TIED: dict[str, dict[str, dict[str, Any]]] = {
    "task": {"completed": {"completed_at": NOW}, "failed": {"error_code": "non_retryable_error"}},
    "assignment": {"running": {"assigned_agent": "A"}, "failed": {"error_code": "non_retryable_error"}},
    "agent": {
        "running": {"pid": 1, "started_at": NOW},
        **{state: {"completed_at": NOW} for state in ("completed", "failed", "killed", "timeout", "lost")},
    },
    "worktree": {"cleaned": {"cleaned_at": NOW}},
    "pooled_worktree": {},
    "merge": {
        "queued": {"ended_at": None},  # back from checking
        "merged": {"merge_commit": "1" * 40, "ended_at": NOW},
        **{state: {"ended_at": NOW} for state in ("conflicted", "rejected", "cancelled")},
    },
    "message": {"delivered": {"lease_until": LATER, "delivery_count": 1}, "acknowledged": {"acknowledged_at": NOW}},
    "dispatch": {"completed": {"ended_at": NOW}, "cancelled": {"ended_at": NOW}},
    "error": {"resolved": {"resolved_at": NOW}},
    "project": {
        **{state: {"completed_at": NOW} for state in ("completed", "rejected")},
        "active": {"completed_at": None},  # it was completed, and is sent back
    },
    "item": {
        "working": {"worker_id": "W", "task_id": "T"},
        "review": {"error_code": "agent_failed"},
        **{state: {"ended_at": NOW} for state in ("done", "rejected")},
    },
    "worker": {
        "idle": {"offline_since": None, "retired_at": None},
        "busy": {"offline_since": None},
        "offline": {"offline_since": NOW},
        "retired": {"retired_at": NOW, "offline_since": None},
    },
}


def required(machine: Machine, state: str) -> dict[str, Any]:
    return TIED[machine.subject].get(state, {})


@pytest.fixture
def tx(shared_store: Store) -> Iterator[Transaction]:
    """A transaction in which the rows that others refer to exist; nothing of it stays."""
    connection = shared_store._writer
    connection.execute("BEGIN IMMEDIATE")
    yield Transaction(connection)
    connection.execute("ROLLBACK")


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store(tmp_path_factory.mktemp("data") / "orchestrator.db")
    yield opened
    opened.close()


def row_in(tx: Transaction, insert: Any, machine: Machine, state: str) -> Any:
    if machine.subject in ("assignment", "worktree", "pooled_worktree", "merge"):
        insert(tx, "specs_task", task_id="T", **ROWS["task"])
    if machine.subject == "merge":
        insert(tx, "orchestrator_task", orchestrator_task_id="O", **ROWS["assignment"])
    if machine.subject == "pooled_worktree":
        insert(tx, "git_worktree_tracker", worktree_id=1, **ROWS["worktree"])
    if machine.subject == "item":
        insert(tx, "specs_task", task_id="T", **ROWS["task"])
        insert(tx, "project", project_id="P", **ROWS["project"])
        insert(tx, "worker", worker_id="W", **ROWS["worker"])
    key = 1 if machine.subject in ("worktree", "pooled_worktree", "merge", "item") else "K"
    insert(
        tx, machine.table, **{machine.key: key, "status": state}, **ROWS[machine.subject], **required(machine, state)
    )
    return key


def all_of(tx: Transaction, machine: Machine) -> list[dict[str, Any]]:
    return [dict(row) for row in tx.all(f"SELECT * FROM {machine.table}")]


PAIRS = [
    pytest.param(machine, have, want, id=f"{machine.subject}-{have}-{want}")
    for machine in states.MACHINES
    for have in machine.moves
    for want in machine.moves
]
LEGAL = [pair for pair in PAIRS if pair.values[2] in pair.values[0].moves[pair.values[1]]]
ILLEGAL = [pair for pair in PAIRS if pair not in LEGAL]


@pytest.mark.parametrize(("machine", "have", "want"), LEGAL)
def test_a_legal_move_changes_the_row_and_records_one_event(
    tx: Transaction, insert: Any, machine: Machine, have: str, want: str
) -> None:
    key = row_in(tx, insert, machine, have)

    row = events.transition(tx, machine, key, want, now=LATER, actor="me", why="because", **required(machine, want))

    assert (row[machine.key], row["status"]) == (key, want)
    [event] = events.of(tx, machine.subject, str(key))
    assert (event["from_state"], event["to_state"], event["kind"]) == (have, want, f"{machine.subject}_{want}")
    assert (event["at"], event["actor"], event["data"]) == (LATER, "me", '{"why": "because"}')


@pytest.mark.parametrize(("machine", "have", "want"), ILLEGAL)
def test_an_illegal_move_changes_nothing_and_records_nothing(
    tx: Transaction, insert: Any, machine: Machine, have: str, want: str
) -> None:
    key = row_in(tx, insert, machine, have)
    before = all_of(tx, machine)

    with pytest.raises(IllegalTransition) as caught:
        events.transition(tx, machine, key, want, now=LATER, actor="me", **required(machine, want))

    assert all_of(tx, machine) == before
    assert events.after(tx, 0) == []
    assert caught.value.details == {"id": str(key), "have": have, "want": want}
    assert caught.value.hint


@pytest.mark.parametrize("machine", states.MACHINES, ids=lambda machine: machine.subject)
def test_what_does_not_exist_cannot_move(tx: Transaction, machine: Machine) -> None:
    kinds = {"task": TaskNotFound, "agent": AgentNotFound, "message": MessageNotFound, "dispatch": DispatchNotFound,
             "project": ProjectNotFound, "worker": WorkerNotFound}  # fmt: skip

    with pytest.raises(kinds.get(machine.subject, NotFound), match="no-such"):
        events.transition(tx, machine, "no-such", next(iter(machine.moves)), now=NOW, actor="me")

    assert events.after(tx, 0) == []


@pytest.mark.parametrize("machine", states.MACHINES, ids=lambda machine: machine.subject)
def test_schema_and_machine_name_the_same_states(tx: Transaction, machine: Machine) -> None:
    assert states_in_schema(tx)[machine.table] == machine.states


@pytest.mark.parametrize("machine", states.MACHINES, ids=lambda machine: machine.subject)
def test_every_move_leads_to_a_state_of_the_machine(machine: Machine) -> None:
    assert {want for wants in machine.moves.values() for want in wants} <= machine.states


def test_every_table_with_a_checked_status_has_a_machine(tx: Transaction) -> None:
    assert set(states_in_schema(tx)) == {machine.table for machine in states.MACHINES}


@pytest.mark.parametrize("machine", states.MACHINES, ids=lambda machine: machine.subject)
def test_a_table_refuses_a_state_that_no_machine_knows(tx: Transaction, insert: Any, machine: Machine) -> None:
    key = row_in(tx, insert, machine, next(iter(machine.moves)))

    with pytest.raises(IntegrityError, match="CHECK"):
        tx.run(f"UPDATE {machine.table} SET status = 'sleeping' WHERE {machine.key} = ?", (key,))


def states_in_schema(tx: Transaction) -> dict[str, frozenset[str]]:
    tables: list[Row] = tx.all("SELECT name, sql FROM main.sqlite_master WHERE type = 'table'")
    found = {row["name"]: re.search(r"CHECK \(status IN \(([^)]*)\)\)", row["sql"] or "") for row in tables}
    return {name: frozenset(re.findall(r"'(\w+)'", match[1])) for name, match in found.items() if match}
