"""A pipeline of three stages over a real database, for the tests of workflows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crewyard.server import agents, assignments, clock, consequences, kinds, launches, tasks
from crewyard.server.sections import QUOTA_PATTERN
from crewyard.server.store import Row, Store, Transaction
from crewyard.server.workflow_sections import Workflows
from crewyard.server.workflows import assignment, flow, items, projects, stops, workers
from crewyard.server.workflows.pipeline import Pipeline

from ..conftest import RULES

NOW = "2026-01-01T00:00:00.000Z"
LEAD = "lead"
REPOSITORY = {"repository_url": "https://example.org/shop"}
DEPLOYED = {"deployment_url": "https://shop.example.org"}
SETTINGS: dict[str, Any] = {
    "stages": {
        "genesis": {
            "agent": "builder",
            "min_workers": 2,
            "output": {
                "type": "object",
                "required": ["repository_url"],
                "properties": {"repository_url": {"type": "string"}},
            },
            "workers": [{"name": "genesis-01"}, {"name": "genesis-02"}, {"name": "genesis-03"}],
        },
        "development": {"agent": "builder", "min_workers": 2, "max_workers": 5, "hands_over": "deployed"},
        "content": {"agent": "builder"},
    }
}


def plainly(step: Callable[[], None]) -> bool:
    """In place of the supervisor's guard: a fault is the test's."""
    step()
    return True


@dataclass
class Line:
    """The stages, and the wall clock of the test."""

    store: Store
    settings: dict[str, Any] = field(default_factory=lambda: dict(SETTINGS))
    now: str = NOW

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(Workflows.model_validate(self.settings))
        self.run(workers.complete, self.pipeline)

    def run(self, unit: Any, /, *args: Any, **kwargs: Any) -> Any:
        """One transaction, at this moment, by the lead."""
        return self.store.run(unit, *args, **({"now": self.now, "actor": LEAD} | kwargs))

    def read(self, unit: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.store.read(unit, *args, **kwargs)

    def later(self, seconds: float) -> str:
        self.now = clock.plus(self.now, seconds)
        return self.now

    def dispatch(self, text: str = "Make a shop", stage: str = "", **draft: Any) -> str:
        def unit(tx: Transaction, *, now: str, actor: str) -> str:
            first = stage or self.pipeline.first
            row = projects.create(tx, projects.Draft(text, **draft), first, now=now, actor=actor)
            items.enqueue(tx, row["project_id"], first, now=now, actor=actor)
            return str(row["project_id"])

        return str(self.run(unit))

    def distribute(self) -> int:
        return int(self.run(assignment.distribute, self.pipeline))

    def item(self, project_id: str, workflow: str | None = None) -> Row:
        sql = "SELECT * FROM queue_item WHERE project_id = ? AND (? IS NULL OR workflow = ?) ORDER BY item_id DESC"
        row: Row = self.read(lambda tx: tx.all(sql, (project_id, workflow, workflow))[0])
        return row

    def project(self, project_id: str) -> Row:
        row: Row = self.read(projects.get, project_id)
        return row

    def worker(self, worker_id: str) -> Row:
        row: Row = self.read(workers.get, worker_id)
        return row

    def start(self, project_id: str, workflow: str | None = None) -> str:
        """An agent begins with what the project has in work, in that stage or the last; returns its id."""
        work = self.read(assignments.of_task, self.item(project_id, workflow)["task_id"])
        order = launches.LaunchOrder(
            agent_type=work["agent_type"],
            kind="command",
            task_id=work["task_id"],
            orchestrator_task_id=work["orchestrator_task_id"],
            workspace=f"/w/{work['task_id']}",
            runs_folder="/runs",
            timeout_seconds=60.0,
            memory_limit_mb=None,
            token_hash=f"hash of {work['orchestrator_task_id']} {self.now}",
            term=1,
        )

        def unit(tx: Transaction, *, now: str, actor: str) -> str:
            agent_id = str(launches.plan_launch(tx, order, now=now, actor=actor)["agent_id"])
            launches.runner_started(tx, agent_id, pid=2, start_time="1", boot_id="b")
            launches.started(tx, agent_id, pid=3, start_time="1", boot_id="b", at=now, actor=actor)
            assignments.started(tx, work["orchestrator_task_id"], agent_id, now=now, actor=actor)
            return agent_id

        return str(self.run(unit))

    def learn(self, project_id: str, output: dict[str, Any]) -> None:
        """Where the project lies, or was deployed."""
        self.store.run(projects.learned, project_id, output, now=self.now)

    def end(self, agent_id: str, status: str = "killed", **how: Any) -> None:
        """Its process ends, and what follows from that happens, as the keeper and the foreman have it."""
        self.run(
            consequences.of_end, agent_id, agents.Exit(status, self.now, **how), code=how.get("message"),
            heard=kinds.ANY.heard("", QUOTA_PATTERN, now=self.now), rules=RULES,
        )  # fmt: skip
        self.look()

    def look(self) -> None:
        """One of the foreman's."""
        if self.read(stops.at_work):
            self.run(stops.end_work, grace_seconds=1.0)
        for item in self.read(flow.to_settle):
            self.run(flow.settle, self.pipeline, item["item_id"], flow.Left())
        if self.read(assignment.is_called_for):
            self.distribute()

    def finish(
        self, project_id: str, output: dict[str, Any] | flow.Left | None = None, *, workflow: str | None = None
    ) -> None:
        """The agent of what the project has in work, in that stage or the last, is done, and the foreman looks."""
        self.end_task(project_id, workflow)
        left = output if isinstance(output, flow.Left) else flow.Left(output)
        self.run(flow.settle, self.pipeline, self.item(project_id, workflow)["item_id"], left)

    def end_task(self, project_id: str, workflow: str | None = None) -> None:
        """The agent of what the project has in work is done; nobody has looked yet."""
        task_id = self.item(project_id, workflow)["task_id"]

        def done(tx: Transaction, *, now: str, actor: str) -> None:
            work = assignments.of_task(tx, task_id)
            assert work is not None
            assignments.proven(tx, work["orchestrator_task_id"], no_change=True, now=now, actor=actor)

        self.run(done)

    def deploy(self, project_id: str) -> None:
        """The agent of what the project has in work reports on its way that it is deployed (G-09)."""
        item = self.item(project_id)

        def unit(tx: Transaction, *, now: str, actor: str) -> None:
            projects.learned(tx, project_id, DEPLOYED, now=now)
            flow.hand_over(tx, self.pipeline, item, now=now, actor=actor)

        self.run(unit)

    def fail(self, project_id: str, code: str = "agent_failed", message: str = "It broke.") -> None:
        """What the project has in work failed for good, and the foreman looks."""
        item = self.item(project_id)

        def given_up(tx: Transaction, *, now: str, actor: str) -> None:
            work = assignments.of_task(tx, item["task_id"])
            assert work is not None
            assignments.give_up(
                tx, work["orchestrator_task_id"], code=code, message=message, review=True, now=now, actor=actor
            )

        self.run(given_up)
        self.run(flow.settle, self.pipeline, item["item_id"], flow.Left())

    def work(self, project_id: str) -> str:
        """The assignment of what the project has in work."""
        return str(self.read(assignments.of_task, self.item(project_id)["task_id"])["orchestrator_task_id"])

    def task(self, project_id: str) -> Row:
        row: Row = self.read(tasks.get, self.item(project_id)["task_id"])
        return row
