"""What all resources share: a unit that only reads, its answer as JSON, an unknown id as a clear error; and how a
subscriber's server sees that a unit would answer something else.

Static resources cannot take the library's Context; so every resource is bound to its yard by a closure.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from ..server import events
from ..server.errors import CrewyardError, NotFound
from ..server.store import Transaction
from ..server.subscriptions import Sight
from ..server.yard import Yard

P = ParamSpec("P")
T = TypeVar("T")
JSON = "application/json"
# In place of the present in what is compared, so that the mere passing of time is no change.
NEVER = "1970-01-01T00:00:00.000Z"


async def read(yard: Yard, unit: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run the unit for whoever this server serves. Raises the library's errors, which keep their text."""
    try:
        return await yard.read(await yard.caller(), unit, *args, **kwargs)
    except NotFound as error:
        raise ResourceNotFoundError(error.as_text) from error
    except CrewyardError as error:
        raise ResourceError(error.as_text) from error


def shown_by(unit: Callable[..., object], **arguments: Any) -> Sight:
    """The sight of a resource that shows what the unit answers."""

    async def look(yard: Yard, _before: object, **variables: Any) -> object:
        return await yard.store.read(unit, **arguments, **variables)

    return Sight(look)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """As of the last event that counts; events up to ``read_to`` were looked at."""

    changed_by: int = 0
    read_to: int = dataclasses.field(default=0, compare=False)


def changed_by(*subjects: str) -> Sight:
    """The sight of a resource that changes with events of these subjects, so that nobody need read it all to see it."""

    async def look(yard: Yard, before: _Seen | None, **_: Any) -> _Seen:
        return await yard.store.read(_seen, subjects, before)

    return Sight(look)


def _seen(tx: Transaction, subjects: tuple[str, ...], before: _Seen | None) -> _Seen:
    last = events.latest(tx)
    if before is None:
        return _Seen(read_to=last)
    changed = tx.value(  # the plus keeps SQLite from the index of subjects, which knows no order of events
        "SELECT event_id FROM event WHERE event_id > ? AND +subject_type IN (SELECT value FROM json_each(?)) "
        "ORDER BY event_id DESC LIMIT 1",
        (before.read_to, json.dumps(subjects)),
    )
    return _Seen(changed or before.changed_by, last)


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)
