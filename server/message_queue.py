"""``MessageQueue``: the message store for Python programs, as document 004 writes it (R-290 to R-297).

It is the queue that ``route`` works on, with the state names of the view ``tasks``: ``in_progress`` is claimed and
``completed`` acknowledged. Programs are trusted as whoever runs them is: they can read the database anyway.
"""

import json
import os
import uuid
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import clock, durations, environment, lapses, messages, recipients, settings
from .errors import InvalidInput, MessageNotFound, NotAuthorized
from .store import Row, Store, Transaction

ROLES = (
    "architect",
    "code_developer",
    "project_manager",
    "assistant",
    "code_searcher",
    "ux_design_expert",
    "user_listener",
)
STATES = ("pending", "in_progress", "completed", "failed")
RUNNING = {"running": "in_progress"}


class MessageQueue:
    """Send, read and complete messages. Safe to share between threads; close it, or use it as a context manager.

    Names are those of ``crewyard.toml`` beside the database, the roles of a team, ``lead``, ids of agents, and those of
    ``agent_types``. Raises errors of ``crewyard.server.errors``.
    """

    def __init__(self, db_path: str | Path = "data/orchestrator.db", *, agent_types: Collection[str] = ()) -> None:
        path = Path(db_path).absolute()
        root = next((folder for folder in path.parents if (folder / settings.FILE_NAME).exists()), path.parent)
        if any(environment.agent_token(folder) for folder in path.parents):
            raise NotAuthorized(
                "An agent of the crew writes as itself, by its tool `route`.",
                hint=f"You are no agent? Unset {environment.AGENT_TOKEN}.",
            )
        conf = settings.load(root, os.environ)
        self._everyone = {*(conf.agents or ROLES), *agent_types}
        self._settings = conf.messages
        self._types = {*ROLES, *self._everyone}
        self._reader = f"program-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._store = Store(path)

    def send(
        self,
        sender: str,
        recipient: str,
        type: str,  # noqa: A002  (the document's own name)
        content: dict[str, Any] | str,
        priority: int | str = 5,
    ) -> int:
        """Queue a message, 1 being the most urgent; returns its id, for ``ALL`` the first of one a recipient."""
        draft = messages.Draft(recipient, type, content, priority)
        return self._store.run(self._send, draft, sender, clock.now())

    def get_messages(self, recipient: str, status: str | None = "pending", limit: int = 100) -> list[dict[str, Any]]:
        """The recipient's messages in that state (None: in any), the most urgent and oldest first.

        They stay as they are: where several programs read, ``claim`` gives each message to one of them.
        """
        status = RUNNING.get(status or "", status)
        if status not in (*STATES, None):
            raise InvalidInput(f"{status!r} is no status.", hint=f"One of {', '.join(STATES)}, or None for all.")
        self._sweep()
        return self._store.read(_listed, recipient, status, limit, self._types)

    def claim(self, recipient: str, limit: int = 10) -> list[dict[str, Any]]:
        """Take pending messages for the lease's time; what is not completed or failed by then is given out again."""
        conf = self._settings

        def take(tx: Transaction, now: str) -> list[dict[str, Any]]:
            box = recipients.box(tx, recipient, agent_types=self._types)
            rows = messages.claim(
                tx, [box], reader=self._reader, limit=limit, lease_seconds=conf.lease_seconds,
                redelivery_seconds=conf.redelivery_seconds, now=now,
            )  # fmt: skip
            return [_shown(_one(tx, row["id"])) for row in rows]

        return self._store.run_again_if_lost(take, clock.now())

    def mark_completed(self, message_id: int) -> bool:
        """Settle a message for good; False where it was completed before."""
        return self._store.run(_complete, message_id, self._reader, clock.now())

    def mark_failed(self, message_id: int, reason: str = "its recipient could not do it") -> bool:
        """Give a message up and tell its sender; False where it had failed before."""
        return self._store.run(_fail, message_id, reason, self._reader, clock.now())

    def percentiles(self, days: float = 7) -> dict[int, int]:
        """Durations in ms that 50, 95 and 99 of 100 messages kept within, from claimed (or sent) to completed."""
        return self._store.read(durations.percentiles, since=_since(days))

    def slowest(self, days: float = 7, limit: int = 10) -> list[dict[str, Any]]:
        """What took longest: ``agent``, ``task_type``, ``duration_ms``, ``timestamp``."""
        return self._store.read(durations.slowest, since=_since(days), limit=limit)

    def average_by_type(self, days: float = 7, limit: int = 10) -> list[dict[str, Any]]:
        """The slowest types of work: ``task_type``, ``count``, ``average_ms``."""
        return self._store.read(durations.by_kind, since=_since(days), limit=limit)

    def average_by_agent(self, days: float = 7) -> list[dict[str, Any]]:
        """Per agent ``count`` and ``average_ms``."""
        return self._store.read(durations.by_agent, since=_since(days))

    def clean_up(self, days: float = 30) -> int:
        """Delete messages that ended longer ago than that, and durations as old; returns how many messages."""

        def clear(tx: Transaction, now: str) -> int:
            durations.clear_old(tx, older_than_days=days, now=now)
            return lapses.clear_old(tx, older_than_days=days, now=now, actor=self._reader)

        return self._store.run(clear, clock.now())

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, tx: Transaction, draft: messages.Draft, sender: str, now: str) -> int:
        conf = self._settings
        sent = messages.send(
            tx,
            draft,
            sender=recipients.box(tx, sender, agent_types=self._types),
            agent_types=self._everyone if draft.target.upper() == recipients.EVERYONE else self._types,
            max_queue=conf.max_queue,
            terms=messages.Terms(conf.expire_after_hours, conf.retention_days, conf.max_retries),
            now=now,
        )
        return int(messages.get(tx, sent.message_ids[0])["id"])

    def _sweep(self) -> None:
        now = clock.now()
        if self._store.read(lapses.is_due, now=now):
            self._store.run(messages.sweep, now=now)


def _since(days: float) -> str:
    return clock.plus(clock.now(), -86400 * days)


def _listed(
    tx: Transaction, recipient: str, status: str | None, limit: int, agent_types: set[str]
) -> list[dict[str, Any]]:
    box = recipients.box(tx, recipient, agent_types=agent_types)
    rows = tx.all(
        "SELECT * FROM tasks WHERE recipient = ? AND (?2 IS NULL OR status = ?2) ORDER BY priority, id LIMIT ?3",
        (box, status, limit),
    )
    return [_shown(row) for row in rows]


def _complete(tx: Transaction, number: int, reader: str, now: str) -> bool:
    row = _message(tx, number)
    if not messages.acknowledge(tx, [row["message_id"]], [row["to_agent"]], reader=reader, now=now):
        return False
    taken = clock.seconds_between(row["delivered_at"] or row["created_at"], now)
    durations.record(tx, row["to_agent"], row["message_type"], max(0, round(1000 * taken)), now=now)
    return True


def _fail(tx: Transaction, number: int, reason: str, reader: str, now: str) -> bool:
    row = _message(tx, number)
    return messages.give_up(tx, row["message_id"], reason, reader=reader, now=now)


def _message(tx: Transaction, number: int) -> Row:
    row = tx.one("SELECT * FROM agent_message WHERE id = ?", (number,))
    if row is None:
        raise MessageNotFound(f"There is no message {number}.", hint="get_messages() gives the ids.", id=number)
    return row


def _one(tx: Transaction, number: int) -> Row:
    return tx.only("SELECT * FROM tasks WHERE id = ?", (number,))


def _shown(row: Row) -> dict[str, Any]:
    return {**dict(row), "content": json.loads(row["content"])}
