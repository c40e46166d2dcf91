"""What keeps an agent from being started for a task: decided as the dispatcher decides it, told in words."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from . import agents, dispatches, holds, schedule
from .next_calls import call
from .store import Row, Transaction

CREW = call("agents", action="list")
NAMED = 5


@dataclass(frozen=True)
class Bounds:
    """The settings that hold work back; ``uptime`` is the clock's that the lease goes by, where that is to be told, and
    infinite where its holder does not live.

    ``gone`` are agents whose processes somebody looked for and did not find. ``stages`` are those of the workflows.
    """

    default_agent: str
    max_instances: Mapping[str, int]
    auto_approve: bool
    uptime: float | None = None
    gone: Collection[str] = ()
    stages: Sequence[str] = ()


@dataclass(frozen=True)
class Hindrance:
    """What is in the way, as the end of a sentence, and the call that helps."""

    because: str
    next_call: str = CREW


# What is said before the hold's own message, and the call that helps. ``{scope}`` is the type of agent.
HOLDS: dict[str, tuple[str, str]] = {
    "stopped": ("no agent can start", call("assign", action="assign", task_ids=["{task}"])),
    "not_started": ("no {scope} can start", call("agents", action="list", agent_type="{scope}")),
    "cpu": ("agents start only one by one", CREW),
    "memory": ("no agent can start", call("agents", action="health")),
    "disk": ("no agent can start", call("worktrees", action="cleanup", all=True)),
    "launch_rate": ("no agent can start", CREW),
    "quota": ("no {scope} can start", call("agents", action="list", agent_type="{scope}", state="all")),
    "failed_starts": ("no {scope} can start", call("agents", action="list", agent_type="{scope}", state="failed")),
    "not_logged_in": ("no {scope} can start", call("agents", action="list", agent_type="{scope}", state="failed")),
    "merges_wait": ("no agent can start", call("worktrees", action="queue")),
}


def held(tx: Transaction, task_id: str, agent_type: str, now: str) -> Hindrance | None:
    """The gate that is shut for this type."""
    if (hold := holds.in_force(tx, agent_type, now)) is not None:
        said, next_call = (text.replace("{scope}", agent_type) for text in HOLDS[hold["reason"]])
        until = f" until {hold['until']}" if hold["until"] else ""
        because = f"{said}{until} ({hold['reason']}, since {hold['since']}): {hold['message'].rstrip('.')}"
        return Hindrance(because, next_call.replace("{task}", task_id))
    if (trial := holds.trial_of(tx, agent_type, now)) is not None:
        message = trial["message"].rstrip(".")
        tried = call("agents", action="list", agent_type=agent_type, state="all")
        return Hindrance(f"one {agent_type} at a time is let through on trial, after: {message}", tried)
    return None


def of_type(tx: Transaction, agent_type: str, now: str) -> Hindrance | None:
    """What is to be mended before an agent of this type can start, whoever asks for one."""
    if any(row["scope"] == agent_type and row["reason"] in holds.TRIED for row in holds.listed(tx)):
        return held(tx, "…", agent_type, now)
    return None


def of_ready(tx: Transaction, dispatch: Row, task_id: str, agent_type: str, now: str, bounds: Bounds) -> str | None:
    """What keeps a ready task from being chosen now."""
    used = dispatches.slots_used(tx, dispatch["dispatch_id"])
    if used >= dispatch["max_parallel"]:
        return _slots_taken(dispatch, used)
    if busy := _instances_busy(tx, agent_type, bounds):
        return busy
    limits = dispatches.Limits(dispatch["max_parallel"] - used, instances_left(tx, bounds), bounds.default_agent)
    choice = schedule.choose(
        dispatches.candidates(tx, dispatch, limits, now=now),
        slots=limits.slots,
        busy_files=dispatches.busy_files(tx),
        instances_left=limits.instances_left,
    )
    if task_id in choice.start:
        return None
    reason = choice.held.get(task_id, "other tasks are more urgent")
    return _more_urgent(choice.start) if choice.start and reason == schedule.NO_SLOT else reason


def of_assigned(tx: Transaction, work: Row, bounds: Bounds) -> str | None:
    """What keeps an assignment that waits for its agent waiting."""
    if work["dispatch_id"]:
        dispatch = dispatches.get(tx, work["dispatch_id"])
        used = dispatches.agents_at_work(tx, work["dispatch_id"])
        if used >= dispatch["max_parallel"]:
            return _slots_taken(dispatch, used)
    return _instances_busy(tx, work["agent_type"], bounds)


def instances_left(tx: Transaction, bounds: Bounds) -> dict[str, int]:
    """How many more agents of each bounded type may start."""
    alive: dict[str, int] = {}
    for row in agents.live(tx):
        alive[row["agent_type"]] = alive.get(row["agent_type"], 0) + 1
    return {kind: limit - alive.get(kind, 0) for kind, limit in bounds.max_instances.items()}


def _slots_taken(dispatch: Row, used: int) -> str:
    some = f"{used} of {dispatch['max_parallel']} agents of dispatch {dispatch['dispatch_id']}"
    return f"{some} are at work or about to start"


def _instances_busy(tx: Transaction, agent_type: str, bounds: Bounds) -> str | None:
    """The agents that are all there may be of a type at the same time (C-15)."""
    limit = bounds.max_instances.get(agent_type)
    busy = [f"{row['agent_id']} on task {row['task_id']}" for row in agents.live(tx) if row["agent_type"] == agent_type]
    if limit is None or len(busy) < limit:
        return None
    return f"max_instances ({limit}) agents of type {agent_type} are at work: {', '.join(busy[:NAMED])}"


def _more_urgent(task_ids: list[str]) -> str:
    if len(task_ids) == 1:
        return f"task {task_ids[0]} is more urgent"
    more = f" and {len(task_ids) - NAMED} more" if len(task_ids) > NAMED else ""
    return f"tasks {', '.join(task_ids[:NAMED])}{more} are more urgent"
