"""``analytics``, the tool, over a real database; what it measures has its tests in ``workflows/``."""

from typing import Any

import pytest

from crewyard.server import clock
from crewyard.server.settings import Settings
from crewyard.server.store import Store
from crewyard.server.yard import Yard

from .conftest import Bench, StandIn
from .workflows.line import DEPLOYED, REPOSITORY, SETTINGS, Line

pytestmark = pytest.mark.anyio
HOUR = 3600.0


@pytest.fixture
def bench(tmp_path: Any, store: Store) -> Bench:
    settings = Settings.model_validate(
        {"agents": {"builder": {"kind": "command", "command": ["true"]}}, "workflows": SETTINGS}
    )
    operations = StandIn()
    return Bench(Yard(tmp_path, settings, lambda: operations), store, operations)


@pytest.fixture
def line(bench: Bench) -> Line:
    """It began twelve hours ago."""
    return Line(bench.store, now=clock.plus(clock.now(), -12 * HOUR))


def through(line: Line, *seconds: float) -> str:
    name = line.dispatch()
    for output, length in zip((REPOSITORY, DEPLOYED, {}), seconds, strict=False):
        line.distribute()
        line.later(length)
        line.finish(name, output)
    return name


async def test_r220_metrics_show_every_target_and_every_workflow(line: Line, call: Any) -> None:
    through(line, HOUR, HOUR, HOUR)
    found = await call("analytics")
    named = {each["name"]: each for each in found["metrics"]}

    assert set(named) == {
        "end_to_end", "error_rate", "rework_rate", "satisfaction", "availability", "test_coverage", "deployed_at_once",
    }  # fmt: skip
    assert (named["end_to_end"]["value"], named["end_to_end"]["verdict"]) == (3.0, "met")
    assert named["satisfaction"]["verdict"] == "no data"
    assert "value" not in named["satisfaction"]
    assert [row["workflow"] for row in found["workflows"]] == ["genesis", "development", "content"]
    assert found["workflows"][0]["finished"] == 1


async def test_metrics_of_the_last_hour_leave_out_what_was_before(line: Line, call: Any) -> None:
    through(line, HOUR, HOUR, HOUR)
    found = await call("analytics", action="metrics", hours=1)

    assert [row["finished"] for row in found["workflows"]] == [0, 0, 0]


async def test_r221_bottlenecks_are_told_with_the_next_call(line: Line, call: Any) -> None:
    quiet = await call("analytics", action="bottlenecks")
    assert (quiet["bottlenecks"], quiet["note"]) == ([], "Nothing holds projects up, as far as was recorded.")
    for _ in range(12):
        line.dispatch()
    [found] = (await call("analytics", action="bottlenecks"))["bottlenecks"]

    assert found["workflow"] == "genesis"
    assert found["next_call"] == "workers(action='scale_up', workflow='genesis')"


async def test_r222_forecast_tells_when_each_project_will_be_done(line: Line, bench: Bench, call: Any) -> None:
    for _ in range(5):
        through(line, 60, 60, 60)
    line.now = clock.now()
    names = [line.dispatch(), line.dispatch()]
    found = await call("analytics", action="forecast")

    assert [row["project_id"] for row in found["projects"]] == names
    assert all(row["p50_at"] <= row["p90_at"] for row in found["projects"])
    assert found["workflows"][0]["waiting"] == 2
    assert found["accuracy"]["compared"] == 0
    assert bench.value("SELECT count(*) FROM forecast") == 6
    one = await call("analytics", action="forecast", project_id=names[1])
    assert [row["project_id"] for row in one["projects"]] == names[1:]


async def test_a_forecast_without_samples_says_so(line: Line, call: Any) -> None:
    line.dispatch()
    found = await call("analytics", action="forecast")

    assert found["projects"][0]["why_not"].startswith("insufficient data")
    assert found["workflows"][0]["note"].startswith("insufficient data")
    assert "p50_at" not in found["workflows"][0]


async def test_r223_alerts_show_those_that_stand_those_that_ended_and_other_issues(
    line: Line, bench: Bench, call: Any
) -> None:
    at, ended = clock.plus(clock.now(), -100), clock.plus(clock.now(), -40)
    columns = "kind, subject, level, cause, facts, begun_at, ended_at"
    sql = f"INSERT INTO workflow_alert ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)"
    bench.store.run(lambda tx: tx.run(sql, ("overflow", "genesis", "critical", "25 wait", '{"depth": 25}', at, None)))
    bench.store.run(lambda tx: tx.run(sql, ("offline", "dev-01", "high", "silent", "{}", at, ended)))
    bench.add_tasks("T-1", status="failed", needs_review=1, error_code="agent_failed", error_message="It broke.")
    found = await call("analytics", action="alerts")

    assert found["alerts"] == [
        {"kind": "overflow", "subject": "genesis", "level": "critical", "begun_at": at, "cause": "25 wait",
         "facts": {"depth": 25}}
    ]  # fmt: skip
    assert (found["ended"][0]["subject"], found["ended"][0]["lasted_seconds"]) == ("dev-01", 60)
    assert [each["subject"] for each in found["issues"]] == ["T-1"]


async def test_r226_alert_administrators_tells_whom_it_told(line: Line, bench: Bench, call: Any) -> None:
    found = await call("analytics", action="alert_administrators", reason="capacity-exceeded", details="30 wait")

    assert found["told"] == ["lead"]
    assert bench.alerts("lead")[0]["message"] == "30 wait."


async def test_r229_incident_report_is_kept_and_shown(line: Line, bench: Bench, call: Any) -> None:
    line.dispatch()
    found = (await call("analytics", action="incident_report", reason="outage", details="The disk was full."))[
        "incident"
    ]

    assert (found["incident_id"], found["cause"], found["opened_by"]) == (1, "outage", "lead")
    assert found["queues"]["genesis"]["waiting"] == 1
    assert bench.row("incident")["details"] == "The disk was full."


async def test_r262_feedback_is_kept(line: Line, bench: Bench, call: Any) -> None:
    name = line.dispatch()
    await call("analytics", action="feedback", project_id=name, rating="positive", details="Well made.")

    row = bench.row("feedback")
    assert (row["project_id"], row["rating"], row["comment"]) == (name, "positive", "Well made.")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"action": "forecast", "project_id": "P-7"}, "project_not_found"),
        ({"action": "feedback", "project_id": "P-7", "rating": "positive"}, "project_not_found"),
        ({"action": "feedback", "rating": "positive"}, "invalid_input"),
        ({"action": "feedback", "project_id": "P-1"}, "invalid_input"),
        ({"action": "feedback", "project_id": "P-1", "rating": "great"}, "invalid_input"),
        ({"action": "alert_administrators"}, "invalid_input"),
        ({"action": "metrics", "project_id": "P-1"}, "invalid_input"),
        ({"action": "metrics", "hours": 0}, "invalid_input"),
        ({"action": "forecast", "hours": 3}, "invalid_input"),
        ({"action": "alerts", "reason": "x"}, "invalid_input"),
        ({"action": "metric"}, "invalid_input"),
    ],
)
async def test_bad_input_is_refused_and_changes_nothing(
    line: Line, bench: Bench, call: Any, given: dict[str, Any], code: str
) -> None:
    line.dispatch()
    before = bench.value("SELECT max(event_id) FROM event")
    error = await call.fails("analytics", **given)

    assert error["code"] == code
    assert error["hint"]
    assert bench.value("SELECT max(event_id) FROM event") == before
    assert bench.value("SELECT count(*) FROM feedback") == 0


async def test_with_hundreds_of_projects_every_answer_fits(line: Line, bench: Bench, call: Any) -> None:
    for _ in range(5):
        through(line, 60, 60, 60)
    line.now = clock.now()
    for n in range(300):
        line.dispatch(f"Make shop number {n} " + "x" * 200)
    for action in ("metrics", "bottlenecks", "forecast", "alerts", "incident_report"):
        await call("analytics", action=action)
    found = await call("analytics", action="forecast")

    assert "more are left out; forecast takes a project_id" in found["note"]
