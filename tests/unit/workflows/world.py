"""What a simulated day brings, and what stands around the foreman in it."""

from dataclasses import dataclass
from typing import Any

from crewyard.server.gates import Load
from crewyard.server.settings import Settings
from crewyard.server.store import Store

MINUTE, HOUR = 60.0, 3600.0
# What an agent takes, in minutes, half of the time; and by how much is asked for.
MINUTES = {"genesis": 12.0, "development": 22.0, "content": 11.0}
EFFORT = {"simple": 0.7, "standard": 1.0, "complex": 1.5}
OUTPUT = {
    "genesis": {"repository_url": "https://example.org/{}"},
    "development": {"deployment_url": "https://{}.example.org"},
    "content": {"pieces": "post"},
}
CONFIGURATION: dict[str, Any] = {
    "crew": {"default_agent": "builder"},
    "agents": {"builder": {"kind": "command", "command": ["true"]}},
    "workflows": {
        "stages": {
            "genesis": {
                "agent": "builder",
                "min_workers": 2,
                "max_workers": 3,
                "output": {"type": "object", "required": ["repository_url"]},
            },
            "development": {"agent": "builder", "min_workers": 3, "max_workers": 5, "hands_over": "deployed"},
            "content": {"agent": "builder", "min_workers": 2, "max_workers": 3},
        }
    },
}


@dataclass(frozen=True)
class World:
    """All of it follows from ``seed``.

    ``rush`` of the projects come at once, at ``rush_hour``. An agent's time is spread by ``spread`` around the usual;
    ``failing`` of the agents fail and are started again, ``blocked`` cannot go on; ``silent`` fall silent. For an hour
    from ``full_hour`` on the machine has no room for more agents. ``stopped`` projects are stopped for an hour, as many
    are raised to urgent. ``is_even``: projects come at equal distances.
    """

    seed: int = 9
    projects: int = 200
    hours: float = 24.0
    peaks: tuple[int, ...] = (9, 10, 14, 15)
    at_peak: float = 3.0
    rush: int = 40
    rush_hour: float = 10.0
    spread: float = 0.3
    failing: float = 0.04
    blocked: float = 0.01
    deployed_early: float = 0.3
    silent: int = 6
    full_hour: float | None = 16.0
    stopped: int = 5
    emergency: bool = True
    is_even: bool = False
    forecasts: bool = True


def steady(projects_an_hour: int, *, is_even: bool = False) -> World:
    """Nothing ever goes wrong, and as much is to do in one hour as in another; by chance, or exactly so."""
    return World(
        seed=projects_an_hour, projects=24 * projects_an_hour, peaks=(), rush=0, spread=0.0 if is_even else 0.3,
        failing=0.0, blocked=0.0, silent=0, full_hour=None, stopped=0, emergency=False, is_even=is_even,
        forecasts=False,
    )  # fmt: skip


@dataclass
class Machine:
    """It has room for agents, or not."""

    is_full: bool = False

    def load(self) -> Load:
        return Load(5.0, 100.0 if self.is_full else 64_000.0, 500_000.0, 900_000.0)


@dataclass
class StandIn:
    """Of a crew what the foreman asks for, without a repository or a lease."""

    store: Store
    settings: Settings
    machine: Machine

    def write(self, unit: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.store.run(unit, *args, **kwargs)
