"""``spawn-agent-session``: start an agent on a task, in its own worktree (R-097 to R-104)."""

from typing import Annotated

from pydantic import Field

from .. import agents, clock
from ..errors import (
    AlreadyAssigned,
    NoAvailableWork,
    ResourceExhaustion,
    SingletonViolation,
    SpawnFailed,
    StartupTimeout,
    TaskNotFound,
)
from ..identity import Caller
from ..sections import ONE_YEAR
from ..yard import Yard
from .base import Answer, Command, Example, Parameters

UNSUPERVISED = "Nobody supervises from here on: `crewyard start` checks and merges its work and restarts it."


class Given(Parameters):
    task_id: Annotated[str, Field(min_length=1, description="the task to work on")]
    agent_type: Annotated[str | None, Field(description="a type of crewyard.toml; else the task's own")] = None
    timeout_seconds: Annotated[
        float | None,
        Field(gt=0, le=ONE_YEAR, description="the longest it may take; else its type's timeout_seconds (3600)"),
    ] = None
    auto_restart: Annotated[bool, Field(description="false: the task fails where this agent does")] = True


class Spawned(Answer):
    agent_id: str
    agent_type: str
    task_id: str
    status: str
    pid: int | None
    created_at: str
    started_at: str
    expected_completion: str
    timeout_seconds: float
    worktree_path: str
    supervised: bool
    next_step: str | None


async def run(yard: Yard, caller: Caller, given: Given) -> Spawned:
    if given.agent_type:
        yard.settings.agent(given.agent_type)
    done = await yard.operations.spawn(
        given.task_id,
        agent_type=given.agent_type,
        timeout_seconds=given.timeout_seconds,
        actor=caller.name,
        max_restarts=None if given.auto_restart else 0,
        instance_id=given.orchestrator_instance_id,
    )
    row = await yard.read(caller, agents.get, done.agent_id)
    supervised = await yard.operations.is_supervised()
    return Spawned(
        **{key: row[key] for key in ("agent_id", "agent_type", "task_id", "status", "pid", "created_at")},
        started_at=done.started_at,
        expected_completion=clock.plus(done.started_at, row["timeout_seconds"]),
        timeout_seconds=row["timeout_seconds"],
        worktree_path=done.worktree_path,
        supervised=supervised,
        next_step=None if supervised else UNSUPERVISED,
    )


COMMAND = Command(
    name="spawn-agent-session",
    purpose="Start an agent's program on a task, in the task's own worktree.",
    parameters=Given,
    answer=Spawned,
    run=run,
    acts=True,
    reads=("specs_task", "specs_task_dependency", "orchestrator_task", "launch_hold", "supervisor_lease"),
    writes=(
        "agent_lifecycle",
        "agent_restart_log",
        "orchestrator_task",
        "specs_task",
        "git_worktree_tracker",
        "agent_message",
        "launch_hold",
        "supervisor_lease",
        "event",
    ),
    rules=("CFR-000", "CFR-014"),
    errors=(
        SingletonViolation,
        TaskNotFound,
        NoAvailableWork,
        AlreadyAssigned,
        ResourceExhaustion,
        SpawnFailed,
        StartupTimeout,
    ),
    criteria=(
        "One agent of a type in a worktree, decided in the transaction that records the intention to start it.",
        "No launch while the machine has no room; why(subject=TASK) names the gate.",
        "The agent outlives the command: its runner keeps its output, its time limit and how it ended.",
        "The task is `in_progress` and its orchestrator_task `running`, with assigned_agent and started_at.",
    ),
    related=("create-parallel-tasks", "create-worktree", "monitor-agent-lifecycle", "kill-stalled-agent"),
    differs=(
        "A task that is `ready` need not be reserved first; the worktree is made where there is none.",
        "An agent is stalled after [health] stale_after_seconds (300) without a sign of life, not after 60.",
        'One agent of a type in each worktree (CFR-000); [launch] singleton_scope = "type" gives the literal rule.',
    ),
    examples=(
        Example("An agent of the task's own type.", {"TASK_ID": "parser"}),
        Example("A second one in the same worktree is refused.", {"TASK_ID": "parser"}),
        Example("A task that waits for another.", {"AGENT_TYPE": "scripted", "TASK_ID": "release"}),
    ),
)
