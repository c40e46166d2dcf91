"""What the tests of tools and resources need: a yard over a real database, and clients of both protocol eras."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from crewyard.server import agents, assignments, backoff, clock, consequences, failed_starts, kinds, launches, tasks
from crewyard.server.compose import build_app
from crewyard.server.errors import CrewyardError
from crewyard.server.health import Measured
from crewyard.server.kinds import Heard
from crewyard.server.machine import Machine, Space
from crewyard.server.sections import QUOTA_PATTERN
from crewyard.server.settings import Settings
from crewyard.server.store import Row, Store, Transaction
from crewyard.server.yard import CleanupOutcome, CreatedWorktree, MergeOutcome, NoSupervisor, Room, Spawned, Yard

NOW = "2026-01-01T00:00:00.000Z"
MEASURED = Measured(process_alive=True, runner_alive=True, cpu_percent=3.04, memory_mb=21.96)

MACHINE = Machine(
    12.5, (10.0, 15.0), (1.0, 0.5, 0.25), Space(8000.0, 6000.0, 2000.0, 25.0), Space(0.0, 0.0, 0.0, 0.0),
    Space(100_000.0, 30_000.0, 65_000.0, 68.4),
)  # fmt: skip

RULES = consequences.Rules(
    backoff.Policy(3, 2.0, 120.0, healthy_after=600.0, max_launches=20),
    failed_starts.Limits(seconds=5.0, tasks=3, pause=10.0, cap=120.0, pauses=5),
    quota_pause_seconds=300.0,
)


@dataclass
class StandIn:
    """In place of ``operations``, whose own tests use real git: takes the calls down, and answers or refuses."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refuse: CrewyardError | None = None
    merged: bool = True
    measured: Measured = field(default_factory=lambda: MEASURED)
    room_now: Room = field(default_factory=lambda: Room(MACHINE, [], []))
    attended: list[tuple[list[str], bool]] = field(default_factory=list)

    def _take(self, name: str, **arguments: Any) -> None:
        self.calls.append((name, arguments))
        if self.refuse is not None:
            raise self.refuse

    def close(self) -> None: ...

    async def require_fit(self, agent_types: Any) -> None:
        self._take("require_fit", agent_types=set(agent_types))

    async def has_room(self, crowd: Any) -> bool:
        return not self.room_now.refusals

    async def room(self) -> Room:
        return self.room_now

    async def measure(self, agent_ids: Any) -> dict[str, Measured]:
        return dict.fromkeys(agent_ids, self.measured)

    def attend(self, task_ids: Any, *, launch: bool = False) -> None:
        self.attended.append((sorted(task_ids), launch))

    def supervisor_at_hand(self) -> NoSupervisor:
        return NoSupervisor()

    async def is_supervised(self) -> bool:
        return False

    async def create_worktree(
        self, task_id: str, *, base_branch: str | None, actor: str, folder: Path | None = None
    ) -> CreatedWorktree:
        self._take("create_worktree", task_id=task_id, base_branch=base_branch, actor=actor)
        return CreatedWorktree(f"/w/{task_id}", f"branch-{task_id}", "c0ffee", created=True)

    async def merge(self, task_id: str, *, approved_by: str | None, actor: str) -> MergeOutcome:
        self._take("merge", task_id=task_id, approved_by=approved_by, actor=actor)
        return MergeOutcome(1, "c0ffee", 2, 3, 4) if self.merged else MergeOutcome(1, position=2)

    async def resolve(self, task_id: str, *, strategy: str, actor: str) -> MergeOutcome:
        self._take("resolve", task_id=task_id, strategy=strategy, actor=actor)
        if strategy not in ("ours", "theirs"):
            return MergeOutcome(1)
        return MergeOutcome(2, "c0ffee", 2, 3, 4, settled=["f: roadmap's side taken (1 hunk)"])

    async def cleanup(self, task_id: str | None, *, force: bool, dry_run: bool, actor: str) -> CleanupOutcome:
        self._take("cleanup", task_id=task_id, force=force, dry_run=dry_run, actor=actor)
        return CleanupOutcome(["A"], 1.5, ["refs/crewyard/salvage/A/1"], [])

    async def spawn(
        self, task_id: str, *, agent_type: str | None, timeout_seconds: float | None, actor: str, **_: Any
    ) -> Spawned:
        self._take("spawn", task_id=task_id, agent_type=agent_type, timeout_seconds=timeout_seconds, actor=actor)
        return Spawned("builder-1", 42, f"/w/{task_id}", NOW)


@dataclass
class Bench:
    """A yard, its database for the test's own eyes, and the operations that were asked for."""

    yard: Yard
    store: Store
    operations: StandIn
    rules: consequences.Rules = RULES

    def value(self, sql: str, *parameters: Any) -> Any:
        return self.store.read(lambda tx: tx.value(sql, parameters))

    def add_tasks(self, *task_ids: str, **columns: Any) -> None:
        for task_id in task_ids:
            self.store.run(_add_task, task_id, columns)

    def add_edge(self, blocking: str, dependent: str) -> None:
        self.store.run(_add_edge, blocking, dependent)

    def add_agent(
        self, task_id: str, *, agent_type: str = "builder", token: str = "", pid: int = 4242, at: str | None = None
    ) -> str:
        """A running agent on the task, past the processes, started now or at ``at``; returns its id.

        It has read what it was told when it was launched.
        """
        return self.store.run(_add_agent, task_id, agent_type, token, pid, str(self.yard.root), at or clock.now())

    def employ(self, *agent_types: str) -> None:
        """There was an agent of each of these types once."""
        rows = [(f"{name}-0", name, NOW, NOW) for name in agent_types]
        self.store.run(
            lambda tx: tx.many(
                "INSERT INTO agent_lifecycle (agent_id, agent_type, kind, status, workspace, run_dir, term, "
                "created_at, completed_at) VALUES (?, ?, 'command', 'completed', '/w', '/runs', 1, ?, ?)",
                rows,
            )
        )

    def finish(
        self, agent_id: str, status: str, *, said: str = "", error: str | None = None, heard: Heard | None = None,
        **how: Any,
    ) -> None:  # fmt: skip
        """The agent ends, and what follows from that happens, as the keeper has it.

        ``said`` is its output's end, of which its program tells nothing; ``heard`` what another one tells.
        """
        at = how.pop("at", clock.now())
        heard = heard or kinds.ANY.heard(said, QUOTA_PATTERN, now=at)
        self.store.run(
            consequences.of_end, agent_id, agents.Exit(status, at, **how), code=error, heard=heard, rules=self.rules,
            now=at, actor="test",
        )  # fmt: skip

    def row(self, table: str, **where: Any) -> Row:
        """The only row of ``table`` with these values."""
        terms = " AND ".join(f"{name} = :{name}" for name in where) or "1"
        [row] = self.store.read(lambda tx: tx.all(f"SELECT * FROM {table} WHERE {terms}", where))
        return row

    def alerts(self, box: str) -> list[dict[str, Any]]:
        sql = "SELECT content FROM agent_message WHERE to_agent = ? AND message_type = 'alert' ORDER BY id"
        rows = self.store.read(lambda tx: tx.all(sql, (box,)))
        return [json.loads(row["content"]) for row in rows]

    def end_agent(self, agent_id: str, status: str = "completed", **how: Any) -> None:
        self.store.run(agents.ended, agent_id, agents.Exit(status, clock.now(), **how), actor="test")


def _add_task(tx: Transaction, task_id: str, columns: dict[str, Any]) -> None:
    values = {"status": "ready", "title": f"Task {task_id}", "created_at": NOW, "updated_at": NOW} | columns
    names = ", ".join(["task_id", *values])
    marks = ", ".join("?" for _ in range(len(values) + 1))
    tx.run(f"INSERT INTO specs_task ({names}) VALUES ({marks})", (task_id, *values.values()))


def _add_edge(tx: Transaction, blocking: str, dependent: str) -> None:
    tx.run(
        "INSERT INTO specs_task_dependency (blocking_task_id, dependent_task_id, created_at) VALUES (?, ?, ?)",
        (blocking, dependent, NOW),
    )
    tx.run(
        "UPDATE specs_task SET status = 'pending', unmet_blockers = unmet_blockers + 1 WHERE task_id = ?", (dependent,)
    )


def _add_agent(tx: Transaction, task_id: str, agent_type: str, token: str, pid: int, root: str, now: str) -> str:
    work: Row = assignments.of_task(tx, task_id) or assignments.create(
        tx, tasks.get(tx, task_id), agent_type=agent_type, dispatch_id=None, now=now, actor="test"
    )
    order = launches.LaunchOrder(
        agent_type=agent_type,
        kind="command",
        task_id=task_id,
        orchestrator_task_id=work["orchestrator_task_id"],
        workspace=f"{root}/w/{task_id}",
        runs_folder=f"{root}/runs",
        timeout_seconds=60.0,
        memory_limit_mb=None,
        token_hash=agents.hash_token(token or f"token of {task_id} {now}"),
        term=1,
    )
    agent_id = str(launches.plan_launch(tx, order, now=now, actor="test")["agent_id"])
    tx.run("DELETE FROM agent_message WHERE to_agent = ?", (agent_id,))
    launches.runner_started(tx, agent_id, pid=pid + 1, start_time="1", boot_id="b")
    launches.started(tx, agent_id, pid=pid, start_time="1", boot_id="b", at=now, actor="test")
    assignments.started(tx, work["orchestrator_task_id"], agent_id, now=now, actor="test")
    return agent_id


@pytest.fixture
def bench(tmp_path: Path, store: Store) -> Bench:
    settings = Settings.model_validate(
        {
            "crew": {"default_agent": "builder"},
            "agents": {
                "builder": {"kind": "command", "command": ["true"]},
                "architect": {"kind": "command", "command": ["true"], "max_instances": 1},
            },
        }
    )
    operations = StandIn()
    return Bench(Yard(tmp_path, settings, lambda: operations), store, operations)


Call = Callable[..., Any]


@pytest.fixture(params=["auto", "legacy"])
async def call(request: pytest.FixtureRequest, bench: Bench) -> AsyncIterator[Call]:
    """``await call(tool, **arguments)``: the structured content; ``call.fails(…)`` that of an error."""
    async with Client(build_app(bench.yard), mode=request.param) as client:
        yield caller_of(client)


@pytest.fixture
def worker(bench: Bench) -> Callable[[str], AbstractAsyncContextManager[Call]]:
    """``async with worker(task_id) as call``: the tools as the agent of that task sees them."""

    @asynccontextmanager
    async def connect(task_id: str) -> AsyncIterator[Call]:
        bench.add_agent(task_id, token=f"secret of {task_id}")
        yard = Yard(bench.yard.root, bench.yard.settings, lambda: bench.operations, token=f"secret of {task_id}")
        async with Client(build_app(yard)) as client:
            yield caller_of(client)

    return connect


def caller_of(client: Client) -> Call:
    async def succeed(tool: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.structured_content
        assert result.structured_content is not None
        assert len(result.content[0].text) <= 10_000  # type: ignore[union-attr]
        return result.structured_content

    async def fail(tool: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        assert result.is_error, result.structured_content
        assert result.structured_content is not None
        assert set(result.structured_content) - {"unread"} == {"code", "message", "hint", "retryable", "details"}
        return result.structured_content

    succeed.fails = fail  # type: ignore[attr-defined]
    succeed.client = client  # type: ignore[attr-defined]
    return succeed
