"""``status``: how the crew stands, and what waits for the user."""

from collections.abc import Mapping

from .. import attention
from ..overview import AgentView, Overview
from ..store import Transaction
from ..wording import cut, lasted
from .base import NOT_INSTRUCTIONS, SlashCommand, Standing, in_short, look

MOST = 20
TASK = """\
Tell the user in a few sentences how the crew stands: what is done, what is under way, what waits for them and what \
they can do about it. What follows was read this moment, so no call is needed first; why(subject=ID) explains any id."""


def text(tx: Transaction, _: Mapping[str, str], at: Standing) -> str:
    return "\n".join([TASK, "", standing(tx, at), "", NOT_INSTRUCTIONS])


def standing(tx: Transaction, at: Standing) -> str:
    """What there is to say of the crew at this moment."""
    seen = look(tx, at)
    needs = attention.needs(tx, auto_approve=at.bounds.auto_approve, limit=MOST)
    parts = [
        ("Agents at work", [_agent(each) for each in seen.agents]),
        (
            "Merge queue",
            [f"{each.position}. {each.task_id} {each.status}{_because(each.error)}" for each in seen.merges],
        ),
        ("No agents are launched", [f"{each.scope}: {each.message}" for each in seen.holds]),
        ("Next attempts", [_delay(each) for each in attention.delays(tx, at.now, MOST)]),
        ("Waits for a person", [f"{each.subject}: {each.what}" for each in needs]),
    ]
    lines = [f"\n{head}:\n{_listed(items)}" for head, items in parts if items]
    return "\n".join([f"{in_short(seen)} {_supervised(seen)}", *lines])


def _agent(each: AgentView) -> str:
    since = "starting" if each.uptime_seconds is None else f"for {lasted(each.uptime_seconds)}"
    return f"{each.agent_id} on {each.task_id or 'no task'}, {since}"


def _delay(each: attention.Delay) -> str:
    return f"{each.task_id}: attempt {each.attempt} not before {each.until}: {each.because}"


def _because(error: str | None) -> str:
    return f": {cut(error, 200)}" if error else ""


def _supervised(seen: Overview) -> str:
    held = seen.supervisor is not None and seen.supervisor.is_held
    return "A supervisor acts." if held else "Nobody supervises at this moment: nothing is started or merged."


def _listed(items: list[str]) -> str:
    more = [f"and {len(items) - MOST} more"] if len(items) > MOST else []
    return "\n".join(f"- {cut(item, 400)}" for item in [*items[:MOST], *more])


COMMAND = SlashCommand(
    name="status",
    title="Status of the crew",
    description="How tasks, agents and merges stand, and what waits for you.",
    text=text,
)
