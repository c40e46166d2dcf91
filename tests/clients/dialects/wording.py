"""What the protocols have in common."""

import json
import uuid
from typing import Any

from ..scenarios import Asked, Use


def value(text: str) -> Any:
    """The JSON at the beginning of a tool's answer, since programs add their own words after it; or the text."""
    try:
        return json.JSONDecoder().raw_decode(text.lstrip())[0]
    except ValueError:
        return text


# What a model calls to get at tools that it is not offered yet; such a call is no turn of the script's.
SEARCHES = ("ToolSearch", "list_mcp_resources")


def call_id(asked: Asked, prefix: str, part: Use) -> str:
    """An id that tells which turn the call belongs to."""
    mark = "search" if part.tool in SEARCHES else f"{len(asked.turns):03d}"
    return f"{prefix}_{mark}_{uuid.uuid4().hex[:16]}"


def size(tool: Any) -> int:
    return len(json.dumps(tool, separators=(",", ":"), ensure_ascii=False))


def event(data: dict[str, Any], name: str = "") -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"
