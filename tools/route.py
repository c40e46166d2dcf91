"""``route``: messages between the lead and the agents: send, poll, acknowledge, count, clear."""

import json
from typing import Annotated, Any, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from ..server import clock, lapses, message_counts, message_types, messages, recipients
from ..server.errors import InvalidInput, NotAuthorized
from ..server.store import Row, Transaction
from ..server.wording import cut
from ..server.yard import Yard
from .shape import BUDGET, Call, Cursor, Limit, Result, first, is_gone, page, text_of, tool, yard_of

MOST_ACKNOWLEDGED = 500
MOST_AT_ONCE = 20  # with more, not even their ids would fit into a result


class Message(BaseModel):
    message_id: str
    sender: str
    recipient: str
    message_type: str
    content: Any
    priority: int
    created_at: str
    delivery_count: int
    unknown_type: bool | None = None
    uri: str | None = None


class Mailbox(BaseModel):
    recipient: str
    pending: int
    delivered: int
    acknowledged: int
    failed: int


class RouteResult(Result):
    message_id: str | None = None
    delivery_status: str | None = None
    broadcast_id: str | None = None
    recipients: list[str] | None = None
    messages: list[Message] | None = None
    messages_processed: int | None = None
    counts: dict[str, int] | None = None
    mailboxes: list[Mailbox] | None = None
    messages_deleted: int | None = None


async def route(
    call: Call,
    action: Literal["send", "poll", "acknowledge", "status", "clear_old"] = "send",
    target_agent: Annotated[str, Field(description="agent id, agent type, lead, or ALL")] = "",
    target: Annotated[str, Field(description="same")] = "",
    message_type: str = message_types.DEFAULT,
    content: Annotated[dict[str, Any] | str | None, Field(description="object or text")] = None,
    priority: Annotated[int | str, Field(description="1 urgent … 10")] = 5,
    message_id: str = "",
    message_ids: list[str] = [],  # noqa: B006  (never changed)
    limit: Limit = 10,
    wait_seconds: Annotated[float, Field(ge=0, le=50, description="poll: wait for mail")] = 0,
    older_than_days: Annotated[float, Field(ge=0, le=36500)] = 7,
    cursor: Cursor = "",
) -> RouteResult:
    yard = yard_of(call)
    if target and target_agent and target != target_agent:
        raise InvalidInput("target and target_agent differ.", hint="They mean the same; give one.")
    to = target_agent or target
    match action:
        case "send":
            return await _send(yard, messages.Draft(to, message_type, content, priority))
        case "poll":
            return await _poll(call, to, limit, wait_seconds)
        case "acknowledge":
            return await _acknowledge(yard, [*([message_id] if message_id else []), *message_ids])
        case "status":
            return await _status(yard, limit, cursor)
        case "clear_old":
            return await _clear_old(yard, older_than_days)


async def _send(yard: Yard, draft: messages.Draft) -> RouteResult:
    caller = await yard.caller()
    conf = yard.settings.messages
    sent = await yard.run(
        caller,
        messages.send,
        draft,
        sender=caller.name,
        agent_types=yard.settings.agents.keys(),
        max_queue=conf.max_queue,
        terms=messages.Terms(conf.expire_after_hours, conf.retention_days, conf.max_retries),
        now=clock.now(),
    )
    known = message_types.is_known(sent.message_type)
    return RouteResult(
        action="send",
        message_id=sent.message_ids[0],
        delivery_status="pending",
        broadcast_id=sent.broadcast_id,
        recipients=first(sent.recipients),
        messages_processed=len(sent.message_ids),
        note=None if known else f"{sent.message_type!r} is no known message type; it is delivered all the same.",
    )


async def _poll(call: Call, target: str, limit: int, wait_seconds: float) -> RouteResult:
    """Claim what is there, or wait for it; the claim is a write and is only tried when something is visible."""
    yard = yard_of(call)
    caller = await yard.caller()
    reader, conf = target or caller.name, yard.settings.messages
    boxes = await yard.read(caller, _mailboxes, yard, caller.name, reader, caller.is_lead)

    async def claimed() -> list[Row] | None:
        if not await yard.read(caller, messages.unread, boxes, now=clock.now()):
            return None
        if await is_gone(call):
            return []
        # A power cut ends who has claimed as well: the message comes again, as it does when a lease runs out.
        rows = await yard.run_again_if_lost(
            caller,
            messages.claim,
            boxes,
            reader=caller.name,
            limit=min(limit, MOST_AT_ONCE),
            lease_seconds=conf.lease_seconds,
            redelivery_seconds=conf.redelivery_seconds,
            now=clock.now(),
        )
        return rows or None

    async def due() -> float | None:
        return await yard.read(caller, messages.seconds_to_visible, boxes, now=clock.now())

    rows = await yard.changes.until(claimed, timeout_seconds=wait_seconds, due=due) or []
    note = f"A poll gives {MOST_AT_ONCE} messages at most; poll again." if limit > len(rows) == MOST_AT_ONCE else None
    return RouteResult(action="poll", messages=_shown(rows), messages_processed=len(rows), note=note)


def _mailboxes(tx: Transaction, yard: Yard, name: str, reader: str, is_lead: bool) -> list[str]:
    own = recipients.mailboxes(tx, name)
    if reader in own:
        return own
    if not is_lead:
        raise NotAuthorized(f"You are {name}; the mail of {reader} is not yours.", hint="Leave target_agent out.")
    return [recipients.box(tx, reader, agent_types=yard.settings.agents.keys())]


def _shown(rows: list[Row]) -> list[Message]:
    """Contents whole while they fit; of the others the beginning, and where the rest is."""
    found = [_message(row, json.loads(row["content"])) for row in rows]
    if sum(len(text_of(each)) for each in found) <= BUDGET:
        return found
    room = BUDGET // len(rows) - 420
    return [
        each
        if len(text_of(each.content)) <= room
        else each.model_copy(
            update={
                "content": cut(text_of(each.content), max(20, room // 2)),
                "uri": f"crewyard://messages/{each.message_id}",
            }
        )
        for each in found
    ]


def _message(row: Row, content: Any) -> Message:
    return Message(
        message_id=row["message_id"],
        sender=row["from_agent"],
        recipient=row["to_agent"],
        message_type=row["message_type"],
        content=content,
        priority=row["priority"],
        created_at=row["created_at"],
        delivery_count=row["delivery_count"],
        unknown_type=None if message_types.is_known(row["message_type"]) else True,
    )


async def _acknowledge(yard: Yard, message_ids: list[str]) -> RouteResult:
    if not message_ids:
        raise InvalidInput("acknowledge needs a message_id.", hint="route(action='poll') gives the ids.")
    if len(message_ids) > MOST_ACKNOWLEDGED:
        raise InvalidInput(
            f"acknowledge takes {MOST_ACKNOWLEDGED} ids at most.", hint="Give the rest with another call."
        )
    caller = await yard.caller()
    boxes = await yard.read(caller, recipients.mailboxes, caller.name)
    settled = await yard.run(caller, messages.acknowledge, message_ids, boxes, reader=caller.name, now=clock.now())
    before = len(set(message_ids)) - settled
    note = f"{before} had been acknowledged before." if before else None
    return RouteResult(action="acknowledge", messages_processed=settled, note=note)


async def _status(yard: Yard, limit: int, cursor: str) -> RouteResult:
    counts = await yard.store.read(message_counts.by_state)
    rows = await yard.store.read(message_counts.by_recipient, after=cursor, limit=limit + 1)
    boxes, next_cursor = page([Mailbox(**row) for row in rows], key=lambda box: box.recipient, limit=limit)
    return RouteResult(action="status", counts=counts, mailboxes=boxes, next_cursor=next_cursor)


async def _clear_old(yard: Yard, older_than_days: float) -> RouteResult:
    caller = await yard.caller()
    if not caller.is_lead:
        raise NotAuthorized("Only the lead may clear messages.", hint="acknowledge settles your own.")
    now, deleted = clock.now(), 0
    while ids := await yard.store.read(lapses.old_ids, older_than_days=older_than_days, now=now):
        deleted += await yard.run(caller, lapses.clear, ids, now=now, actor=caller.name)
    return RouteResult(action="clear_old", messages_deleted=deleted)


def route_tool() -> Tool:
    return tool(
        route,
        name="route",
        description="Send a message to an agent (or ALL), poll (wait for) and acknowledge your mail, count, clear it.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False),
    )
