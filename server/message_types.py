"""What messages are called, how urgent they are and what they may hold: an open registry (R-143, R-189, C-37, C-39).

Pure.
"""

import json
from typing import Any

from .errors import InvalidInput

KNOWN = frozenset(
    {
        "task_assignment",
        "task_complete",
        "spec_ready",
        "error_report",
        "dependency_unblocked",
        "status_update",
        "merged",
        "quality_report",
        "question",
        "answer",
        "review",
        "alert",
        "conflict_warning",
    }
)
ALIASES = {
    "spec_created": "spec_ready",
    "implement_priority": "task_assignment",
    "dependency_ready": "dependency_unblocked",
    "error_notification": "error_report",
    "task_completed": "task_complete",
}
DEFAULT = "status_update"
MAX_CONTENT_BYTES = 64 * 1024
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)  # json.dumps makes one for each call with options
PRIORITIES = {"urgent": 1, "critical": 1, "high": 2, "normal": 5, "medium": 5, "low": 8}


def canonical(name: str) -> str:
    """The registry's own name for a type; an unknown one stays as it is. Raises InvalidInput for no usable name."""
    name = name.strip()
    if not name or len(name) > 64 or not name.isprintable():
        raise InvalidInput(f"{name[:80]!r} is no message type.", hint=f"Known types: {', '.join(sorted(KNOWN))}.")
    return ALIASES.get(name, name)


def is_known(name: str) -> bool:
    return name in KNOWN


def priority(value: Any) -> int:
    """A priority as number or name: 1 is the most urgent, 10 the least. Raises InvalidInput."""
    text = str(value).strip().lower()
    number = PRIORITIES.get(text) or (int(text) if text.isascii() and text.isdigit() and len(text) < 3 else 0)
    if isinstance(value, bool) or not 1 <= number <= 10:
        raise InvalidInput(
            f"{value!r} is no priority.", hint=f"Give 1 (most urgent) to 10, or one of {', '.join(PRIORITIES)}."
        )
    return number


def content(value: Any) -> str:
    """A message's content as JSON. Raises InvalidInput for what is no text or object, or too large."""
    if not isinstance(value, dict | str):
        raise InvalidInput("A message needs content: an object or text.", hint="Give content={…}.")
    try:
        text = _JSON.encode(value)
        size = len(text.encode())
    except (UnicodeEncodeError, ValueError, RecursionError) as error:
        raise InvalidInput("The content is no valid text or JSON object.", hint="Send plain UTF-8.") from error
    if size > MAX_CONTENT_BYTES:
        raise InvalidInput(
            f"The content has {size} bytes; {MAX_CONTENT_BYTES} is the limit.",
            hint="Write it into a file of the repository and send its path.",
            bytes=size,
        )
    return text
