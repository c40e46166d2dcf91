"""Agents whose program is not logged in: their type is held at once, and the plan waits for a person (L-18).

The hold is never given up, and the agent that met it counts for nothing. One launch is let through as a trial after a
pause, then after as long again as it has lasted; whoever begins anew has it tried at once.
"""

from . import alerts, clock, events, failures, holds
from .store import Row, Transaction
from .wording import cut, stopped

REASON = "not_logged_in"
CODE = "authentication_failure"
LONGEST_PAUSE = 3600.0
SAID_LENGTH = 200
_HEAD, _THEN = " are not logged in: ", " Tried again at "


def words_of(message: str) -> str | None:
    """The words of a failure, where they are those of a program that is not logged in."""
    return message.partition("Its last words: ")[2] if failures.named("agent_failed", message) == CODE else None


def cure_of(message: str) -> str:
    """What a person does about it, as the message of such a hold says first."""
    return message.partition(_HEAD)[2].partition(_THEN)[0] or message


def hold(tx: Transaction, agent: Row, said: str, cure: str, *, pause: float, now: str, actor: str) -> None:
    """Hold the launches of the agent's type, and tell a person, once, what to do about it."""
    agent_type, present = agent["agent_type"], holds.get(tx, agent["agent_type"], REASON)
    tx.run(
        "UPDATE agent_lifecycle SET metadata = json_set(metadata, '$.login', 1) WHERE agent_id = ?",
        (agent["agent_id"],),
    )
    events.record(
        tx, now=now, actor=actor, subject_type="agent", subject_id=agent["agent_id"], kind="agent_not_logged_in",
        why=cut(said, SAID_LENGTH),
    )  # fmt: skip
    if present is not None and agent["created_at"] < present["until"]:  # it was on its way already
        return
    lasted = 0.0 if present is None else clock.seconds_between(present["since"], now)
    until = clock.plus(now, min(max(pause, lasted), max(LONGEST_PAUSE, pause)))
    message = (
        f"agents of type {agent_type}{_HEAD}{stopped(cure)}{_THEN}{clock.local_time(until)}; "
        f"`crewyard run` of the same plan tries at once. Their program said: {cut(said, SAID_LENGTH)}"
    )
    holds.hold(tx, agent_type, REASON, message, until=until, now=now, actor=actor)
    if present is None:
        title = f"Agents of type {agent_type} are not logged in"
        alerts.alert(tx, "high", title, message, now=now, agent_type=agent_type)
