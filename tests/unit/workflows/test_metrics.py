"""Every target of document 003 is measured from what was recorded, or has no data (R-256 to R-264, L-30)."""

from typing import Any

import pytest

from crewyard.server import events, lease, states
from crewyard.server.errors import InvalidInput, ProjectNotFound
from crewyard.server.store import Transaction
from crewyard.server.workflows import feedback, figures, items, measures, projects, targets, workers
from crewyard.server.workflows.targets import Metric

from .line import DEPLOYED, NOW, REPOSITORY, SETTINGS, Line

HOUR = 3600.0
TARGETS = {
    "stages": {
        "genesis": SETTINGS["stages"]["genesis"] | {"target_per_hour": 8},
        "development": SETTINGS["stages"]["development"]
        | {"target_per_hour": 3, "per_worker": True, "counts": "features"},
        "content": SETTINGS["stages"]["content"] | {"target_per_hour": 5},
    }
}


@pytest.fixture
def line(store: Any) -> Line:
    return Line(store, TARGETS)


def measured(line: Line, since: str = NOW) -> dict[str, Metric]:
    found = line.read(measures.of_range, line.pipeline, since, line.now)
    return {each.workflow or each.name: each for each in targets.metrics(found, line.pipeline.settings.max_hours)}


def rows(line: Line, since: str = NOW) -> dict[str, dict[str, Any]]:
    found = line.read(measures.of_range, line.pipeline, since, line.now)
    return {row["workflow"]: row for row in figures.rows(found)}


def through(line: Line, *seconds: float, made: dict[str, Any] | None = None) -> str:
    name = line.dispatch()
    for output, length in zip((REPOSITORY, DEPLOYED | (made or {}), {}), seconds, strict=False):
        line.distribute()
        line.later(length)
        line.finish(name, output)
    return name


def reviewed(line: Line, name: str) -> None:
    """It comes out of review, and is tried again."""
    line.distribute()
    line.fail(name)
    line.run(lambda tx, **at: events.change(tx, states.ITEM, line.item(name)["item_id"], "waiting", **at,
                                            rework_count=1))  # fmt: skip
    line.run(projects.change, name, "active")


def test_l30_where_nothing_was_recorded_there_is_no_data(line: Line) -> None:
    line.later(HOUR)
    found = measured(line)

    assert len(found) == 10
    assert {each.verdict for each in found.values()} == {"no data"}
    assert {each.value for each in found.values()} == {None}


def test_r256_end_to_end_is_what_nine_of_ten_completed_projects_took(line: Line) -> None:
    for hours in (1, 2):
        through(line, hours * HOUR, hours * HOUR, hours * HOUR)
    met = measured(line)["end_to_end"]
    assert (met.value, met.target, met.verdict, met.samples) == (6.0, "< 6", "missed", 2)
    assert "1 late" in met.how

    first = measured(Line(line.store, TARGETS, now=line.now), since=NOW)["end_to_end"]
    assert first == met, "asked again it is the same"


def test_a_project_that_was_completed_before_the_range_is_not_in_it(line: Line) -> None:
    through(line, HOUR, HOUR, HOUR)
    since = line.later(1)
    line.later(HOUR)

    assert measured(line, since)["end_to_end"].verdict == "no data"


def test_r257_genesis_throughput_counts_the_time_in_which_there_was_something_to_do(line: Line) -> None:
    line.later(10 * HOUR)
    for _ in range(4):
        through(line, HOUR / 10)
        line.later(HOUR)
    found = measured(line)["genesis"]

    assert (found.value, found.unit, found.verdict) == (10.0, "items per hour", "met")
    assert found.target == ">= 8"


def test_a_stage_that_had_work_for_an_hour_and_finished_nothing_has_missed_its_target(line: Line) -> None:
    line.dispatch()
    line.later(60)
    assert measured(line)["genesis"].verdict == "no data", "it is too early to tell"
    line.later(HOUR)
    assert (measured(line)["genesis"].value, measured(line)["genesis"].verdict) == (0.0, "missed")


def test_r258_development_is_measured_for_each_worker_in_the_features_that_it_reported(line: Line) -> None:
    names = [line.dispatch(stage="development") for _ in range(2)]
    line.distribute()
    line.later(HOUR)
    for name in names:
        line.finish(name, DEPLOYED | {"features": ["cart", "search"]})
    found = measured(line)["development"]

    assert found.unit == "features per hour"
    assert found.value == 2.0, "four in two hours of workers"
    assert found.verdict == "missed"


def test_r259_content_is_measured_over_all_its_workers(line: Line) -> None:
    through(line, 60, 60, HOUR / 10)
    assert (measured(line)["content"].value, measured(line)["content"].verdict) == (10.0, "met")


def test_r260_error_rate_counts_what_went_to_review(line: Line) -> None:
    for _ in range(3):
        through(line, 60)
    name = line.dispatch()
    line.distribute()
    line.fail(name)
    found = measured(line)["error_rate"]

    assert (found.value, found.samples, found.verdict) == (25.0, 4, "missed")


def test_r261_rework_rate_counts_what_came_back_out_of_review(line: Line) -> None:
    name = line.dispatch()
    reviewed(line, name)
    line.distribute()
    line.finish(name, REPOSITORY)
    through(line, 60)
    found = measured(line)["rework_rate"]

    assert (found.value, found.samples, found.verdict) == (50.0, 2, "missed")


def test_r262_satisfaction_is_the_positive_part_of_the_feedback(line: Line) -> None:
    name = line.dispatch()
    for rating in ("positive", "positive", "positive", "neutral"):
        line.run(feedback.give, name, rating, "")
    found = measured(line)["satisfaction"]

    assert (found.value, found.samples, found.verdict) == (75.0, 4, "missed")


def test_wrong_feedback_is_refused_and_not_kept(line: Line) -> None:
    with pytest.raises(ProjectNotFound):
        line.run(feedback.give, "P-9", "positive", "")
    name = line.dispatch()
    for rating, comment in (("good", ""), ("positive", "x" * 5000)):
        with pytest.raises(InvalidInput):
            line.run(feedback.give, name, rating, comment)

    assert measured(line)["satisfaction"].verdict == "no data"


def test_r263_availability_is_the_part_in_which_a_supervisor_acted(line: Line) -> None:
    holder = lease.Holder("server", 1, "1", "b")

    def act(tx: Transaction, uptime: float) -> None:
        term = lease.acquire(tx, holder, now=line.now, uptime=uptime)
        assert term is not None
        line.later(9 * HOUR)
        lease.renew(tx, term, now=line.now, uptime=uptime)
        lease.release(tx, term, now=line.now)

    line.later(5 * HOUR)
    line.store.run(act, 1000.0)
    assert measured(line)["availability"].value == 100.0, "before the first one nobody expected any"
    line.later(HOUR)
    assert measured(line)["availability"].value == 90.0
    line.store.run(act, 100_000.0)
    found = measured(line)["availability"]
    assert (found.value, found.verdict) == (pytest.approx(100 * 18 / 19, abs=0.01), "missed")


def test_r264_coverage_and_first_deployment_are_what_workers_reported(line: Line) -> None:
    through(line, 60, 60, made={"test_coverage": 96})
    through(line, 60, 60, made={"test_coverage": 88.0})
    through(line, 60, 60, made={"test_coverage": "high"})
    found = measured(line)
    assert (found["test_coverage"].value, found["test_coverage"].samples) == (92.0, 2)
    assert (found["deployed_at_once"].value, found["deployed_at_once"].verdict) == (100.0, "met")

    name = through(line, 60)
    reviewed(line, name)
    line.distribute()
    line.finish(name, DEPLOYED)
    assert (measured(line)["deployed_at_once"].value, measured(line)["deployed_at_once"].verdict) == (75.0, "missed")


def test_r265_each_workflow_shows_its_queue_its_workers_and_what_was_finished(line: Line) -> None:
    through(line, HOUR)
    for _ in range(3):
        line.dispatch()
    line.later(600)
    line.distribute()
    found = rows(line)["genesis"]

    assert (found["waiting"], found["working"], found["finished"], found["arrived"]) == (1, 2, 1, 4)
    assert found["workers"] == {"busy": 2}
    assert found["median_minutes"] == 60.0
    assert found["mean_wait_minutes"] == pytest.approx(20 / 3, abs=0.1)
    assert found["success_percent"] == 100.0
    assert "success_percent" not in rows(line)["content"]


def test_g12_utilisation_is_busy_time_over_all_time_of_those_who_were_there(line: Line) -> None:
    through(line, HOUR)
    line.later(HOUR)

    assert rows(line)["genesis"]["utilisation_percent"] == 25.0, "one of two, for one of two hours"
    assert rows(line)["content"]["utilisation_percent"] == 0.0


def test_a_worker_that_left_counts_for_the_time_in_which_it_was_there(line: Line) -> None:
    through(line, HOUR)
    line.run(workers.retire, "genesis-02", why="nothing waits")
    line.later(HOUR)

    assert rows(line)["genesis"]["utilisation_percent"] == pytest.approx(100 / 3, abs=0.1)


def test_only_what_lies_in_the_range_counts(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    since = line.later(HOUR)
    line.later(HOUR)
    line.finish(name, REPOSITORY)

    assert rows(line, since)["genesis"]["utilisation_percent"] == 50.0
    assert line.read(items.depth, "development") == 1


def test_g22_what_only_scripted_agents_did_is_marked_as_simulated(line: Line) -> None:
    def launch(tx: Transaction, kind: str) -> None:
        tx.run(
            "INSERT INTO agent_lifecycle (agent_id, agent_type, kind, status, workspace, run_dir, term, created_at, "
            "completed_at) VALUES (?, 'builder', ?, 'completed', '/w', '/runs', 1, ?, ?)",
            (f"a-{kind}", kind, line.now, line.now),
        )

    def is_simulated() -> bool:
        return bool(line.read(measures.of_range, line.pipeline, NOW, line.now).is_simulated)

    assert not is_simulated()
    line.store.run(launch, "scripted")
    assert is_simulated()
    line.store.run(launch, "claude")
    assert not is_simulated()
