"""What ends agents and starts them again: ``agents`` with ``kill``, ``kill_stalled``, ``restart``, ``restart_failed``.

Each records the wish in one transaction; the acting supervisor carries it out, and the call waits a bounded time to
tell what became of it.
"""

from collections.abc import Awaitable, Callable

from ..server import agents as domain
from ..server import checkups, clock, restarts
from ..server.restarts import Asked, Standing
from ..server.store import Row
from ..server.wording import cut
from ..server.yard import Yard
from .agents_health import look
from .agents_results import AgentsResult, Killed, Scheduled
from .shape import Call, page, required, yard_of

GRACE_SECONDS = 10.0
KILL_SLACK_SECONDS = 3.0
START_SECONDS = 10.0
REASON_LENGTH = 300
NOT_YET = "It has not ended yet; why(subject=agent_id) tells how it stands."


async def kill(call: Call, agent_id: str, grace: float | None) -> AgentsResult:
    required("kill", "agent_id", agent_id, hint="agents(action='list') shows the live agents.")
    yard = yard_of(call)
    caller = await yard.caller()
    grace = GRACE_SECONDS if grace is None else grace
    await yard.run(
        caller,
        domain.request_kill,
        agent_id,
        reason=f"killed by {caller.name}",
        outcome="fail",
        grace_seconds=grace,
        now=clock.now(),
        actor=caller.name,
    )
    row = await yard.changes.until(_ended(yard, agent_id), timeout_seconds=grace + KILL_SLACK_SECONDS)
    if row is None:
        return AgentsResult(action="kill", status="partial", agent_id=agent_id, agents_killed=0, message=NOT_YET)
    ends = _Ends(row)
    return AgentsResult(
        action="kill",
        agent_id=agent_id,
        task_id=row["task_id"],
        pid=row["pid"],
        agents_killed=int(ends.killed),
        killed_gracefully=ends.gracefully,
        kill_signal=ends.signal,
        killed_at=row["completed_at"],
        message=ends.message,
    )


async def kill_stalled(call: Call, agent_type: str, grace: float | None) -> AgentsResult:
    """Those that are stalled at this moment; their tasks go on with other agents, and that counts as a restart."""
    yard = yard_of(call)
    caller = await yard.caller()
    grace = yard.settings.crew.grace_period_seconds if grace is None else grace
    checked, _ = await look(yard, agent_type=agent_type)
    stalled = await yard.run(
        caller, checkups.end_stalled, checked, grace_seconds=grace, now=clock.now(), actor=caller.name
    )
    deadline = grace + KILL_SLACK_SECONDS
    names = [each.row["agent_id"] for each in stalled]

    async def all_ended() -> list[Row] | None:
        rows = [await yard.store.read(domain.get, name) for name in names]
        return rows if all(row["completed_at"] for row in rows) else None

    rows = await yard.changes.until(all_ended, timeout_seconds=deadline) or [
        await yard.store.read(domain.get, name) for name in names
    ]
    ended = {row["agent_id"]: _Ends(row) for row in rows if row["status"] == "killed"}
    killed = [
        Killed(
            agent_id=each.row["agent_id"],
            task_id=each.row["task_id"],
            seconds_since_heartbeat=round(each.silent_seconds, 3),
            kill_signal=ended[each.row["agent_id"]].signal,
        )
        for each in stalled
        if each.row["agent_id"] in ended
    ]
    shown, more = page(killed, key=lambda each: each.agent_id, limit=len(killed) + 1)
    left = len(names) - len(killed)
    return AgentsResult(
        action="kill_stalled",
        status="partial" if left else "success",
        agents_killed=len(killed),
        killed_agents=shown,
        message=f"{left} more are being ended, or have ended by themselves." if left else None,
        note="killed_agents is cut; agents(action='list', state='killed') shows them all." if more else None,
    )


async def restart(call: Call, agent_id: str, force: bool, grace: float | None) -> AgentsResult:
    required("restart", "agent_id", agent_id, hint="agents(action='list', state='all') shows every agent.")
    yard = yard_of(call)
    caller = await yard.caller()
    row = await yard.store.read(domain.get, agent_id)
    await yard.operations.require_fit({row["agent_type"]})
    grace = yard.settings.crew.grace_period_seconds if grace is None else grace
    asked = await yard.run(
        caller, restarts.of_agent, agent_id, force=force, grace_seconds=grace, now=clock.now(), actor=caller.name
    )

    async def settled() -> Standing | None:
        standing = await yard.store.read(restarts.standing, asked, now=clock.now())
        return standing if standing.new_agent is not None or standing.hindrance is not None else None

    standing = await yard.changes.until(settled, timeout_seconds=grace + START_SECONDS)
    if standing is None:
        standing = await yard.store.read(restarts.standing, asked, now=clock.now())
    new = standing.new_agent
    waits = f"It is recorded; why(subject='{asked.task_id}') tells what it waits for."
    return AgentsResult(
        action="restart",
        status="success" if new is not None else "partial",
        old_agent_id=agent_id,
        new_agent_id=None if new is None else new["agent_id"],
        task_id=asked.task_id,
        attempt=standing.attempt,
        restarting_in_seconds=round(standing.seconds, 3),
        message=None if new is not None else cut(standing.hindrance or waits, REASON_LENGTH),
    )


async def restart_failed(call: Call, agent_type: str, force: bool) -> AgentsResult:
    yard = yard_of(call)
    caller = await yard.caller()
    wanted = agent_type or None
    if agent_type:
        yard.settings.agent(agent_type)
    types = await yard.store.read(restarts.types_of, wanted, force=force, now=clock.now())
    if types:
        await yard.operations.require_fit(types)
    asked = await yard.run(
        caller,
        restarts.of_failed,
        wanted,
        force=force,
        max_parallel=yard.settings.crew.max_parallel,
        now=clock.now(),
        actor=caller.name,
    )
    views = [await _scheduled(yard, each) for each in asked]
    shown, more = page(views, key=lambda each: each.task_id, limit=len(views) + 1)
    note = (
        None if views else "No restart waits for its time." + ("" if force else " force=true takes failed tasks too.")
    )
    return AgentsResult(
        action="restart_failed",
        agents_scheduled=shown,
        total=len(views),
        note="agents_scheduled is cut; plan(action='show') shows every task." if more else note,
    )


async def _scheduled(yard: Yard, asked: Asked) -> Scheduled:
    seconds, hindrance = await yard.store.read(restarts.hindered, asked, now=clock.now())
    return Scheduled(
        agent_id=asked.agent_id,
        task_id=asked.task_id,
        reason=cut(" ".join(filter(None, [asked.reason, hindrance])), REASON_LENGTH),
        restarting_in_seconds=round(seconds, 3),
    )


def _ended(yard: Yard, agent_id: str) -> Callable[[], Awaitable[Row | None]]:
    async def ended() -> Row | None:
        row = await yard.store.read(domain.get, agent_id)
        return row if row["completed_at"] else None

    return ended


class _Ends:
    """How an agent that was to be killed has ended: it may have done so by itself in the same moment."""

    def __init__(self, row: Row) -> None:
        self.killed = row["status"] == "killed"
        self.gracefully = row["exit_signal"] != 9 if self.killed else None
        self.signal = ("SIGTERM" if self.gracefully else "SIGKILL") if self.killed else None
        how = f"was ended by {self.signal}" if self.killed else f"ended by itself first ({row['status']})"
        self.message = f"{row['agent_id']} {how}; its worktree {row['workspace']} is kept."
