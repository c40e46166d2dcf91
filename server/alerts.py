"""What a person must know, as mail: to the lead and to project_manager, who is told by default (C-38, R-287)."""

from collections.abc import Collection
from typing import Any

from . import messages, recipients
from .store import Transaction

ADMINISTRATOR = "project_manager"
LEVELS = {"critical": 1, "high": 2, "warning": 4, "info": 6}
# Who learns of an error, by how grave it is. Beside the lead and the administrator these are types of agents:
# they are told where there is, or was, one of them, so that no mail piles up that nobody will read.
OF_ERRORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "critical": ("critical", (recipients.LEAD, ADMINISTRATOR, "architect")),
    "high": ("high", (recipients.LEAD, "architect", "code_developer")),
    "medium": ("warning", ("code_developer",)),
    "low": ("info", ()),
}


def alert(tx: Transaction, level: str, title: str, message: str, *, now: str, **facts: Any) -> None:
    """Notify the lead and the project manager (R-289). ``level`` is critical, high, warning or info."""
    _send(tx, (recipients.LEAD, ADMINISTRATOR), level, title, message, now, facts)


def of_error(
    tx: Transaction, severity: str, title: str, message: str, *, told: Collection[str] = (), now: str, **facts: Any
) -> list[str]:
    """Notify whom an error of this severity concerns, but for who is ``told`` of it already; returns the mailboxes."""
    level, to = OF_ERRORS[severity]
    present = (recipients.LEAD, ADMINISTRATOR)
    boxes = [box for box in to if box not in told and (box in present or recipients.is_type(tx, box))]
    _send(tx, boxes, level, title, message, now, facts)
    return boxes


def _send(
    tx: Transaction, boxes: Collection[str], level: str, title: str, message: str, now: str, facts: dict[str, Any]
) -> None:
    # Nobody of the crew may make a sound (CFR-009, R-013): it is not for a caller to say.
    content = {"title": title, "message": message, "level": level, "sound": False, "agent_id": "orchestrator", **facts}
    for box in boxes:
        messages.notify(tx, box, "alert", content, priority=LEVELS[level], now=now)
