"""The agents of a simulated day: they take their time, hand over, fail, cannot go on, or fall silent."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from made_up import RULES

from crewyard.server import agents, assignments, clock, consequences, kinds, launches
from crewyard.server.agents import Exit
from crewyard.server.foreman import OUTPUT_FILE
from crewyard.server.sections import QUOTA_PATTERN
from crewyard.server.states import LIVE_AGENT
from crewyard.server.store import Row, Transaction
from crewyard.server.workflows import flow, items, projects

from .world import EFFORT, HOUR, MINUTE, MINUTES, OUTPUT

if TYPE_CHECKING:
    from .day import Day


class Hands:
    """All of one day: what launcher, runners and prover do for the real ones."""

    def __init__(self, day: "Day") -> None:
        self._day = day
        self._silent: set[str] = set()
        self._ending: set[str] = set()

    def begin(self) -> None:
        """Start an agent for everything that waits for one, where the machine has room."""
        day = self._day
        if day.machine.is_full:
            return
        for assignment in day.store.read(assignments.waiting, now=day.now):
            agent_id = day.run(self._launched, assignment)
            item = day.store.read(items.of_task, assignment["task_id"])
            complexity = day.store.read(projects.get, item["project_id"])["complexity"]
            seconds = MINUTE * MINUTES[item["workflow"]] * EFFORT[complexity]
            self._expect(agent_id, item, seconds * day.chance.lognormvariate(0, day.world.spread))

    def end_those_asked(self) -> None:
        """A runner ends its agent where that is asked for; one that hangs only after its grace."""
        for row in self._day.store.read(agents.live):
            agent_id = row["agent_id"]
            if row["kill_requested_at"] is not None and agent_id not in self._ending:
                self._ending.add(agent_id)
                grace = row["kill_grace_seconds"] if agent_id in self._silent else 1.0
                self._day.after(grace, lambda agent_id=agent_id: self._kill(agent_id))

    def beat(self) -> None:
        """Whoever works gives a sign of life each minute."""
        self._day.run(self._beaten)

    def fall_silent(self) -> None:
        """One agent at work does nothing any more."""
        alive = [row["agent_id"] for row in self._day.store.read(agents.live) if row["agent_id"] not in self._silent]
        if alive:
            self._silent.add(self._day.chance.choice(alive))
        else:
            self._day.after(HOUR, self.fall_silent)

    def _beaten(self, tx: Transaction, *, now: str, actor: str) -> None:
        for row in agents.live(tx):
            if row["agent_id"] not in self._silent and clock.seconds_between(row["last_heartbeat"], now) > MINUTE:
                agents.heartbeat(tx, row["agent_id"], now=now)

    def _launched(self, tx: Transaction, assignment: Row, *, now: str, actor: str) -> str:
        day, task_id = self._day, assignment["task_id"]
        token_hash = f"{day.chance.getrandbits(256):064x}"
        order = launches.LaunchOrder(
            assignment["agent_type"], "command", task_id, assignment["orchestrator_task_id"], f"/w/{task_id}",
            str(day.folder / "runs"), 6 * HOUR, None, token_hash, 1,
        )  # fmt: skip
        agent_id = str(launches.plan_launch(tx, order, now=now, actor=actor)["agent_id"])
        launches.runner_started(tx, agent_id, pid=1, start_time="1", boot_id="b")
        launches.started(tx, agent_id, pid=2, start_time="1", boot_id="b", at=now, actor=actor)
        assignments.started(tx, assignment["orchestrator_task_id"], agent_id, now=now, actor=actor)
        return agent_id

    def _expect(self, agent_id: str, item: Row, seconds: float) -> None:
        """What it will come to."""
        day, fate = self._day, self._day.chance.random()
        if fate < day.world.blocked:
            day.after(seconds / 2, lambda: self._give_up(agent_id))
        elif fate < day.world.blocked + day.world.failing:
            day.after(MINUTE + seconds * day.chance.random(), lambda: self._fail(agent_id))
        else:
            if item["workflow"] == "development" and day.chance.random() < day.world.deployed_early:
                day.after(seconds / 5, lambda: self._report(agent_id, "progress", _output(item)))
            day.after(seconds, lambda: self._complete(agent_id, item))

    def _complete(self, agent_id: str, item: Row) -> None:
        """Half of them report what they hand over, the others leave it in a file."""
        day = self._day
        if not self._is_well(agent_id):
            return
        if day.chance.random() < 0.5:
            self._report(agent_id, "complete", _output(item))
        else:
            run_dir = Path(day.store.read(agents.get, agent_id)["run_dir"])
            run_dir.mkdir(parents=True)
            (run_dir / OUTPUT_FILE).write_text(json.dumps(_output(item)))
        self._end(agent_id, Exit("completed", day.now, 0))
        work = day.store.read(agents.get, agent_id)["orchestrator_task_id"]
        day.run(assignments.proven, work, no_change=True)

    def _fail(self, agent_id: str) -> None:
        if self._is_well(agent_id):
            self._end(agent_id, Exit("failed", self._day.now, 1, message="It ended with exit code 1."))

    def _give_up(self, agent_id: str) -> None:
        if self._is_well(agent_id):
            self._report(agent_id, "blocked", None)
            self._fail(agent_id)

    def _kill(self, agent_id: str) -> None:
        if self._is_alive(agent_id):
            self._end(agent_id, Exit("killed", self._day.now, signal=15))

    def _report(self, agent_id: str, kind: str, output: dict[str, str] | None) -> None:
        if self._is_well(agent_id):
            word = flow.Word(agent_id, kind, "So it stands.", output=output)
            self._day.store.run(flow.report, self._day.settings.workflows, word, now=self._day.now)

    def _end(self, agent_id: str, how: Exit) -> None:
        heard = kinds.ANY.heard("", QUOTA_PATTERN, now=self._day.now)
        self._day.run(consequences.of_end, agent_id, how, code=None, heard=heard, rules=RULES)

    def _is_alive(self, agent_id: str) -> bool:
        return self._day.store.read(agents.get, agent_id)["status"] in LIVE_AGENT

    def _is_well(self, agent_id: str) -> bool:
        return agent_id not in self._silent and self._is_alive(agent_id)


def _output(item: Row) -> dict[str, str]:
    return {key: text.format(item["project_id"].lower()) for key, text in OUTPUT[item["workflow"]].items()}
