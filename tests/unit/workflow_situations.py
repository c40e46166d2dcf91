"""The situations in which somebody asks why a project or a worker stands as it does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crewyard.server.workflows import assignment, reviews, stops, workers

from .situations import NOW, OPEN, Situation
from .workflows.line import DEPLOYED, REPOSITORY, Line

CREW = "agents(action='list')"
TASK = "why(subject='P-1-genesis')"
SHOWN = "projects(action='status', project_id='P-1')"
AGAIN = "queues(action='review', project_id='P-1', exit='retry')"
RESUME = "projects(action='resume', project_id='P-1')"
QUEUES = "queues(action='status')"


def line_of(bench: Any) -> Line:
    return Line(bench.store)


def flowing(act: Callable[[Line, str], object] = lambda _line, _name: None) -> Callable[[Any], str]:
    """A project of which nothing more has happened than ``act`` does."""

    def build(bench: Any) -> str:
        line = line_of(bench)
        name = line.dispatch()
        act(line, name)
        return name

    return build


def begun(line: Line, _name: str) -> None:
    line.distribute()


def ending(line: Line, name: str) -> None:
    line.distribute()
    line.start(name)
    stopped_project(line, name)


def wanted_by_name(line: Line, name: str) -> None:
    first = line.dispatch()
    for each in (first, name):
        line.run(assignment.by_hand, line.pipeline, "genesis", each, "genesis-01")


def reviewed(line: Line, name: str) -> None:
    line.distribute()
    line.fail(name, "check_failed", "Two tests fail.")


def stopped_project(line: Line, name: str) -> None:
    line.run(stops.stop, name, why="It sends mail.", grace_seconds=1.0)


def rejected(line: Line, name: str) -> None:
    reviewed(line, name)
    line.run(reviews.decide, line.pipeline, reviews.Verdict(name, "reject", "Nobody wants it."))


def undeployed(line: Line, name: str) -> None:
    line.distribute()
    line.finish(name, REPOSITORY)
    line.distribute()
    line.finish(name, {})


def through(line: Line, name: str) -> None:
    for output in (REPOSITORY, DEPLOYED, {}):
        line.distribute()
        line.finish(name, output)


def worker_that(act: Callable[[Line], object] = lambda _line: None) -> Callable[[Any], str]:
    def build(bench: Any) -> str:
        act(line_of(bench))
        return "genesis-01"

    return build


def working(line: Line) -> None:
    line.dispatch()
    line.distribute()


def offline(line: Line) -> None:
    line.run(workers.offline, "genesis-01", why="silent")


def retired(line: Line) -> None:
    line.run(workers.retire, "genesis-01", why="nothing waits")


SITUATIONS = [
    Situation("project:active", flowing(), ("Project P-1: it is number 1 of 1 in genesis, where 0 of 2",), CREW),
    Situation("assigned by hand", flowing(wanted_by_name), ("it waits in genesis for genesis-01",), CREW),
    Situation("in work", flowing(begun), ("genesis-01 works on its genesis since " + NOW, "P-1-genesis"), TASK),
    Situation("project:held", flowing(stopped_project),
              ("lead stopped project P-1 in genesis at " + NOW + ": It sends mail.", "resumes"), RESUME),
    Situation("stopped at work", flowing(ending), ("Task P-1-genesis is still coming to its end",), RESUME),
    Situation("project:review", flowing(reviewed), ("Its genesis failed (check_failed): Two tests fail.",), AGAIN),
    Situation("project:completed", flowing(through), ("P-1 is completed since",), SHOWN),
    Situation("project:rejected", flowing(rejected), ("P-1 is rejected since",), SHOWN),
    Situation("not deployed", flowing(undeployed),
              ("its development is done, and content begins with its deployment",),
              "projects(action='trigger', project_id='P-1', workflow='content', input='https://…')",
              replace(OPEN, stages=("genesis", "development", "content"))),
    Situation("worker:idle", worker_that(), ("genesis-01 is idle: nothing waits in genesis",), QUEUES),
    Situation("worker:busy", worker_that(working), ("genesis-01 works on project P-1", "P-1-genesis"), TASK),
    Situation("worker:offline", worker_that(offline), ("offline since " + NOW, "is given nothing: silent."),
              "workers(action='restart', worker_id='genesis-01')"),
    Situation("worker:retired", worker_that(retired), ("genesis-01 left genesis at " + NOW + ": nothing waits.",),
              "workers(action='scale_up', workflow='genesis')"),
]  # fmt: skip
