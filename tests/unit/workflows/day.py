"""A day of projects in seconds: the foreman and the units as they are, over a real database, on a clock that jumps.

Made up is only the world around them: when projects come and how urgent they are, how long agents take and how they
end, what people decide. All of it comes of one seed. ``Judge`` looks on.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from crewyard.server import clock
from crewyard.server.crew import Crew
from crewyard.server.foreman import Foreman
from crewyard.server.settings import Settings
from crewyard.server.store import Row, Store, Transaction
from crewyard.server.workflows import items, projects
from crewyard.server.workflows.pipeline import Pipeline

from .hands import Hands
from .judge import Judge
from .line import plainly
from .people import People
from .world import CONFIGURATION, HOUR, Machine, StandIn, World

BEGIN = "2026-03-02T00:00:00.000Z"
ACTOR = "day"
MOST_LOOKS = 20
MOST_HOURS = 72.0
QUIET = 2 * HOUR
Act = Callable[[], object]


@dataclass
class Day:
    """One of them. ``now`` is its clock, which the test puts in place of the real one."""

    folder: Path
    world: World
    now: str = BEGIN

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "day.db", after_commit=self._has_changed, durability="normal")
        self.settings = Settings.model_validate(CONFIGURATION)
        assert self.settings.workflows is not None
        self.line = Pipeline(self.settings.workflows)
        self.chance = random.Random(self.world.seed)
        self.machine = Machine()
        self.judge = Judge(self.store, self.line)
        self._foreman = Foreman(cast("Crew", StandIn(self.store, self.settings, self.machine)), plainly)
        self._agenda: list[tuple[str, int, Act]] = []
        self._numbers = itertools.count()
        self._changed = False
        self._hands = Hands(self)
        self._people = People(self)
        self._last_arrival = self._expect_projects()
        self._expect_trouble()
        self.at_hour(0.0, self._tick)
        if self.world.forecasts:
            self.at_hour(0.0, self._people.ask_when_it_ends)

    # -------------------------------------------------------------------------------------------------- the clock

    @property
    def uptime(self) -> float:
        return clock.seconds_between(BEGIN, self.now)

    def at_hour(self, hour: float, act: Act) -> None:
        heapq.heappush(self._agenda, (clock.plus(BEGIN, hour * HOUR), next(self._numbers), act))

    def after(self, seconds: float, act: Act) -> None:
        heapq.heappush(self._agenda, (clock.plus(self.now, seconds), next(self._numbers), act))

    def run(self, unit: Any, /, *args: Any, **kwargs: Any) -> Any:
        """One transaction, at this moment."""
        return self.store.run(unit, *args, **({"now": self.now, "actor": ACTOR} | kwargs))

    def rows(self, sql: str) -> list[Row]:
        return self.store.read(lambda tx: tx.all(sql))

    def pass_by(self) -> None:
        """Until everything is done and it has been quiet for a while; fails where that takes too long."""
        quiet_since = None
        while True:
            self.now, _, act = heapq.heappop(self._agenda)
            assert self.uptime < MOST_HOURS * HOUR, self.judge.still_open()
            act()
            self._come_to_rest()
            if self.now < self._last_arrival or self.judge.is_anything_open:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = self.now
            elif self.now > clock.plus(quiet_since, QUIET):
                return

    def _come_to_rest(self) -> None:
        """What a commit's bell does to a supervisor: it looks again, until there is nothing more to do."""
        for _ in range(MOST_LOOKS):
            self.judge.before(is_news=self._changed)
            self._changed = False
            self._foreman.look()
            self._hands.begin()
            self._hands.end_those_asked()
            self._people.look()
            if not self._changed:
                self.judge.at_rest(self.now)
                return
            self.judge.after(self.now)
            self._changed = False
        raise AssertionError(f"the foreman does not come to rest at {self.now}")

    def _has_changed(self, _subjects: object) -> None:
        self._changed = True

    # -------------------------------------------------------------------------------------------------- the world

    def _tick(self) -> None:
        """Signs of life, and the foreman's turn where nothing else happens."""
        self._hands.beat()
        self.after(self.line.settings.watch_seconds, self._tick)

    def _expect_projects(self) -> str:
        world, chance = self.world, self.chance
        weights = [world.at_peak if hour in world.peaks else 1.0 for hour in range(int(world.hours))]
        hours = chance.choices(range(int(world.hours)), weights, k=world.projects - world.rush)
        moments = sorted([hour + chance.random() for hour in hours] + [world.rush_hour] * world.rush)
        if world.is_even:
            moments = [world.hours * number / world.projects for number in range(world.projects)]
        for number, hour in enumerate(moments, start=1):
            draft = projects.Draft(
                f"Make thing {number}",
                complexity=chance.choices(projects.COMPLEXITIES, (2, 5, 2))[0],
                priority=chance.choices((1, 2, 5, 8), (1, 3, 12, 4))[0],
            )
            self.at_hour(hour, lambda draft=draft: self.run(self._dispatched, draft))
        return clock.plus(BEGIN, moments[-1] * HOUR)

    def _dispatched(self, tx: Transaction, draft: projects.Draft, *, now: str, actor: str) -> None:
        row = projects.create(tx, draft, self.line.first, now=now, actor=actor)
        items.enqueue(tx, row["project_id"], self.line.first, now=now, actor=actor)

    def _expect_trouble(self) -> None:
        world = self.world
        for _ in range(world.silent):
            self.at_hour(self.chance.uniform(1.0, world.hours), self._hands.fall_silent)
        if world.full_hour is not None:
            self.at_hour(world.full_hour, lambda: self._fill(is_full=True))
            self.at_hour(world.full_hour + 1, lambda: self._fill(is_full=False))

    def _fill(self, *, is_full: bool) -> None:
        self.machine.is_full = is_full
