"""A day of projects in seconds: the foreman and the units as they are, over a real database, on a clock that jumps.

Made up is only the world around them: when projects come and how urgent they are, how long agents take and how they
end, and which workers' agents fall silent. All of it comes of one seed. ``Judge`` looks on.
"""

import heapq
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from made_up import RULES

from crewyard.server import agents, assignments, clock, consequences, kinds, launches
from crewyard.server.agents import Exit
from crewyard.server.crew import Crew
from crewyard.server.foreman import OUTPUT_FILE, Foreman
from crewyard.server.sections import QUOTA_PATTERN
from crewyard.server.settings import Settings
from crewyard.server.states import LIVE_AGENT
from crewyard.server.store import Row, Store, Transaction
from crewyard.server.workflows import flow, items, projects
from crewyard.server.workflows.pipeline import Pipeline

from .judge import Judge

BEGIN = "2026-03-02T00:00:00.000Z"
ACTOR = "day"
MINUTE, HOUR = 60.0, 3600.0
MOST_LOOKS = 20
# What an agent takes, in minutes, half of the time; how far it may be from that; and by how much is asked for.
MINUTES = {"genesis": 12.0, "development": 22.0, "content": 11.0}
SPREAD = 0.3
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
    """What the day brings. ``rush`` of the projects come at once, at ``rush_hour``; ``hangs`` agents fall silent."""

    seed: int = 9
    projects: int = 200
    hours: float = 24.0
    peaks: tuple[int, ...] = (9, 10, 14, 15)
    at_peak: float = 3.0
    rush: int = 40
    rush_hour: float = 10.0
    failing: float = 0.05
    failing_for_good: float = 0.01
    early_deployment: float = 0.3
    hangs: int = 6


@dataclass
class StandIn:
    """Of a crew what the foreman asks for, without a repository or a lease."""

    store: Store
    settings: Settings

    def write(self, unit: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.store.run(unit, *args, **kwargs)


@dataclass
class Day:
    """One of them. ``now`` is its clock, which the test puts in place of the real one."""

    folder: Path
    world: World = field(default_factory=World)
    now: str = BEGIN

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "day.db", after_commit=self._has_changed, durability="normal")
        self.settings = Settings.model_validate(CONFIGURATION)
        assert self.settings.workflows is not None
        self.line = Pipeline(self.settings.workflows)
        self.foreman = Foreman(cast("Crew", StandIn(self.store, self.settings)))
        self.judge = Judge(self.store, self.line)
        self._numbers = itertools.count()
        self.chance = random.Random(self.world.seed)
        self._agenda: list[tuple[str, int, Callable[[], None]]] = []
        self._silent: set[str] = set()
        self._changed = False
        self._last_arrival = self._expect_projects()
        self._expect_silence()
        self.at(BEGIN, self._tick)

    # -------------------------------------------------------------------------------------------------- the clock

    def at(self, moment: str, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (moment, next(self._numbers), act))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.at(clock.plus(self.now, seconds), act)

    def run(self, unit: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.store.run(unit, *args, **({"now": self.now, "actor": ACTOR} | kwargs))

    def rows(self, sql: str) -> list[Row]:
        return self.store.read(lambda tx: tx.all(sql))

    def pass_by(self, *, most_hours: float = 72.0) -> None:
        """Until everything is done and has been quiet for two hours; fails where that takes too long."""
        quiet_since = None
        while self._agenda:
            self.now, _, act = heapq.heappop(self._agenda)
            assert self.now < clock.plus(BEGIN, most_hours * HOUR), self.judge.still_open()
            act()
            self._come_to_rest()
            if self.now < self._last_arrival or self.judge.is_anything_open:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = self.now
            elif self.now > clock.plus(quiet_since, 2 * HOUR):
                return

    def _come_to_rest(self) -> None:
        """What a commit's bell does to a supervisor: it looks again, until there is nothing more to do."""
        for _ in range(MOST_LOOKS):
            self.judge.before(is_news=self._changed)
            self._changed = False
            self.foreman.look()
            self._launch()
            self._end_those_asked()
            if not self._changed:
                self.judge.at_rest(self.now)
                return
            self.judge.after(self.now)
            self._changed = False
        raise AssertionError(f"the foreman does not come to rest at {self.now}")

    def _has_changed(self, _subjects: Any) -> None:
        self._changed = True

    # -------------------------------------------------------------------------------------------------- the world

    def _expect_projects(self) -> str:
        world, chance = self.world, self.chance
        weights = [world.at_peak if hour in world.peaks else 1.0 for hour in range(int(world.hours))]
        hours = chance.choices(range(int(world.hours)), weights, k=world.projects - world.rush)
        moments = [hour + chance.random() for hour in hours] + [world.rush_hour] * world.rush
        for number, hour in enumerate(sorted(moments), start=1):
            draft = projects.Draft(
                f"Make thing {number}",
                complexity=chance.choices(projects.COMPLEXITIES, (2, 5, 2))[0],
                priority=chance.choices((1, 2, 5, 8), (1, 3, 12, 4))[0],
            )
            self.at(clock.plus(BEGIN, hour * HOUR), lambda draft=draft: self._dispatch(draft))
        return clock.plus(BEGIN, max(moments) * HOUR)

    def _dispatch(self, draft: projects.Draft) -> None:
        def unit(tx: Transaction, *, now: str, actor: str) -> None:
            row = projects.create(tx, draft, self.line.first, now=now, actor=actor)
            items.enqueue(tx, row["project_id"], self.line.first, now=now, actor=actor)

        self.run(unit)

    def _expect_silence(self) -> None:
        for _ in range(self.world.hangs):
            self.at(clock.plus(BEGIN, self.chance.uniform(1.0, self.world.hours) * HOUR), self._fall_silent)

    def _fall_silent(self) -> None:
        """One agent at work writes and does nothing any more."""
        alive = [row["agent_id"] for row in self.store.read(agents.live) if row["agent_id"] not in self._silent]
        if alive:
            self._silent.add(self.chance.choice(alive))

    def _tick(self) -> None:
        """Signs of life, and the foreman's turn where nothing else happens."""
        self.run(self._beat)
        self.after(self.line.settings.watch_seconds, self._tick)

    def _beat(self, tx: Transaction, *, now: str, actor: str) -> None:
        for row in agents.live(tx):
            if row["agent_id"] not in self._silent and clock.seconds_between(row["last_heartbeat"], now) > MINUTE:
                agents.heartbeat(tx, row["agent_id"], now=now)

    # ------------------------------------------------------------------------------------------------- the agents

    def _launch(self) -> None:
        for assignment in self.store.read(assignments.waiting, now=self.now):
            row = self.run(self._launched, assignment)
            item = self.store.read(items.of_task, row["task_id"])
            project = self.store.read(projects.get, item["project_id"])
            seconds = MINUTE * MINUTES[item["workflow"]] * EFFORT[project["complexity"]]
            seconds *= self.chance.lognormvariate(0, SPREAD)
            self._expect_end(row["agent_id"], item, seconds)

    def _launched(self, tx: Transaction, assignment: Row, *, now: str, actor: str) -> Row:
        token_hash = f"{self.chance.getrandbits(256):064x}"
        order = launches.LaunchOrder(
            assignment["agent_type"], "command", assignment["task_id"], assignment["orchestrator_task_id"],
            f"/w/{assignment['task_id']}", str(self.folder / "runs"), 6 * HOUR, None, token_hash, 1,
        )  # fmt: skip
        agent_id = launches.plan_launch(tx, order, now=now, actor=actor)["agent_id"]
        launches.runner_started(tx, agent_id, pid=1, start_time="1", boot_id="b")
        launches.started(tx, agent_id, pid=2, start_time="1", boot_id="b", at=now, actor=actor)
        assignments.started(tx, assignment["orchestrator_task_id"], agent_id, now=now, actor=actor)
        return agents.get(tx, agent_id)

    def _expect_end(self, agent_id: str, item: Row, seconds: float) -> None:
        fate, world = self.chance.random(), self.world
        if fate < world.failing_for_good:
            self.after(seconds * 0.5, lambda: self._report(agent_id, "blocked", None) and self._end(agent_id, 1))
        elif fate < world.failing_for_good + world.failing:
            self.after(seconds * self.chance.random() + MINUTE, lambda: self._end(agent_id, 1))
        else:
            if item["workflow"] == "development" and self.chance.random() < world.early_deployment:
                self.after(seconds * 0.2, lambda: self._report(agent_id, "progress", self._output(item)))
            self.after(seconds, lambda: self._complete(agent_id, item))

    def _output(self, item: Row) -> dict[str, str]:
        return {key: text.format(item["project_id"].lower()) for key, text in OUTPUT[item["workflow"]].items()}

    def _report(self, agent_id: str, kind: str, output: dict[str, str] | None) -> bool:
        if self._is_alive(agent_id):
            word = flow.Word(agent_id, kind, "So it stands.", output=output)
            self.store.run(flow.report, self.settings.workflows, word, now=self.now)
        return True

    def _complete(self, agent_id: str, item: Row) -> None:
        """Half of them report what they hand over, the others leave it in a file."""
        if not self._is_alive(agent_id):
            return
        if self.chance.random() < 0.5:
            self._report(agent_id, "complete", self._output(item))
        else:
            run_dir = Path(self.store.read(agents.get, agent_id)["run_dir"])
            run_dir.mkdir(parents=True)
            (run_dir / OUTPUT_FILE).write_text(json.dumps(self._output(item)))
        self._end(agent_id, 0)
        self.run(self._prove, agent_id)

    def _prove(self, tx: Transaction, agent_id: str, *, now: str, actor: str) -> None:
        assignment = agents.get(tx, agent_id)["orchestrator_task_id"]
        assignments.proven(tx, assignment, no_change=True, now=now, actor=actor)

    def _is_alive(self, agent_id: str) -> bool:
        row = self.store.read(agents.get, agent_id)
        return row["status"] in LIVE_AGENT and agent_id not in self._silent

    def _end_those_asked(self) -> None:
        """A runner ends its agent where that is asked for; one that hangs only after its grace."""
        for row in self.store.read(agents.live):
            if row["kill_requested_at"] is not None and row["agent_id"] not in self.judge.ending:
                self.judge.ending.add(row["agent_id"])
                grace = row["kill_grace_seconds"] if row["agent_id"] in self._silent else 1.0
                self.after(grace, lambda agent_id=row["agent_id"]: self._end(agent_id, None))

    def _end(self, agent_id: str, code: int | None) -> None:
        if self.store.read(agents.get, agent_id)["status"] not in LIVE_AGENT:
            return
        if code is not None and agent_id in self._silent:
            return
        how = Exit("completed", self.now, 0)
        if code is None:
            how = Exit("killed", self.now, signal=15)
        elif code:
            how = Exit("failed", self.now, code, message=f"It ended with exit code {code}.")
        heard = kinds.ANY.heard("", QUOTA_PATTERN, now=self.now)
        self.run(consequences.of_end, agent_id, how, code=None, heard=heard, rules=RULES)
