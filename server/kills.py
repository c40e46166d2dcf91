"""Ends agents for somebody: the wish is recorded, the acting supervisor carries it out, and its end is waited for."""

from collections.abc import Mapping
from dataclasses import dataclass

from . import agents, checkups, clock, examining
from .checkups import Checkup
from .identity import Caller
from .sections import Health
from .store import Row
from .yard import Yard

GRACE_SECONDS = 10.0
KILL_SLACK_SECONDS = 3.0


@dataclass(frozen=True)
class End:
    """How an agent that was to be killed has ended: it may have done so by itself in the same moment."""

    row: Row

    @property
    def killed(self) -> bool:
        return bool(self.row["status"] == "killed")

    @property
    def gracefully(self) -> bool | None:
        return self.row["exit_signal"] != 9 if self.killed else None

    @property
    def signal(self) -> str | None:
        return ("SIGTERM" if self.gracefully else "SIGKILL") if self.killed else None

    @property
    def told(self) -> str:
        how = f"was ended by {self.signal}" if self.killed else f"ended by itself first ({self.row['status']})"
        return f"{self.row['agent_id']} {how}; its worktree {self.row['workspace']} is kept."


@dataclass(frozen=True)
class Stalled:
    """Agents that were found stalled and are being ended, and how those of them have ended that did so in time."""

    found: list[Checkup]
    ended: Mapping[str, End]


async def kill(yard: Yard, caller: Caller, agent_id: str, *, grace_seconds: float) -> End | None:
    """How it ended; None where it has not within its grace and a little more.

    Raises AgentNotFound, IllegalTransition where it has ended before.
    """
    await yard.run(
        caller,
        agents.request_kill,
        agent_id,
        reason=f"killed by {caller.name}",
        outcome="fail",
        grace_seconds=grace_seconds,
        now=clock.now(),
        actor=caller.name,
    )
    ended = await _ends(yard, [agent_id], grace_seconds)
    return ended.get(agent_id)


async def kill_stalled(
    yard: Yard, caller: Caller, *, agent_type: str, grace_seconds: float, limits: Health | None = None
) -> Stalled:
    """Those that are stalled at this moment; their tasks go on with other agents, and that counts as a restart."""
    checked, _ = await examining.look(yard, agent_type=agent_type, limits=limits)
    stalled = await yard.run(
        caller, checkups.end_stalled, checked, grace_seconds=grace_seconds, now=clock.now(), actor=caller.name
    )
    return Stalled(stalled, await _ends(yard, [each.row["agent_id"] for each in stalled], grace_seconds))


async def _ends(yard: Yard, names: list[str], grace_seconds: float) -> dict[str, End]:
    """Wait for all of them, a bounded time; those that have ended by then."""

    async def ended() -> list[Row]:
        rows = [await yard.store.read(agents.get, name) for name in names]
        return [row for row in rows if row["completed_at"]]

    async def all_ended() -> list[Row] | None:
        rows = await ended()
        return rows if len(rows) == len(names) else None

    rows = await yard.changes.until(all_ended, timeout_seconds=grace_seconds + KILL_SLACK_SECONDS)
    return {row["agent_id"]: End(row) for row in (await ended() if rows is None else rows)}
