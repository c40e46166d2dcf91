"""How often the foreman looks at queues and workers (R-242)."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crewyard.server import clock, foreman
from crewyard.server.crew import Crew
from crewyard.server.foreman import Foreman
from crewyard.server.gates import Load
from crewyard.server.settings import Settings
from crewyard.server.workflows import workers

from .line import SETTINGS, Line, plainly

EVENING = "2026-01-05T21:44:50.000Z"


@dataclass
class StandIn:
    """Of a crew what the foreman asks for, without a repository or a lease."""

    line: Line
    settings: Settings
    free_memory_mb: float = 8000.0

    @property
    def store(self) -> Any:
        return self.line.store

    @property
    def machine(self) -> Any:
        return SimpleNamespace(load=lambda: Load(0.0, self.free_memory_mb, 50_000.0, 100_000.0))

    def write(self, unit: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.store.run(unit, *args, **kwargs)


@pytest.fixture
def crew(line: Line, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    line.now = EVENING
    monkeypatch.setattr(clock, "now", lambda: line.now)
    uptime = SimpleNamespace(monotonic=lambda: clock.seconds_between(EVENING, line.now))
    monkeypatch.setattr(foreman, "time", uptime)
    builder = {"kind": "command", "command": ["true"]}
    configured = {"agents": {"builder": builder}, "workflows": {**SETTINGS, "peak_hours": [22]}}
    return StandIn(line, Settings.model_validate(configured))


def crowd(crew: StandIn) -> int:
    return len(crew.line.read(workers.present, "genesis"))


def test_r242_queues_are_looked_at_every_thirty_seconds_where_nothing_changes(crew: StandIn) -> None:
    lead = Foreman(cast("Crew", crew), plainly)
    lead.look()
    crew.line.later(29.9)
    lead.look()
    assert crowd(crew) == 2, "the peak hour is near, and nobody has looked"
    crew.line.later(0.1)
    lead.look()
    assert crowd(crew) == 3


def test_r242_queues_are_looked_at_on_every_change(crew: StandIn) -> None:
    lead = Foreman(cast("Crew", crew), plainly)
    lead.look()
    for number in range(13):
        crew.line.dispatch(f"Project {number}")
    lead.look()
    assert crowd(crew) == 3


def test_a_successor_looks_at_once(crew: StandIn) -> None:
    Foreman(cast("Crew", crew), plainly).look()
    crew.line.later(10.0)
    Foreman(cast("Crew", crew), plainly).look()
    assert crowd(crew) == 3


def test_c42_a_machine_that_is_full_gets_no_more_workers_and_the_alarm_has_the_figures(crew: StandIn) -> None:
    crew.free_memory_mb = 10.0
    for number in range(13):
        crew.line.dispatch(f"Project {number}")
    Foreman(cast("Crew", crew), plainly).look()
    assert crowd(crew) == 2
    causes = crew.line.read(lambda tx: tx.all("SELECT cause FROM workflow_alert WHERE kind = 'capacity'"))
    assert "10 MiB of memory are free" in causes[0]["cause"]
