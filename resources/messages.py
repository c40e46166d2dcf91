"""``crewyard://messages/{message_id}``: a message whole, where a poll had to cut its content."""

import json
from typing import Any

from mcp.server.mcpserver import MCPServer

from ..server import messages, recipients
from ..server.errors import NotAuthorized
from ..server.identity import Caller
from ..server.store import Row, Transaction
from ..server.yard import Yard
from .reading import JSON, read, shown_by, to_json

HIDDEN = ("id", "max_retries", "visible_at", "last_retry_at")


def register(app: MCPServer[Yard], yard: Yard) -> None:
    @app.resource("crewyard://messages/{message_id}", mime_type=JSON, description="One message, whole.")
    async def one_message(message_id: str) -> str:
        return to_json(await read(yard, _message, message_id, await yard.caller()))


def _message(tx: Transaction, message_id: str, caller: Caller) -> dict[str, Any]:
    row = messages.get(tx, message_id)
    if not caller.is_lead and row["to_agent"] not in recipients.mailboxes(tx, caller.name):
        raise NotAuthorized(f"Message {message_id} is not for {caller.name}.")
    return _shown(row)


def _shown(row: Row) -> dict[str, Any]:
    shown = {key: row[key] for key in row.keys() if key not in HIDDEN}  # noqa: SIM118  (a Row iterates its values)
    return {**shown, "content": json.loads(row["content"])}


SIGHTS = {
    "crewyard://messages/{message_id}": shown_by(lambda tx, message_id: _shown(messages.get(tx, message_id))),
}
