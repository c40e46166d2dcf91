"""A day of 200 projects with peaks, failing agents and an overload: what holds at each moment, and at its end."""

import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from crewyard.server import clock, foreman
from crewyard.server.store import Row
from crewyard.server.workflows import scaling

from .day import Day
from .world import HOUR, MINUTE, World, steady

Simulate = Callable[[World], Day]


@pytest.fixture(scope="module")
def simulate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulate]:
    """``simulate(world)``: the day, when it is over."""
    begun: list[Day] = []

    def one(world: World) -> Day:
        day = Day(tmp_path_factory.mktemp("day"), world)
        begun.append(day)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clock, "now", lambda: day.now)
            patch.setattr(foreman, "time", SimpleNamespace(monotonic=lambda: day.uptime))
            day.pass_by()
        return day

    yield one
    for day in begun:
        day.store.close()


@pytest.fixture(scope="module")
def day(simulate: Simulate) -> Day:
    return simulate(World())


def test_r201_no_project_of_a_day_is_lost_or_worked_on_twice(day: Day) -> None:
    """The judge has looked at each moment; this is what there is at the end."""
    ended = day.rows("SELECT * FROM project")
    assert len(ended) == World.projects
    assert {row["status"] for row in ended} <= {"completed", "rejected"}
    assert sum(row["status"] == "completed" for row in ended) > 0.95 * World.projects
    stages = day.rows(
        "SELECT count(DISTINCT workflow) AS done, count(*) AS items FROM queue_item i JOIN project p USING "
        "(project_id) WHERE i.status = 'done' AND p.status = 'completed' GROUP BY project_id"
    )
    assert {row["done"] for row in stages} == {3}
    twice = sum(row["items"] > 3 for row in stages)
    returned = day.rows("SELECT * FROM event WHERE kind = 'project_judged' AND data ->> '$.exit' = 'return'")
    assert twice <= len(returned), "only what a judgement sent back went through a stage again"


def test_nothing_of_the_day_starves(day: Day) -> None:
    """A level is worth six hours, so what is least urgent may let pass what comes within 42 hours; it did not take as
    long. The judge saw each of them take its turn."""
    for name, seconds in day.judge.longest_wait.items():
        assert 0 < seconds < 12 * HOUR, name
    assert max(day.judge.deepest.values()) > day.line.settings.overflow_depth


def test_r243_r250_workers_come_with_the_work_and_go_after_it_within_their_ranges(day: Day) -> None:
    for name, sizes in day.judge.sizes.items():
        numbers = [size for _, size in sizes]
        assert min(numbers) == day.line.stage(name).min_workers
        assert numbers[-1] < max(numbers)
    assert max(size for _, size in day.judge.sizes["genesis"]) == day.line.stage("genesis").most_in_emergency


def test_r240_what_silent_workers_had_goes_on_with_others(day: Day) -> None:
    lost = day.rows("SELECT * FROM work_spell WHERE outcome = 'failed_over'")
    assert len(lost) == World.silent
    for spell in lost:
        [after, *_] = day.rows(
            f"SELECT * FROM work_spell WHERE item_id = {spell['item_id']} AND spell_id > {spell['spell_id']}"
        )
        assert clock.seconds_between(spell["ended_at"], after["began_at"]) < HOUR, "it was among the first in its queue"


def test_every_alert_of_the_day_is_explained_and_ended(day: Day) -> None:
    alerts = day.rows("SELECT * FROM workflow_alert")
    assert {"overflow", "capacity", "worker_offline", "emergency"} <= {row["kind"] for row in alerts}
    assert [row["kind"] for row in alerts if not row["cause"] or row["ended_at"] is None] == []
    assert [(row["kind"], row["begun_at"]) for row in alerts if row["begun_at"] >= row["ended_at"]] == []
    ends = {(row["kind"], row["subject"], row["ended_at"]) for row in alerts}
    for row in alerts:
        again = [at for kind, subject, at in ends if (kind, subject) == (row["kind"], row["subject"])]
        assert not any(0 <= clock.seconds_between(at, row["begun_at"]) < MINUTE for at in again), "it comes and goes"


def test_r222_about_nine_of_ten_come_true_by_the_p90_that_was_foretold(day: Day) -> None:
    """Every hour somebody asks for the end of each stage of all that is open, whatever trouble is still to come."""
    rows = day.rows("SELECT * FROM forecast WHERE actual_at IS NOT NULL")
    assert len(rows) > 3 * World.projects
    assert 85 <= kept(rows) <= 95
    for name in day.line.names:
        assert 80 <= kept([row for row in rows if row["workflow"] == name]) <= 98, name


def kept(rows: list[Row]) -> float:
    return 100 * sum(row["actual_at"] <= row["p90_at"] for row in rows) / len(rows)


@pytest.mark.parametrize(("an_hour", "is_even"), [(7, False), (9, True)])
def test_scaling_does_not_swing_under_a_steady_load(simulate: Simulate, an_hour: int, is_even: bool) -> None:
    """After three hours each queue changes its size every other hour at most, and soon rests for longer."""
    day = simulate(steady(an_hour, is_even=is_even))
    for name, sizes in day.judge.sizes.items():
        settled = [(at, size) for at, size in sizes if clock.seconds_between(sizes[0][0], at) > 3 * HOUR]
        assert len(settled) <= 12, (name, settled)
        changes = [after - before for (_, before), (_, after) in itertools.pairwise(settled)]
        assert scaling.turns(changes) <= 4, (name, settled)
