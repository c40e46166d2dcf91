"""``agents``: list, spawn, heartbeat, kill and read the log of the crew's agents."""

from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from ..server import agents as domain
from ..server import clock, outputs, overview
from ..server.errors import InvalidInput, NotAuthorized
from ..server.store import Row, Transaction
from ..server.waiting import until
from .shape import BUDGET, Call, Cursor, Lean, Limit, Result, fitting, page, tool, yard_of

KILL_SLACK_SECONDS = 3.0
STATES = ("starting", "running", "completed", "failed", "killed", "timeout", "lost", "all")


class Agent(Lean):
    agent_id: str
    agent_type: str
    status: str
    task_id: str | None
    pid: int | None
    uptime_seconds: float | None
    last_heartbeat: str | None
    restarts: int


class AgentsShown(Result):
    agents: list[Agent] | None = None
    total: int | None = None
    agent_id: str | None = None
    last_heartbeat: str | None = None
    next_heartbeat_due: str | None = None


class AgentsResult(AgentsShown):
    pid: int | None = None
    worktree_path: str | None = None
    started_at: str | None = None
    agents_killed: int | None = None
    killed_gracefully: bool | None = None
    kill_signal: str | None = None
    text: str | None = None
    uri: str | None = None


async def agents(
    call: Call,
    action: Literal["list", "spawn", "heartbeat", "kill", "log"] = "list",
    agent_id: str = "",
    agent_type: str = "",
    state: Annotated[str, Field(description="list: a status, or all; default the live ones")] = "",
    task_id: str = "",
    timeout_seconds: Annotated[float | None, Field(gt=0)] = None,
    force: Annotated[bool, Field(description="kill at once")] = False,
    grace_period_seconds: Annotated[float, Field(ge=0, le=600)] = 10,
    lines: Annotated[int, Field(ge=1, le=1000)] = 50,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> AgentsResult:
    match action:
        case "list":
            return await _list(call, agent_type, state, limit, cursor)
        case "spawn":
            return await _spawn(call, agent_type, task_id, timeout_seconds)
        case "heartbeat":
            return await _heartbeat(call, agent_id)
        case "kill":
            return await _kill(call, agent_id, 0.0 if force else grace_period_seconds)
        case "log":
            return await _log(call, agent_id, lines)


async def own_agents(
    call: Call,
    action: Literal["heartbeat", "list"] = "heartbeat",
    agent_id: str = "",
    agent_type: str = "",
    state: str = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> AgentsShown:
    if action == "list":
        return await _list(call, agent_type, state, limit, cursor)
    return await _heartbeat(call, agent_id)


async def _list(call: Call, agent_type: str, state: str, limit: int, cursor: str) -> AgentsResult:
    if state and state not in STATES:
        raise InvalidInput(f"There is no state {state!r}.", hint=f"Give one of {', '.join(STATES)}.")
    rows, total = await yard_of(call).store.read(_listed, agent_type or None, state or None, cursor, limit + 1)
    views = [Agent(**vars(view)) for view in overview.agent_views(rows, now=clock.now())]
    shown, next_cursor = page(views, key=lambda agent: agent.agent_id, limit=limit)
    return AgentsResult(action="list", agents=shown, total=total, next_cursor=next_cursor)


def _listed(
    tx: Transaction, agent_type: str | None, state: str | None, after: str, limit: int
) -> tuple[list[Row], int]:
    total = tx.value(
        "SELECT count(*) FROM agent_lifecycle WHERE (:type IS NULL OR agent_type = :type) "
        "AND (:state = 'all' OR status = :state OR (:state IS NULL AND status IN ('starting', 'running')))",
        {"type": agent_type, "state": state},
    )
    return domain.listed(tx, agent_type=agent_type, state=state, after=after, limit=limit), int(total)


async def _spawn(call: Call, agent_type: str, task_id: str, timeout_seconds: float | None) -> AgentsResult:
    if not task_id:
        raise InvalidInput("spawn needs a task.", hint="assign(action='find') lists the tasks that are ready.")
    yard = yard_of(call)
    if agent_type:
        yard.settings.agent(agent_type)
    caller = await yard.caller()
    done = await yard.operations.spawn(
        task_id, agent_type=agent_type or None, timeout_seconds=timeout_seconds, actor=caller.name
    )
    return AgentsResult(
        action="spawn",
        agent_id=done.agent_id,
        pid=done.pid,
        worktree_path=done.worktree_path,
        started_at=done.started_at,
    )


async def _heartbeat(call: Call, agent_id: str) -> AgentsResult:
    """An agent beats for itself alone; the lead may for any (R-110 forbids it to monitors, which never call this)."""
    yard = yard_of(call)
    caller = await yard.caller()
    if caller.is_lead:
        if not agent_id:
            raise InvalidInput("heartbeat needs an agent_id.", hint="agents(action='list') shows the live agents.")
    elif agent_id and agent_id != caller.name:
        raise NotAuthorized(f"You are {caller.name}; you cannot beat for {agent_id}.", hint="Leave agent_id out.")
    now = clock.now()
    subject = agent_id or caller.name
    due = await yard.store.run(domain.heartbeat, subject, now=now)
    return AgentsResult(action="heartbeat", agent_id=subject, last_heartbeat=now, next_heartbeat_due=due)


async def _kill(call: Call, agent_id: str, grace: float) -> AgentsResult:
    if not agent_id:
        raise InvalidInput("kill needs an agent_id.", hint="agents(action='list') shows the live agents.")
    yard = yard_of(call)
    caller = await yard.caller()
    await yard.store.run(
        domain.request_kill,
        agent_id,
        reason=f"killed by {caller.name}",
        outcome="fail",
        grace_seconds=grace,
        now=clock.now(),
        actor=caller.name,
    )

    async def ended() -> Row | None:
        row = await yard.store.read(domain.get, agent_id)
        return row if row["completed_at"] else None

    row = await until(yard.store, ended, timeout_seconds=grace + KILL_SLACK_SECONDS)
    if row is None:
        note = "It has not ended yet; why(subject=agent_id) tells how it stands."
        return AgentsResult(action="kill", status="partial", agent_id=agent_id, agents_killed=0, note=note)
    sigkilled = row["exit_signal"] == 9
    return AgentsResult(
        action="kill",
        agent_id=agent_id,
        pid=row["pid"],
        agents_killed=1,
        killed_gracefully=not sigkilled,
        kill_signal="SIGKILL" if sigkilled else "SIGTERM",
    )


async def _log(call: Call, agent_id: str, lines: int) -> AgentsResult:
    if not agent_id:
        raise InvalidInput("log needs an agent_id.", hint="agents(action='list', state='all') shows every agent.")
    row = await yard_of(call).store.read(domain.get, agent_id)
    # The beginning is left to the resource where it does not fit; JSON writes a control character as six.
    text = fitting(outputs.tail(row["run_dir"], lines=lines, max_chars=BUDGET))
    return AgentsResult(action="log", agent_id=agent_id, text=text, uri=f"crewyard://agents/{agent_id}/log")


def lead_tool() -> Tool:
    return tool(
        agents,
        name="agents",
        description="List the crew's agents, spawn (start) one on a task, kill (stop) one, read its log output.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False),
    )


def worker_tool() -> Tool:
    return tool(
        own_agents,
        name="agents",
        description="Send your own heartbeat (sign of life), or list the crew's agents.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
    )
