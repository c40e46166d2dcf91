"""A day of 200 projects with peaks, failing agents and an overload: what holds at each moment, and at its end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crewyard.server import clock

from .day import Day, World


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    made = Day(tmp_path, World(hangs=0, failing_for_good=0.0))
    monkeypatch.setattr(clock, "now", lambda: made.now)
    yield made
    made.store.close()


def test_no_project_of_a_day_is_lost_or_worked_on_twice(day: Day) -> None:
    day.pass_by()

    done = day.store.read(
        lambda tx: tx.all("SELECT project_id, workflow, count(*) FROM queue_item WHERE status = 'done' GROUP BY 1, 2")
    )
    assert {row[2] for row in done} == {1}
    assert len(done) == 3 * World.projects
