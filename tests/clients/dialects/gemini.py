"""Google's generateContent, as Gemini CLI speaks it."""

import json
import re
from collections.abc import Sequence
from typing import Any

from ..scenarios import Asked, Part, Refuse, Say, Use
from .wording import call_id, event, size, value

PATH = re.compile(r"/models/[^/]+:(generateContent|streamGenerateContent|countTokens)$")
KINDS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}


def count(path: str, body: dict[str, Any]) -> dict[str, Any] | None:
    return {"totalTokens": len(json.dumps(body)) // 4} if path.endswith(":countTokens") else None


def read(path: str, body: dict[str, Any]) -> Asked:
    declared = [each for tool in body.get("tools") or [] for each in tool.get("functionDeclarations", ())]
    model = path.rpartition("/")[2].partition(":")[0]
    tools = {each["name"]: size(each) for each in declared}
    asked = Asked("gemini", path, model, tools, body.get("contents", []), stream=path.endswith("streamGenerateContent"))
    begun = False
    for content in asked.messages:
        parts = content.get("parts", [])
        text = "\n".join(part["text"] for part in parts if part.get("text"))
        if content.get("role") == "model":
            begun = True
            calls = [part["functionCall"] for part in parts if "functionCall" in part]
            asked.answered(text, [call.get("id") or "" for call in calls])
            continue
        asked.said += "" if begun else text
        for part in parts:
            if "functionResponse" in part:
                answer = part["functionResponse"]
                asked.heard(answer.get("id") or "", _result(answer["response"]))
    return asked


def _result(response: dict[str, Any]) -> Any:
    return value(response["output"]) if isinstance(response.get("output"), str) else response


def search(asked: Asked, missing: Sequence[str]) -> Use | None:
    return None


def write(asked: Asked, parts: Sequence[Part]) -> str:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    content = {"role": "model", "parts": [_part(asked, part) for part in parts]}
    candidate = {"content": content, "finishReason": "STOP", "index": 0}
    answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": asked.model}
    return event(answer) if asked.stream else json.dumps(answer)


def _part(asked: Asked, part: Part) -> dict[str, Any]:
    if isinstance(part, Say):
        return {"text": part.text}
    call = {"id": call_id(asked, "call", part), "name": part.tool, "args": part.arguments}
    return {"functionCall": call}


def refusal(refuse: Refuse) -> dict[str, Any]:
    status = refuse.kind or KINDS.get(refuse.status, "INTERNAL")
    return {"error": {"code": refuse.status, "message": refuse.message, "status": status}}
