"""What earlier tasks teach of how long the next ones take."""

from collections.abc import Callable

import pytest

from crewyard.server import dispatches, tasks
from crewyard.server.estimates import Work, corrected, history
from crewyard.server.plans import import_plan
from crewyard.server.readers import read_data
from crewyard.server.store import Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"
HOUR = 3_600_000


def test_without_a_history_the_hours_given_stand() -> None:
    assert corrected([Work("a", None, 3.0)], []) == [3.0]


def test_titles_that_differ_in_their_numbers_are_of_one_kind() -> None:
    done = [
        (Work("Port page 1", None, 1.0), 0.25),
        (Work("Port page 2", None, 1.0), 0.75),
        (Work("Ship", None, 1.0), 9),
    ]
    assert corrected([Work("Port page 3", None, 1.0)], done) == [0.5]


def test_an_unknown_kind_is_corrected_as_its_agent_and_an_unknown_agent_as_all() -> None:
    done = [(Work("a", "quick", 1.0), 0.5), (Work("b", "slow", 1.0), 1.5)]
    wanted = [Work("c", "quick", 2.0), Work("c", "slow", 2.0), Work("c", "new", 2.0)]
    assert corrected(wanted, done) == pytest.approx([1.0, 3.0, 2.0])


def test_a_dispatch_is_ordered_by_what_its_kinds_of_tasks_took_before(
    store: Store, insert: Callable[..., object]
) -> None:
    names = {"L1": "Long 1", "S1": "Short 1", "L2": "Long 2", "S2": "Short 2", "S3": "Short 3"}
    draft = read_data([{"task_id": task_id, "title": title} for task_id, title in names.items()])
    store.run(import_plan, draft, now=NOW, actor="test")

    def end(tx: Transaction) -> None:
        for task_id, hours in (("L1", 4), ("S1", 1)):
            tx.run("UPDATE specs_task SET status = 'completed', completed_at = ? WHERE task_id = ?", (NOW, task_id))
            insert(
                tx,
                "agent_lifecycle",
                agent_id=f"builder-{task_id}",
                agent_type="builder",
                kind="command",
                task_id=task_id,
                status="completed",
                workspace="/w",
                run_dir="/r",
                term=1,
                pid=1,
                created_at=NOW,
                started_at=NOW,
                completed_at=NOW,
                duration_ms=hours * HOUR,
            )

    store.run(end)
    assert set(store.read(history)) == {(Work("Short 1", None, 1.0), 1.0), (Work("Long 1", None, 1.0), 4.0)}
    store.run(dispatches.open_or_join, ["S2", "S3", "L2"], max_parallel=2, agent_type=None, now=NOW, actor="lead")
    assert [row["task_id"] for row in store.read(tasks.ready, limit=5)] == ["L2", "S2", "S3"]
