"""``agents(action='health')``: how the agents stand, measured at the moment of the call."""

from ..server import checkups, clock, examining
from ..server.checkups import Checkup
from ..server.wording import cut
from .agents_results import Agent, AgentsResult
from .shape import Call, page, yard_of

REASON_LENGTH = 300


async def health(call: Call, agent_id: str, agent_type: str, limit: int, cursor: str) -> AgentsResult:
    """The worst come first. ``agents_restarted`` and ``agents_killed`` are those of the last hour."""
    yard = yard_of(call)
    checked, standing = await examining.look(yard, agent_id, agent_type)
    recent = await yard.store.read(checkups.recent, agent_id or None, agent_type or None, now=clock.now())
    place = {each.row["agent_id"]: each.place for each in checked}
    views = [_view(each) for each in checked if each.place > cursor]
    shown, next_cursor = page(views, key=lambda each: place[each.agent_id], limit=limit)
    count = [each.judged.health for each in checked].count
    return AgentsResult(
        action="health",
        health_status=standing,
        agents=shown,
        agents_checked=len(checked),
        agents_healthy=count("healthy") + count("completed"),
        agents_warning=count("warning"),
        agents_stalled=count("stalled"),
        agents_dead=count("dead"),
        agents_restarted=recent.restarted,
        agents_killed=recent.killed,
        next_cursor=next_cursor,
    )


def _view(each: Checkup) -> Agent:
    row = each.row
    return Agent(
        agent_id=row["agent_id"],
        agent_type=row["agent_type"],
        status=row["status"],
        task_id=row["task_id"],
        pid=row["pid"],
        uptime_seconds=each.uptime_seconds,
        last_heartbeat=row["last_heartbeat"],
        health=each.judged.health,
        process_alive=each.process_alive,
        cpu_percent=None if each.cpu_percent is None else round(each.cpu_percent, 1),
        memory_mb=None if each.memory_mb is None else round(each.memory_mb, 1),
        seconds_since_heartbeat=round(each.silent_seconds, 3),
        reasons=[cut(reason, REASON_LENGTH) for reason in each.judged.reasons] or None,
    )
