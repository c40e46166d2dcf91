"""OpenAI's Responses API, as Codex speaks it."""

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from ..scenarios import Asked, Part, Refuse, Say, Use
from .wording import call_id, event, size, value

PATH = re.compile(r"/responses$")
KINDS = {401: "invalid_api_key", 429: "rate_limit_exceeded", 529: "server_is_overloaded"}
TRIES = 5
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 15,
}


def count(path: str, body: dict[str, Any]) -> dict[str, Any] | None:
    return None


def read(path: str, body: dict[str, Any]) -> Asked:
    tools = dict(_tools(body.get("tools") or []))
    given = body.get("input", [])
    items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given
    asked = Asked("responses", path, body.get("model", ""), tools, items, stream=bool(body.get("stream")))
    begun = after_text = False
    for item in items:
        kind, role = item.get("type", "message"), item.get("role")
        if kind == "message" and role == "user" and not begun:
            asked.said += _text(item["content"]) + "\n"
        elif (kind == "message" and role == "assistant") or kind in ("function_call", "custom_tool_call"):
            begun = True
            is_text = kind == "message"
            # A text and the calls that follow it are one answer.
            if is_text or not (after_text and item["call_id"].split("_")[1] == f"{len(asked.turns) - 1:03d}"):
                asked.answered(_text(item.get("content")), [] if is_text else [item["call_id"]])
            after_text = is_text
        elif kind in ("function_call_output", "custom_tool_call_output"):
            asked.heard(item["call_id"], value(_output(item["output"])))
    return asked


def _tools(tools: Sequence[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """Names as they are called; Codex puts the tools of an MCP server into a namespace of its name."""
    for tool in tools:
        if tool["type"] == "namespace":
            for each in tool["tools"]:
                yield f"{tool['name']}.{each['name']}", size(each)
        else:
            yield tool.get("name", tool["type"]), size(tool)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content or [])


def _output(output: Any) -> str:
    """What a tool answered, without what Codex puts before it."""
    return re.sub(r"^Wall time: .*\nOutput:\n", "", _text(output))


def search(asked: Asked, missing: Sequence[str]) -> Use | None:
    """Codex asks the model before its MCP servers are up; this call returns when they are."""
    tried = sum("_search_" in item.get("call_id", "") for item in asked.messages)
    return (
        Use("list_mcp_resources", server="crewyard")
        if "list_mcp_resources" in asked.tools and tried < 2 * TRIES
        else None
    )


def write(asked: Asked, parts: Sequence[Part]) -> str:
    response: dict[str, Any] = {"id": f"resp_{uuid.uuid4().hex}", "object": "response", "model": asked.model}
    output = [_item(asked, part) for part in parts]
    if not asked.stream:
        return json.dumps({**response, "status": "completed", "output": output, "usage": USAGE})
    done = {**response, "status": "completed", "output": output, "usage": USAGE}
    events = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        *({"type": "response.output_item.done", "output_index": n, "item": item} for n, item in enumerate(output)),
        {"type": "response.completed", "response": done},
    ]
    return "".join(event(data, str(data["type"])) for data in events)


def _item(asked: Asked, part: Part) -> dict[str, Any]:
    if isinstance(part, Say):
        content = [{"type": "output_text", "text": part.text, "annotations": []}]
        return {"type": "message", "id": f"msg_{uuid.uuid4().hex}", "role": "assistant", "content": content}
    space, _, name = part.tool.rpartition(".")
    item = {"type": "function_call", "call_id": call_id(asked, "call", part), "name": name}
    return {**item, **({"namespace": space} if space else {}), "arguments": json.dumps(part.arguments)}


def refusal(refuse: Refuse) -> dict[str, Any]:
    kind = refuse.kind or KINDS.get(refuse.status, "server_error")
    return {"error": {"message": refuse.message, "type": kind, "code": kind, "param": None}}
