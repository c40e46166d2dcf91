"""Looks at agents at the moment somebody asks: measured by the effects, judged by the domain."""

from . import checkups, clock
from .checkups import Checkup
from .sections import Health
from .yard import Yard


async def look(
    yard: Yard, agent_id: str = "", agent_type: str = "", limits: Health | None = None
) -> tuple[list[Checkup], str]:
    """Each agent's check-up, those in the worst health first, and how the crew stands. Raises AgentNotFound."""
    if agent_type:
        yard.settings.agent(agent_type)
    found = await yard.store.read(checkups.subjects, agent_id or None, agent_type or None)
    measured = await yard.operations.measure([each.row["agent_id"] for each in found])
    return checkups.all_of(found, measured, limits or yard.settings.health, now=clock.now())
