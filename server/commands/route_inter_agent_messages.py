"""``route-inter-agent-messages``: look at, deliver, send, settle and clear messages (R-142 to R-147)."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from .. import clock, lapses, message_counts, message_types, messages, recipients
from ..errors import InvalidInput, MessageNotFound, NotAuthorized, QueueFull, UnknownRecipient
from ..identity import Caller
from ..store import Row, Transaction
from ..yard import Yard
from .base import Answer, Command, Example, Listed, Parameters, from_json, required

Action = Literal["poll", "deliver", "send", "acknowledge", "clear_old"]
OURSELVES = (recipients.LEAD, "orchestrator")
MAILBOXES_SHOWN = 100


def _object(value: Any) -> Any:
    """A payload that was given as text: JSON where it is an object, else what it says."""
    return from_json(value) if isinstance(value, str) and value.lstrip().startswith("{") else value


class Given(Parameters):
    action: Annotated[Action, Field(description="what to do")] = "poll"
    recipient: Annotated[str | None, Field(description="an agent, a type of agent, lead; send: ALL as well")] = None
    batch_size: Annotated[int, Field(ge=1, le=500, description="poll, deliver: the most messages")] = 10
    delivery_timeout_seconds: Annotated[
        float, Field(gt=0, le=86400, description="deliver: time to acknowledge; then they are delivered again")
    ] = 300
    sender: Annotated[str | None, Field(description="send: orchestrator; nobody writes in another's name")] = None
    message_type: Annotated[str, Field(description="send: task_assignment, spec_ready, …")] = message_types.DEFAULT
    payload: Annotated[dict[str, Any] | str | None, BeforeValidator(_object), Field(description="send: JSON")] = None
    priority: Annotated[int | str, Field(description="send: 1 (urgent) to 10")] = 5
    message_ids: Annotated[Listed[str] | None, Field(description="acknowledge: which ones")] = None
    older_than_days: Annotated[float, Field(ge=0, le=36500, description="clear_old: ended so long ago")] = 7


class Result(Answer):
    action: Action


class Message(BaseModel):
    message_id: str
    sender: str
    recipient: str
    message_type: str
    payload: Any
    priority: int
    status: str
    created_at: str
    delivery_count: int
    retry_count: int


class Polled(Result):
    messages_pending: int
    messages: list[Message]


class Failure(BaseModel):
    message_id: str
    recipient: str
    error: str
    retry_count: int


class Delivered(Result):
    messages_delivered: int
    messages_failed: int
    messages: list[Message]
    failed: list[Failure]
    delivery_summary: dict[str, dict[str, int]]


class Sent(Result):
    message_id: str
    status: str
    created_at: str
    recipients: list[str]


class Acknowledged(Result):
    messages_acknowledged: int


class Cleared(Result):
    messages_deleted: int
    disk_space_freed_mb: float
    deleted_statuses: dict[str, int]


async def run(yard: Yard, caller: Caller, given: Given) -> Result:
    match given.action:
        case "poll":
            return await yard.read(caller, _polled, yard, given, clock.now())
        case "deliver":
            return await yard.run(caller, _delivered, yard, given, caller.name, clock.now())
        case "send":
            return await _send(yard, caller, given)
        case "acknowledge":
            return await _acknowledge(yard, caller, given)
        case "clear_old":
            return await yard.run(caller, _cleared, given.older_than_days, clock.now(), caller.name)


async def _send(yard: Yard, caller: Caller, given: Given) -> Sent:
    if given.sender is not None and given.sender not in OURSELVES:
        raise NotAuthorized(
            f"A message of {given.sender} is its own to send.", hint="Leave SENDER out; an agent has route and report."
        )
    to = required("route-inter-agent-messages", given.action, "RECIPIENT", given.recipient)
    conf, now = yard.settings.messages, clock.now()
    sent = await yard.run(
        caller,
        messages.send,
        messages.Draft(to, given.message_type, {} if given.payload is None else given.payload, given.priority),
        sender=caller.name,
        agent_types=yard.settings.agents.keys(),
        max_queue=conf.max_queue,
        terms=messages.Terms(conf.expire_after_hours, conf.retention_days, conf.max_retries),
        now=now,
    )
    return Sent(
        action="send", message_id=sent.message_ids[0], status="pending", created_at=now, recipients=sent.recipients
    )


async def _acknowledge(yard: Yard, caller: Caller, given: Given) -> Acknowledged:
    required("route-inter-agent-messages", given.action, "MESSAGE_IDS", "yes" if given.message_ids else None)
    boxes = await yard.read(caller, recipients.mailboxes, caller.name)
    settled = await yard.run(
        caller, messages.acknowledge, given.message_ids or [], boxes, reader=caller.name, now=clock.now()
    )
    return Acknowledged(action="acknowledge", messages_acknowledged=settled)


def _polled(tx: Transaction, yard: Yard, given: Given, now: str) -> Polled:
    """What waits, as it is: nothing is claimed by looking."""
    box = recipients.box(tx, given.recipient or recipients.LEAD, agent_types=yard.settings.agents.keys())
    rows = messages.visible(tx, [box], given.batch_size, now=now)
    return Polled(
        action="poll", messages_pending=messages.unread(tx, [box], now=now), messages=[_message(row) for row in rows]
    )


def _delivered(tx: Transaction, yard: Yard, given: Given, reader: str, now: str) -> Delivered:
    """Settle what was not acknowledged in time, and hand out our own mail; agents fetch theirs."""
    ended = messages.sweep(tx, now=now)
    rows: list[Row] = []
    if given.recipient is None or recipients.box(tx, given.recipient, agent_types=yard.settings.agents) == reader:
        rows = messages.claim(
            tx,
            recipients.mailboxes(tx, reader),
            reader=reader,
            limit=given.batch_size,
            lease_seconds=given.delivery_timeout_seconds,
            redelivery_seconds=yard.settings.messages.redelivery_seconds,
            now=now,
        )
    return Delivered(
        action="deliver",
        messages_delivered=len(rows),
        messages_failed=len(ended),
        messages=[_message(row) for row in rows],
        failed=[_failure(each) for each in ended],
        delivery_summary={row.pop("recipient"): row for row in message_counts.by_recipient(tx, limit=MAILBOXES_SHOWN)},
    )


def _cleared(tx: Transaction, days: float, now: str, actor: str) -> Cleared:
    statuses = lapses.old(tx, older_than_days=days, now=now)
    before = lapses.size(tx)
    deleted = lapses.clear_old(tx, older_than_days=days, now=now, actor=actor)
    freed = (before - lapses.size(tx)) / 1_000_000
    return Cleared(
        action="clear_old", messages_deleted=deleted, disk_space_freed_mb=round(freed, 3), deleted_statuses=statuses
    )


def _message(row: Row) -> Message:
    return Message(
        sender=row["from_agent"],
        recipient=row["to_agent"],
        payload=json.loads(row["content"]),
        **{
            key: row[key]
            for key in (
                "message_id", "message_type", "priority", "status", "created_at", "delivery_count", "retry_count",
            )
        },
    )  # fmt: skip


def _failure(lapse: lapses.Lapse) -> Failure:
    row = lapse.message
    error = "delivery_timeout" if row["status"] == "delivered" else lapse.code
    return Failure(message_id=row["message_id"], recipient=row["to_agent"], error=error, retry_count=row["retry_count"])


COMMAND = Command(
    name="route-inter-agent-messages",
    purpose="Look at, deliver, send, acknowledge and clear the messages between agents.",
    parameters=Given,
    answer=Result,
    run=run,
    reads=("agent_message", "agent_lifecycle", "specs_task"),
    writes=("agent_message", "event"),
    rules=("CFR-014",),
    errors=(UnknownRecipient, QueueFull, InvalidInput, NotAuthorized, MessageNotFound),
    criteria=(
        "The most urgent and oldest first; no message is with two readers at a time.",
        "What is not acknowledged in time is delivered again up to three times, then it has failed, and its sender is "
        "told.",
        "What ended more than seven days ago is deleted.",
    ),
    related=("spawn-agent-session", "coordinate-dependencies", "handle-agent-errors"),
    differs=(
        "Agents fetch their mail by themselves (route); `deliver` hands out the orchestrator's own.",
        "`acknowledge` is added: it settles what was delivered.",
        "A pending message waits for 24 h ([messages] expire_after_hours), not for 5 minutes.",
        "`delivery_timeout` stands in `failed`, for each message that nobody acknowledged in time.",
        "SENDER is the orchestrator: nobody writes in another's name.",
    ),
    examples=(
        Example(
            "Word to any agent of a type.",
            {
                "ACTION": "send",
                "RECIPIENT": "scripted",
                "MESSAGE_TYPE": "spec_ready",
                "PAYLOAD": '{"spec_id": "SPEC-1"}',
            },
        ),
        Example("What waits for them.", {"ACTION": "poll", "RECIPIENT": "scripted"}),
        Example("Our own mail.", {"ACTION": "deliver", "BATCH_SIZE": "1"}),
        Example("What ended long ago is deleted.", {"ACTION": "clear_old", "OLDER_THAN_DAYS": "7"}),
        Example("Nobody of that name.", {"ACTION": "send", "RECIPIENT": "scriptd", "PAYLOAD": "hello"}),
    ),
)
