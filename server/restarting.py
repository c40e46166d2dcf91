"""Starts agents again for somebody: the wish is recorded, and the new agent is waited for."""

from dataclasses import dataclass

from . import agents, clock, restarts
from .identity import Caller
from .restarts import Asked, Standing
from .yard import Yard

START_SECONDS = 10.0


@dataclass(frozen=True)
class Scheduled:
    """A restart that was brought forward: when it comes, and what is in its way."""

    asked: Asked
    seconds: float
    hindrance: str | None


async def restart(
    yard: Yard, caller: Caller, agent_id: str, *, force: bool, grace_seconds: float
) -> tuple[Asked, Standing]:
    """Start an agent's task again at once. Raises as ``restarts.of_agent``, and as ``require_fit``."""
    row = await yard.store.read(agents.get, agent_id)
    await yard.operations.require_fit({row["agent_type"]})
    asked = await yard.run(
        caller,
        restarts.of_agent,
        agent_id,
        force=force,
        grace_seconds=grace_seconds,
        now=clock.now(),
        actor=caller.name,
    )
    return asked, await launched(yard, asked, grace_seconds + START_SECONDS)


async def launched(yard: Yard, asked: Asked, seconds: float) -> Standing:
    """How the wish stands once the new agent runs, once something is in its way, or after that time."""
    yard.operations.attend([asked.task_id], launch=True)

    async def settled() -> Standing | None:
        standing = await yard.store.read(restarts.standing, asked, now=clock.now())
        return standing if standing.new_agent is not None or standing.hindrance is not None else None

    await yard.changes.until(settled, timeout_seconds=seconds)
    return await yard.store.read(restarts.standing, asked, now=clock.now())


async def restart_failed(yard: Yard, caller: Caller, agent_type: str, *, force: bool) -> list[Scheduled]:
    """Bring every restart that waits for its time forward; with ``force`` open failed tasks again as well."""
    wanted = agent_type or None
    if agent_type:
        yard.settings.agent(agent_type)
    types = await yard.store.read(restarts.types_of, wanted, force=force, now=clock.now())
    if types:
        await yard.operations.require_fit(types)
    found: list[Asked] = await yard.run(
        caller,
        restarts.of_failed,
        wanted,
        force=force,
        max_parallel=yard.settings.crew.max_parallel,
        now=clock.now(),
        actor=caller.name,
    )
    yard.operations.attend([each.task_id for each in found], launch=True)
    return [Scheduled(each, *await yard.store.read(restarts.hindered, each, now=clock.now())) for each in found]
