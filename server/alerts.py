"""What a person must know, as mail: to the lead and to project_manager, who is told by default (C-38, R-287)."""

from typing import Any

from . import messages, recipients
from .store import Transaction

ADMINISTRATOR = "project_manager"
LEVELS = {"critical": 1, "high": 2, "warning": 4, "info": 6}


def alert(tx: Transaction, level: str, title: str, message: str, *, now: str, **facts: Any) -> None:
    """Notify the lead and the project manager (R-289). ``level`` is critical, high, warning or info."""
    content = {"title": title, "message": message, "level": level, "sound": False, "agent_id": "orchestrator", **facts}
    for box in (recipients.LEAD, ADMINISTRATOR):
        messages.notify(tx, box, "alert", content, priority=LEVELS[level], now=now)
