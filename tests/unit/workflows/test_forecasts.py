"""Forecasts of a real pipeline: what they are made from, and how they came out (R-222)."""

from crewyard.server import clock, events, states
from crewyard.server.workflows import assignment, forecasts, outlooks, projects, reviews, workers

from .line import DEPLOYED, REPOSITORY, Line

HOUR = 3600.0


def see(line: Line) -> forecasts.Situation:
    found: forecasts.Situation = line.read(forecasts.situation, line.pipeline, now=line.now)
    return found


def note(line: Line) -> int:
    seen = see(line)
    return int(line.store.run(forecasts.record, seen, seen.outlook(), now=line.now))


def through(line: Line, *seconds: float, complexity: str = "") -> str:
    """A project goes through the stages, each of which takes so long."""
    name = line.dispatch(complexity=complexity)
    for output, length in zip((REPOSITORY, DEPLOYED, {}), seconds, strict=False):
        line.distribute()
        line.later(length)
        line.finish(name, output)
    return name


def test_r222_a_project_is_foretold_from_what_others_took(line: Line) -> None:
    for n in range(5):
        through(line, HOUR + n, 2 * HOUR + n, 600 + n)
    name = line.dispatch()
    [row] = outlooks.of_projects(see(line), see(line).outlook())

    assert row["project_id"] == name
    assert [each["workflow"] for each in row["stages"]] == ["genesis", "development", "content"]
    assert line.now < row["stages"][0]["p50_at"] < row["stages"][1]["p50_at"] < row["p50_at"] <= row["p90_at"]


def test_with_fewer_than_five_finished_items_it_says_that_data_is_insufficient(line: Line) -> None:
    for _ in range(4):
        through(line, HOUR, HOUR, HOUR)
    line.dispatch()
    [row] = outlooks.of_projects(see(line), see(line).outlook())

    assert "insufficient data: genesis has finished 4" in row["why_not"]
    assert "p50_at" not in row
    assert note(line) == 0


def test_of_a_stopped_project_and_of_one_in_review_nothing_is_foretold(line: Line) -> None:
    for _ in range(5):
        through(line, HOUR, HOUR, HOUR)
    stopped, reviewed = line.dispatch(), line.dispatch()
    line.distribute()
    line.fail(reviewed)
    line.run(lambda tx, **at: events.change(tx, states.ITEM, line.item(stopped)["item_id"], "waiting", **at))
    line.run(lambda tx, **at: events.change(tx, states.ITEM, line.item(stopped)["item_id"], "held", **at))
    line.run(projects.change, stopped, "held")

    found = {row["project_id"]: row["why_not"] for row in outlooks.of_projects(see(line), see(line).outlook())}
    assert found == {stopped: "it is stopped", reviewed: "it waits for a judgement"}


def test_what_waits_for_its_deployment_is_left_out_and_says_so(line: Line) -> None:
    name = line.dispatch(stage="development")
    line.distribute()
    line.finish(name, {})

    assert see(line).left_out == {name: "it waits for its deployment"}


def test_durations_are_taken_from_the_latest_items_with_all_that_they_went_through(line: Line) -> None:
    for _ in range(5):
        through(line, HOUR, 60, 60)
    took = see(line).stages[0].took[""]

    assert [round(each.seconds) for each in took] == [3600] * 5
    assert {each.share for each in took} == {1.0}
    assert see(line).stages[0].samples == 5


def test_what_was_foretold_is_held_against_what_came(line: Line) -> None:
    for n in range(5):
        through(line, HOUR + n, HOUR + n, HOUR + n)
    name = line.dispatch()
    assert note(line) == 3
    assert line.read(forecasts.accuracy, now=line.now) == forecasts.Accuracy(0)

    line.distribute()
    line.later(HOUR + 2)
    line.finish(name, REPOSITORY)
    found = line.read(forecasts.accuracy, now=line.now)
    assert (found.compared, found.by_p90) == (1, 100.0)
    assert found.median_error < 60

    line.distribute()
    line.later(10 * HOUR)
    line.finish(name, DEPLOYED)
    late = line.read(forecasts.accuracy, now=line.now)
    assert (late.compared, late.by_p90) == (2, 50.0)
    assert line.read(forecasts.accuracy, now=line.now, workflow="development").by_p90 == 0.0


def test_the_same_is_not_noted_again_at_once(line: Line) -> None:
    for _ in range(5):
        through(line, HOUR, HOUR, HOUR)
    line.dispatch()

    assert note(line) == 3
    assert note(line) == 0
    line.later(forecasts.REPEAT_SECONDS + 1)
    assert note(line) == 3


def test_what_ended_while_it_was_foretold_is_not_noted(line: Line) -> None:
    for _ in range(5):
        through(line, HOUR, HOUR, HOUR)
    name = line.dispatch()
    line.distribute()
    seen = see(line)
    line.later(1)
    line.finish(name, REPOSITORY)
    line.store.run(forecasts.record, seen, seen.outlook(), now=line.now)

    assert line.read(lambda tx: [row[0] for row in tx.all("SELECT workflow FROM forecast")]) == [
        "development", "content",
    ]  # fmt: skip


def test_a_forecast_is_due_when_something_came_that_nothing_was_said_of(line: Line) -> None:
    for _ in range(4):
        through(line, HOUR, HOUR, HOUR)
    line.dispatch()
    assert not line.read(forecasts.is_due), "too little is known"
    line.distribute()
    line.later(60)
    line.finish("P-5", REPOSITORY)
    line.dispatch()

    assert line.read(forecasts.is_due)
    note(line)
    assert not line.read(forecasts.is_due)


def test_a_worker_assigned_by_hand_does_not_change_what_is_to_be_done(line: Line) -> None:
    first, second = line.dispatch(), line.dispatch()
    line.run(assignment.by_hand, line.pipeline, "genesis", first, "genesis-01")

    assert {(each.project_id, each.is_at_work) for each in see(line).work} == {(first, True), (second, False)}


def test_a_stage_that_a_review_sent_a_project_back_from_took_as_long_as_from_its_first_beginning(line: Line) -> None:
    for _ in range(4):
        through(line, 60, 60)
    name = through(line, 60)
    line.distribute()
    line.later(HOUR)
    line.fail(name)
    line.later(HOUR)
    line.run(reviews.decide, line.pipeline, reviews.Verdict(name, "return", "The plan is wrong."))
    for output in (REPOSITORY, DEPLOYED):
        line.distribute()
        line.later(60)
        line.finish(name, output)
    genesis, development, _ = see(line).stages

    assert [round(each.seconds) for each in genesis.took[""]] == [60] * 6, "each of its two rounds ended"
    assert [round(each.seconds) for each in development.took[""]] == [2 * 3600 + 120, 60, 60, 60, 60]
    assert round(development.took[""][0].share, 2) == 0.5, "a worker had it for half of the time"


def test_what_stepped_back_in_a_triage_is_expected_later(line: Line) -> None:
    for _ in range(5):
        through(line, 60, 60, 60)
    line.dispatch()
    line.later(HOUR)
    line.run(lambda tx, **_: tx.run("UPDATE queue_item SET stepped_back_at = ? WHERE status = 'waiting'", (line.now,)))
    line.later(60)

    assert [each.since for each in see(line).work] == [60.0]


def test_workers_who_are_to_leave_and_those_who_are_offline_are_known(line: Line) -> None:
    line.run(workers.add, line.pipeline, "genesis", origin="emergency", why="more", until=clock.plus(line.now, 600.0))
    line.run(workers.offline, "genesis-01", why="silent")
    genesis = see(line).stages[0]

    assert (genesis.workers, genesis.leave) == (2, [600.0])


def test_g07_an_hour_to_come_is_like_that_hour_of_the_days_before(line: Line) -> None:
    line.dispatch(priority=2)
    line.later(24 * HOUR)
    line.dispatch(priority=1)
    line.later(22 * HOUR + 600)
    hours = see(line).hours

    assert len(hours) == 24
    assert [[(each.at, each.priority) for each in hour] for hour in hours[1]] == [[(3000.0, 1)], [(3000.0, 2)]]
    assert [[each.priority for each in hour] for hour in hours[2]] == [[], []]


def test_before_there_are_days_an_hour_to_come_is_like_any_that_there_was(line: Line) -> None:
    line.dispatch()
    line.later(2 * HOUR + 1)
    hours = see(line).hours

    assert [[len(each) for each in like] for like in hours[:2]] == [[1, 0, 0]] * 2
