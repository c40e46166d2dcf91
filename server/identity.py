"""Who asks, and whether they still may in the moment in which what they ask is done (design 8).

An agent's token names it for as long as it lives. Whoever acts for a caller does so in one transaction with the check
that the caller has not ended meanwhile: a call may wait for most of a minute.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from . import agents, events, states
from .errors import NotAuthorized
from .recipients import LEAD
from .store import Transaction

T = TypeVar("T")

ENDED = "The agent has ended; it can do nothing more."
ASKED_LENGTH = 200
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Caller:
    """The lead, or one agent of the crew."""

    name: str
    is_lead: bool
    may_approve: bool  # merges (C-12)


THE_LEAD = Caller(LEAD, is_lead=True, may_approve=True)


def of_token(tx: Transaction, token: str, approvers: Collection[str]) -> Caller:
    """The live agent that was given ``token``. Raises NotAuthorized."""
    row = agents.by_token(tx, token)
    if row is None:
        ended = agents.given(tx, token)
        known = {} if ended is None else {"agent_id": ended["agent_id"]}
        raise NotAuthorized("This server's token belongs to no live agent.", hint=ENDED, **known)
    return Caller(row["agent_id"], is_lead=False, may_approve=row["agent_type"] in approvers)


def acting(
    tx: Transaction, name: str, unit: Callable[..., T], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] = {}
) -> T:
    """Do a unit of work for the lead, or for an agent that lives. Raises NotAuthorized, and then has done nothing."""
    if name != LEAD and agents.get(tx, name)["status"] not in states.LIVE_AGENT:
        raise NotAuthorized(f"Agent {name} has ended.", hint=ENDED, agent_id=name)
    return unit(tx, *args, **kwargs)


def refused(tx: Transaction, name: str, asked: str, times: int, *, now: str) -> None:
    """Record that ``name`` asked for what it may not have; ``asked`` names it and holds nothing that was given."""
    events.record(
        tx,
        now=now,
        actor=name,
        subject_type="caller",
        subject_id=name,
        kind="not_authorized",
        asked=asked[:ASKED_LENGTH],
        times=times,
    )
