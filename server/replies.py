"""Ours → MCP: the one place where an error becomes a tool's result (design 8).

An error is a result with ``isError`` and ``{code, message, hint, retryable, details}`` as structured content, since an
exception's text alone would lose the code. What nobody foresaw is logged with its traceback and told as
``internal_error``, without anything of it.
"""

import difflib
import json
import logging
from collections.abc import Sequence
from typing import Any

from mcp.types import CallToolResult, TextContent
from pydantic import ValidationError

from .errors import CrewyardError, InvalidInput
from .wording import cut

MOST_WORDS = 2_000  # characters of a message, a hint or a detail, which may repeat what was given
logger = logging.getLogger(__name__)


def of_error(error: BaseException, tool: str, schema: dict[str, Any]) -> CallToolResult:
    """The result for whatever a tool raised; ``schema`` is that of its arguments."""
    if isinstance(error, ValidationError):
        error = of_arguments(error, schema)
    if not isinstance(error, CrewyardError):
        logger.error("tool %s failed", tool, exc_info=error)
        error = CrewyardError(
            f"{tool} failed on an error of its own; nothing was changed by it.",
            hint="The server's log on stderr has the details. Call again, or why(subject=…).",
        )
    body = {
        "code": error.code,
        "message": cut(error.message, MOST_WORDS),
        "hint": cut(error.hint, MOST_WORDS),
        "retryable": error.retryable,
        "details": {
            key: cut(str(value), MOST_WORDS) if isinstance(value, bytes | str) else value
            for key, value in error.details.items()
        },
    }
    return result(body, is_error=True)


def result(body: dict[str, Any], *, is_error: bool = False) -> CallToolResult:
    """A result whose text is the same as its structured content, compact."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=str)
    content = body if not is_error else json.loads(text)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=content, is_error=is_error)


def told_as_well(answer: CallToolResult, facts: dict[str, Any]) -> CallToolResult:
    """The result with ``facts`` in it, where there are any."""
    return result((answer.structured_content or {}) | facts, is_error=bool(answer.is_error)) if facts else answer


def of_arguments(error: ValidationError, schema: dict[str, Any]) -> InvalidInput:
    """The first of the arguments that does not fit, with the nearest value that would."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "arguments"
    allowed = schema.get("properties", {}).get(name, {}).get("enum")
    if allowed and isinstance(first["input"], str):
        return InvalidInput(
            f"{name} has no value {first['input'][:80]!r}.", hint=_nearest(first["input"], allowed), argument=name
        )
    place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-")))
    return InvalidInput(f"{place}: {first['msg']}.", hint=f"Look at the schema of {name}.", argument=name)


def unknown_argument(tool: str, name: str, known: Sequence[str]) -> InvalidInput:
    return InvalidInput(f"{tool} has no argument {name[:80]!r}.", hint=_nearest(name, known), argument=name[:80])


def unknown(what: str, name: str, known: Sequence[str]) -> InvalidInput:
    return InvalidInput(f"There is no {what} {name[:80]!r}.", hint=_nearest(name, known))


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known) or 'none'}."
