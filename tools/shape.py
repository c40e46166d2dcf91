"""What all tools share: the frame of a result, compact schemas, pages that fit.

No result is larger than 10,000 characters (contract 3): lists are cut where they would be, and the cursor says where
to go on. A client pays for every schema in every session, so titles, nulls and defaults of results are left out.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, Field
from starlette.requests import Request

from ..server import clock, replies
from ..server.errors import InvalidInput
from ..server.wording import cut
from ..server.yard import Yard

T = TypeVar("T")
Call = Context[Yard, Any]
BUDGET = 8_500  # of the 10,000 characters, what a list may take; the rest is the frame's

Limit = Annotated[int, Field(ge=1, le=500)]
Cursor = str  # next_cursor of the page before


class Result(BaseModel):
    """The frame of every result; ``unread`` is added where the caller has mail. What is not known is left out."""

    action: str
    status: Literal["success", "partial", "failed"] = "success"
    timestamp: str = Field(default_factory=clock.now)
    unread: int | None = None
    next_cursor: str | None = None
    note: str | None = None


class _Metadata(FuncMetadata):
    """The library's own would write each result three times, one of them for people, and check it once more."""

    def convert_result(self, result: Result) -> CallToolResult:
        return replies.result(result.model_dump(mode="json", exclude_none=True))


def yard_of(call: Call) -> Yard:
    return call.request_context.lifespan_context


async def is_gone(call: Call) -> bool:
    """Whether the connection is closed that the call came by: over HTTP it goes on, and answers nobody."""
    request = call.request_context.request
    return isinstance(request, Request) and await request.is_disconnected()


def refuse_others(action: str, takes: Mapping[str, Collection[str]], given: Mapping[str, Any]) -> None:
    """Raises InvalidInput where an argument is given that this action has no use for: it would be lost in silence."""
    for name, value in given.items():
        is_given = value is not None and value is not False and value != ""  # 0 is a value
        if is_given and name not in takes[action]:
            others = ", ".join(other for other in takes if name in takes[other])
            raise InvalidInput(
                f"{action} takes no {name}.", hint=f"Leave it out; {name} belongs to {others}.", argument=name
            )


def required(action: str, name: str, value: str, *, hint: str) -> None:
    """Raises InvalidInput where ``value`` is not given."""
    if not value:
        raise InvalidInput(f"{action} needs {'an' if name[0] in 'aeiou' else 'a'} {name}.", hint=hint, argument=name)


def tool(function: Callable[..., Any], *, name: str, description: str, hints: ToolAnnotations) -> Tool:
    """A tool with compact schemas. Its annotations are those of its most far-reaching action."""
    made = Tool.from_function(function, name=name, description=description, annotations=hints)
    made.parameters = _compact(made.parameters) | {"additionalProperties": False}
    known = made.fn_metadata
    made.fn_metadata = _Metadata(
        arg_model=known.arg_model,
        output_schema=_compact_result(known.output_schema or {}),
        output_model=known.output_model,
    )
    return made


def always_loaded(made: Tool) -> Tool:
    """The tool, as one that Claude Code shows its model from the start and never hides behind its tool search."""
    return made.model_copy(update={"meta": {"anthropic/alwaysLoad": True}})


def page(
    items: Iterable[T], *, key: Callable[[T], str], limit: int, budget: int = BUDGET
) -> tuple[list[T], str | None]:
    """As many items as fit, and the cursor behind the last one where there are more. Give ``limit + 1`` items."""
    taken: list[T] = []
    for item in items:
        budget -= len(text_of(item)) + 1
        if taken and (len(taken) >= limit or budget < 0):
            return taken, key(taken[-1])
        taken.append(item)
    return taken, None


def text_of(item: Any) -> str:
    """The item as it stands in the result."""
    if isinstance(item, BaseModel):
        return item.model_dump_json(exclude_none=True)
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"), default=str)


def fitting(text: str) -> str:
    """The end of ``text`` whose JSON keeps to the budget."""
    while len(text_of(text)) > BUDGET:
        text = text[len(text) // 8 + 1 :]
    return text


def first(values: Sequence[str], limit: int = 50) -> list[str]:
    """The first values, and a last line that says how many there are beside them."""
    head = [cut(value, 300) for value in values[:limit]]
    kept: list[str] = []
    room = 3_000
    for value in head:
        room -= len(value)
        if room < 0:
            break
        kept.append(value)
    left = len(values) - len(kept)
    return [*kept, f"… and {left} more"] if left else kept


def _compact(schema: dict[str, Any]) -> dict[str, Any]:
    """The arguments' schema: no titles, no nulls, no defaults that mean nothing given, definitions in their place."""
    compact: dict[str, Any] = _walk(schema, schema.get("$defs", {}))
    return compact


def _compact_result(schema: dict[str, Any]) -> dict[str, Any]:
    """A result's schema, in which a text field is named only and what is left out is not repeated.

    Nothing is required: clients on the TypeScript SDK hold an error to it as well, and would show none of its words.
    """
    whole: dict[str, Any] = _walk(schema, schema.get("$defs", {}))
    whole.pop("required", None)
    fields = list(whole["properties"].values())
    for field in fields:
        field.pop("default", None)
        items = field.get("items", {})
        items.pop("required", None)
        items.pop("description", None)
        fields = [*fields, *items.get("properties", {}).values()]
    for field in fields:
        if field == {"type": "string"}:
            field.clear()
    return whole


def _walk(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_walk(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _walk(definitions[node["$ref"].rsplit("/", 1)[1]], definitions)
    kept = {key: _inner(key, value, definitions) for key, value in node.items() if not _is_noise(key, value)}
    options = [each for each in kept.pop("anyOf", ()) if each != {"type": "null"}]
    if len(options) == 1:
        kept = dict(options[0]) | kept
    elif options:
        kept["anyOf"] = options
    if "enum" in kept or "const" in kept:
        kept.pop("type", None)
    return kept


def _inner(key: str, value: Any, definitions: dict[str, Any]) -> Any:
    if key == "properties":
        return {name: _walk(each, definitions) for name, each in value.items()}
    return _walk(value, definitions)


def _is_noise(key: str, value: Any) -> bool:
    return (
        key in ("title", "$defs", "maximum", "minimum")
        or (key == "default" and value in (None, "", [], False, 0))
        or (key == "additionalProperties" and value is True)
    )
