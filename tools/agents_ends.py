"""What ends agents and starts them again: ``agents`` with ``kill``, ``kill_stalled``, ``restart``, ``restart_failed``.

Each records the wish in one transaction; the acting supervisor carries it out, and the call waits a bounded time to
tell what became of it (``kills``, ``restarting``).
"""

from ..server import kills, restarting
from ..server.kills import GRACE_SECONDS
from ..server.wording import cut
from .agents_results import AgentsResult, Killed, Scheduled
from .shape import Call, page, required, yard_of

REASON_LENGTH = 300
NOT_YET = "It has not ended yet; why(subject=agent_id) tells how it stands."


async def kill(call: Call, agent_id: str, grace: float | None) -> AgentsResult:
    required("kill", "agent_id", agent_id, hint="agents(action='list') shows the live agents.")
    yard = yard_of(call)
    grace = GRACE_SECONDS if grace is None else grace
    end = await kills.kill(yard, await yard.caller(), agent_id, grace_seconds=grace)
    if end is None:
        return AgentsResult(action="kill", status="partial", agent_id=agent_id, agents_killed=0, message=NOT_YET)
    return AgentsResult(
        action="kill",
        agent_id=agent_id,
        task_id=end.row["task_id"],
        pid=end.row["pid"],
        agents_killed=int(end.killed),
        killed_gracefully=end.gracefully,
        kill_signal=end.signal,
        killed_at=end.row["completed_at"],
        message=end.told,
    )


async def kill_stalled(call: Call, agent_type: str, grace: float | None) -> AgentsResult:
    yard = yard_of(call)
    grace = yard.settings.crew.grace_period_seconds if grace is None else grace
    done = await kills.kill_stalled(yard, await yard.caller(), agent_type=agent_type, grace_seconds=grace)
    killed = [
        Killed(
            agent_id=each.row["agent_id"],
            task_id=each.row["task_id"],
            seconds_since_heartbeat=round(each.silent_seconds, 3),
            kill_signal=end.signal,
        )
        for each in done.found
        if (end := done.ended.get(each.row["agent_id"])) is not None and end.killed
    ]
    shown, more = page(killed, key=lambda each: each.agent_id, limit=len(killed) + 1)
    left = len(done.found) - len(killed)
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
    grace = yard.settings.crew.grace_period_seconds if grace is None else grace
    asked, standing = await restarting.restart(yard, await yard.caller(), agent_id, force=force, grace_seconds=grace)
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
    views = [
        Scheduled(
            agent_id=each.asked.agent_id,
            task_id=each.asked.task_id,
            reason=cut(" ".join(filter(None, [each.asked.reason, each.hindrance])), REASON_LENGTH),
            restarting_in_seconds=round(each.seconds, 3),
        )
        for each in await restarting.restart_failed(yard, await yard.caller(), agent_type, force=force)
    ]
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
