"""Anthropic's Messages API, as Claude Code and others speak it."""

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

from ..scenarios import Asked, Part, Refuse, Say, Use
from .wording import call_id, event, size, value

PATH = re.compile(r"/v1/messages(/count_tokens)?$")
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 529: "overloaded_error"}
USAGE = {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 5}


def count(path: str, body: dict[str, Any]) -> dict[str, Any] | None:
    return {"input_tokens": len(json.dumps(body)) // 4} if path.endswith("count_tokens") else None


def read(path: str, body: dict[str, Any]) -> Asked:
    tools = {tool["name"]: size(tool) for tool in body.get("tools") or []}
    stream = bool(body.get("stream"))
    asked = Asked("messages", path, body.get("model", ""), tools, body.get("messages", []), stream=stream)
    begun = False
    for message in asked.messages:
        blocks = _blocks(message["content"])
        text = "\n".join(block["text"] for block in blocks if block["type"] == "text")
        if message["role"] == "assistant":
            begun = True
            asked.answered(text, [block["id"] for block in blocks if block["type"] == "tool_use"])
        elif message["role"] == "user":
            asked.said += "" if begun else text
            for block in blocks:
                if block["type"] == "tool_result":
                    asked.heard(block["tool_use_id"], value(_text(block.get("content"))))
    asked.searches = set(re.findall(r'"select:([^"]+)"', json.dumps(asked.messages)))
    return asked


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def _text(content: Any) -> str:
    return "".join(block.get("text", "") for block in _blocks(content) if block["type"] == "text")


def search(asked: Asked, missing: Sequence[str]) -> Use | None:
    """Claude Code names the tools that it keeps back, and sends those that its ToolSearch was asked for."""
    if "ToolSearch" not in asked.tools:
        return None
    named = "\n".join(_text(message["content"]) for message in asked.messages)
    found = [re.search(rf"\bmcp__\w+?__{tool}\b", named) for tool in missing]
    names = ",".join(match[0] if match else tool for match, tool in zip(found, missing, strict=True))
    return None if names in asked.searches else Use("ToolSearch", query=f"select:{names}", max_results=10)


def write(asked: Asked, parts: Sequence[Part]) -> str:
    blocks = [_block(asked, part) for part in parts]
    stop = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    message = {"id": f"msg_{uuid.uuid4().hex[:24]}", "type": "message", "role": "assistant", "model": asked.model}
    if not asked.stream:
        return json.dumps({**message, "content": blocks, "stop_reason": stop, "stop_sequence": None, "usage": USAGE})
    opened = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": USAGE}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": opened}]
    for index, block in enumerate(blocks):
        empty, delta = _streamed(block)
        events += [
            {"type": "content_block_start", "index": index, "content_block": block | empty},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    ended = {"stop_reason": stop, "stop_sequence": None}
    events += [{"type": "message_delta", "delta": ended, "usage": {"output_tokens": 5}}, {"type": "message_stop"}]
    return "".join(event(data, data["type"]) for data in events)


def _block(asked: Asked, part: Part) -> dict[str, Any]:
    if isinstance(part, Say):
        return {"type": "text", "text": part.text}
    return {"type": "tool_use", "id": call_id(asked, "toolu", part), "name": part.tool, "input": part.arguments}


def _streamed(block: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if block["type"] == "text":
        return {"text": ""}, {"type": "text_delta", "text": block["text"]}
    return {"input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}


def refusal(refuse: Refuse) -> dict[str, Any]:
    kind = refuse.kind or KINDS.get(refuse.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": refuse.message}}
