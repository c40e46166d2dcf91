"""The record of what happened."""

import ast
import json
import re
from pathlib import Path

import pytest

from crewyard.server import events, states
from crewyard.server.store import Row, Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"


def happened(tx: Transaction, subject: str, number: int) -> int:
    return events.record(
        tx, now=NOW, actor="me", subject_type="test", subject_id=subject, kind="counted", number=number
    )


@pytest.fixture
def counted(store: Store) -> Store:
    """Ten events, of two subjects in turn."""
    for number in range(10):
        store.run(happened, "even" if number % 2 == 0 else "odd", number)
    return store


def numbers(rows: list[Row]) -> list[int]:
    return [json.loads(row["data"])["number"] for row in rows]


def test_ids_grow_in_the_order_of_the_commits(counted: Store) -> None:
    assert [row["event_id"] for row in counted.read(events.after, 0)] == list(range(1, 11))


def test_events_after_an_id_come_oldest_first_and_no_more_than_asked_for(counted: Store) -> None:
    assert numbers(counted.read(events.after, 4, limit=3)) == [4, 5, 6]
    assert counted.read(events.after, 10) == []


def test_the_latest_events_of_one_subject_come_oldest_first(counted: Store) -> None:
    assert numbers(counted.read(events.of, "test", "odd", limit=3)) == [5, 7, 9]
    assert counted.read(events.of, "test", "neither") == []


def test_an_event_of_a_unit_that_is_undone_never_happened(counted: Store) -> None:
    def record_and_break(tx: Transaction) -> None:
        happened(tx, "odd", 99)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        counted.run(record_and_break)

    assert 99 not in numbers(counted.read(events.after, 0))


def test_r019_no_unit_changes_a_state_past_the_one_place_that_records_it() -> None:
    tables = "|".join(machine.table for machine in states.MACHINES)
    sets_status = re.compile(rf"UPDATE (?:main\.)?(?:{tables}) SET (?:(?!WHERE).)*\bstatus\s*=", re.DOTALL)
    folder = Path(events.__file__).parent
    found = [
        path.name
        for path in folder.rglob("*.py")
        if path.name != "migrate.py"  # old databases are brought up to date before anybody asks
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and sets_status.search(node.value)
    ]
    assert found == []
