"""The questions that can be put to the event table, and how its events look to people."""

import pytest

from crewyard.server import audit, clock, events
from crewyard.server.cli_audit import line_of
from crewyard.server.errors import InvalidInput
from crewyard.server.store import Row, Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"


def happened(tx: Transaction, number: int) -> int:
    kind = "task_added" if number % 2 else "agent_failed"
    return events.record(
        tx, now=clock.plus(NOW, number), actor="me", subject_type=kind[:5], subject_id=f"s{number % 3}", kind=kind,
        task_id="A" if number == 7 else None,
    )  # fmt: skip


@pytest.fixture
def ten(store: Store) -> Store:
    for number in range(1, 11):
        store.run(happened, number)
    return store


def ids(rows: list[Row]) -> list[int]:
    return [row["event_id"] for row in rows]


def test_pages_give_each_event_once_and_end_at_the_last(ten: Store) -> None:
    seen, at = [], 0
    while True:
        rows, at = ten.read(audit.after, audit.Question(), at, 3)
        seen += ids(rows)
        if len(rows) < 3:
            break
    assert seen == list(range(1, 11))
    assert ten.read(audit.after, audit.Question(), at, 3) == ([], 10)


@pytest.mark.parametrize(
    ("question", "found"),
    [
        (audit.Question(subject="s1"), [1, 4, 7, 10]),
        (audit.Question(subject="A"), [7]),
        (audit.Question(kind="agent_*"), [2, 4, 6, 8, 10]),
        (audit.Question(kind="task_added", since=clock.plus(NOW, 8)), [9]),
        (audit.Question(subject="nobody"), []),
    ],
)
def test_a_question_narrows_what_is_shown(ten: Store, question: audit.Question, found: list[int]) -> None:
    assert ids(ten.read(audit.after, question, 0)[0]) == found


def test_the_newest_of_a_kind_are_found_from_behind(ten: Store) -> None:
    at = ten.read(audit.before_newest, audit.Question(kind="agent_*"), 2)
    assert ids(ten.read(audit.after, audit.Question(kind="agent_*"), at)[0]) == [8, 10]
    assert ten.read(audit.before_newest, audit.Question(kind="none"), 2) == 0


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("90s", "2025-12-31T23:58:30.000Z"),
        ("2h", "2025-12-31T22:00:00.000Z"),
        ("1d", "2025-12-31T00:00:00.000Z"),
        ("2026-01-31T12:00:00+01:00", "2026-01-31T11:00:00.000Z"),
    ],
)
def test_a_time_is_given_as_people_say_it(text: str, means: str) -> None:
    assert audit.moment(text, NOW) == means


@pytest.mark.parametrize("text", ["", "yesterday", "5", "5w", "9999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no time"):
        audit.moment(text, NOW)


def test_an_event_is_one_plain_line_that_moves_no_cursor(store: Store) -> None:
    store.run(
        events.record, now=NOW, actor="supervisor", subject_type="agent", subject_id="b-1", kind="agent_failed",
        from_state="running", to_state="failed", why="died\x1b[2J\nof it", exit_code=3, signal=None,
    )  # fmt: skip
    line = line_of(store.read(events.after, 0)[0])
    assert line == (
        "2026-01-01T00:00:00.000Z       1  supervisor  agent b-1  agent_failed running → failed: "
        "died [2J of it (exit_code=3)"
    )
