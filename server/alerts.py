"""What a person must know, as mail: to the lead and to project_manager, who is told by default (C-38, R-287).

``project_manager`` and the others beside the lead are types of agents. They are told where there is, or was, one of
them, so that no mail piles up that nobody will read; and not of what to call, since agents lack the lead's tools.
"""

from collections.abc import Collection
from typing import Any

from . import lapses, messages, recipients
from .store import Transaction
from .wording import stopped

ADMINISTRATOR = "project_manager"
LEVELS = {"critical": 1, "high": 2, "warning": 4, "info": 6}
# Who learns of an error, by how grave it is.
OF_ERRORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "critical": ("critical", (recipients.LEAD, ADMINISTRATOR, "architect")),
    "high": ("high", (recipients.LEAD, "architect", "code_developer")),
    "medium": ("warning", ("code_developer",)),
    "low": ("info", ()),
}


def alert(
    tx: Transaction, level: str, title: str, message: str, *, now: str, also: Collection[str] = (), **facts: Any
) -> None:
    """Notify the lead, the project manager (R-289) and ``also``. ``level`` is critical, high, warning or info.

    ``next``, among the facts, is for the lead.
    """
    boxes = dict.fromkeys((recipients.LEAD, ADMINISTRATOR, *also))
    _send(tx, _present(tx, boxes), level, title, message, now, facts)


def of_error(
    tx: Transaction, severity: str, title: str, message: str, *, told: Collection[str] = (), now: str, **facts: Any
) -> list[str]:
    """Notify whom an error of this severity concerns, but for who is ``told`` of it already; returns the mailboxes."""
    level, to = OF_ERRORS[severity]
    boxes = [box for box in _present(tx, to) if box not in told]
    _send(tx, boxes, level, title, message, now, facts)
    return boxes


def withdraw(tx: Transaction, error_id: str, *, now: str, actor: str) -> None:
    """The error is over: whichever agents have not read of it yet need not; the lead may want to know all the same."""
    for row in tx.all(
        "SELECT message_id, status FROM agent_message WHERE status IN ('pending', 'delivered') AND status = 'pending' "
        "AND to_agent <> ? AND from_agent = ? AND message_type = 'alert' AND content ->> '$.error_id' = ?",
        (recipients.LEAD, recipients.SYSTEM, error_id),
    ):
        why = "what it tells of is over"
        lapses.end(tx, row, "expired", now=now, actor=actor, why=why, error_message=why)


def _present(tx: Transaction, boxes: Collection[str]) -> list[str]:
    return [box for box in boxes if box == recipients.LEAD or recipients.is_type(tx, box)]


def _send(
    tx: Transaction, boxes: Collection[str], level: str, title: str, message: str, now: str, facts: dict[str, Any]
) -> None:
    # Nobody of the crew may make a sound (CFR-009, R-013): it is not for a caller to say.
    said = {"title": title, "message": stopped(message), "level": level, "sound": False, "agent_id": "orchestrator"}
    for_agents = {name: fact for name, fact in facts.items() if name != "next"}
    for box in boxes:
        content = said | (facts if box == recipients.LEAD else for_agents)
        messages.notify(tx, box, "alert", content, priority=LEVELS[level], now=now)
