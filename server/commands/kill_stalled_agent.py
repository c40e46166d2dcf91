"""``kill-stalled-agent``: end one agent, or all that are stalled (R-111 to R-115)."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .. import kills
from ..checkups import Checkup
from ..errors import AgentNotFound, CrewyardError, IllegalTransition, KillFailed, ProcessNotFound
from ..identity import Caller
from ..kills import GRACE_SECONDS, End
from ..sections import ONE_YEAR
from ..yard import Yard
from .base import Answer, Command, Example, Parameters, required, told_as
from .monitor_agent_lifecycle import limits_of


class Given(Parameters):
    action: Annotated[Literal["kill", "kill_stalled"], Field(description="one agent, or all that are stalled")] = "kill"
    agent_id: Annotated[str | None, Field(description="kill: the agent")] = None
    grace_period_seconds: Annotated[float, Field(ge=0, le=600, description="from SIGTERM to SIGKILL")] = GRACE_SECONDS
    force_kill: Annotated[bool, Field(description="SIGKILL at once")] = False
    cleanup: Annotated[bool, Field(description="kill: remove its worktree too, where no work is in it")] = True
    heartbeat_timeout_seconds: Annotated[
        float | None,
        Field(gt=0, le=ONE_YEAR, description="kill_stalled: silent so long; else [health] stale_after_seconds (300)"),
    ] = None


class Result(Answer):
    action: Literal["graceful_kill", "force_kill", "kill_stalled"]


class Killed(Result):
    agent_id: str
    task_id: str | None
    pid: int | None
    kill_signal: str | None
    killed_gracefully: bool | None
    killed_at: str
    grace_period_seconds: float
    worktree: str
    message: str


class Ended(BaseModel):
    agent_id: str
    task_id: str | None
    seconds_since_heartbeat: float
    kill_signal: str | None


class KilledStalled(Result):
    agents_killed: int
    killed_agents: list[Ended]
    agents_left: list[str]


async def run(yard: Yard, caller: Caller, given: Given) -> Result:
    grace = 0.0 if given.force_kill else given.grace_period_seconds
    if given.action == "kill":
        agent_id = required("kill-stalled-agent", given.action, "AGENT_ID", given.agent_id)
        return await _kill(yard, caller, agent_id, grace, given)
    limits = limits_of(yard.settings.health, given.heartbeat_timeout_seconds)
    done = await kills.kill_stalled(yard, caller, agent_type="", grace_seconds=grace, limits=limits)
    ended = [
        _ended(each, done.ended[each.row["agent_id"]]) for each in done.found if each.row["agent_id"] in done.ended
    ]
    left = [each.row["agent_id"] for each in done.found if each.row["agent_id"] not in done.ended]
    return KilledStalled(action="kill_stalled", agents_killed=len(ended), killed_agents=ended, agents_left=left)


async def _kill(yard: Yard, caller: Caller, agent_id: str, grace: float, given: Given) -> Killed:
    with told_as(ProcessNotFound, of=IllegalTransition):
        end = await kills.kill(yard, caller, agent_id, grace_seconds=grace)
    if end is None:
        raise KillFailed(
            f"{agent_id} has not ended within {grace:g} s and a little more.",
            hint="It is still being ended; monitor-agent-lifecycle shows how it stands.",
            agent_id=agent_id,
        )
    row = end.row
    return Killed(
        action="force_kill" if given.force_kill else "graceful_kill",
        agent_id=agent_id,
        task_id=row["task_id"],
        pid=row["pid"],
        kill_signal=end.signal,
        killed_gracefully=end.gracefully,
        killed_at=row["completed_at"],
        grace_period_seconds=grace,
        worktree=await _cleaned(yard, caller, row["task_id"]) if given.cleanup and row["task_id"] else "kept",
        message=end.told.partition(";")[0] + ".",
    )


async def _cleaned(yard: Yard, caller: Caller, task_id: str) -> str:
    """Remove the worktree where nothing is lost with it (C-35), and say so."""
    try:
        await yard.operations.cleanup(task_id, force=False, dry_run=False, actor=caller.name)
    except CrewyardError as error:
        return f"kept: {error.message}"
    return "removed"


def _ended(each: Checkup, end: End) -> Ended:
    return Ended(
        agent_id=each.row["agent_id"],
        task_id=each.row["task_id"],
        seconds_since_heartbeat=round(each.silent_seconds, 3),
        kill_signal=end.signal,
    )


COMMAND = Command(
    name="kill-stalled-agent",
    purpose="End an agent with all its processes, or every agent that is stalled.",
    parameters=Given,
    answer=Result,
    run=run,
    acts=True,
    reads=("agent_lifecycle", "specs_task", "git_worktree_tracker", "supervisor_lease"),
    writes=(
        "agent_lifecycle",
        "orchestrator_task",
        "specs_task",
        "git_worktree_tracker",
        "agent_message",
        "supervisor_lease",
        "event",
        "metrics",
        "agent_restart_log",
        "error_events",
        "launch_hold",
    ),
    rules=("CFR-014",),
    errors=(AgentNotFound, ProcessNotFound, KillFailed),
    criteria=(
        "No process of the agent is left, whatever it started.",
        "Its row says `killed`, when and why; the task of one that was killed is `failed`.",
        "The task of one that was stalled goes on with another agent, which counts as a restart.",
        "A worktree with work in it is kept.",
    ),
    related=("monitor-agent-lifecycle", "auto-restart-agent", "cleanup-worktrees"),
    differs=(
        "A worktree that holds work is kept (C-35), and `worktree` says why; that is no `cleanup_failed`.",
        "Stalled is who is silent for 300 s ([health]); the documents' 120 s can be given.",
    ),
    examples=(
        Example("One agent.", {"AGENT_ID": "{agent}"}),
        Example("Nobody is stalled.", {"ACTION": "kill_stalled", "HEARTBEAT_TIMEOUT_SECONDS": "120"}),
        Example("It has ended already.", {"AGENT_ID": "{agent}"}),
    ),
)
