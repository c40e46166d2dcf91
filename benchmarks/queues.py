"""One cycle of a message (send, claim, acknowledge: three commits) with our queue and with others.

Each class opens a queue in a folder of its own at a durability, and does a cycle. ``Raw`` does with bare `sqlite3` what
our three commits do: the same rows of the same tables (the message and its events), each on disk; ``RawMessage``
leaves the events out. Ours does not wait for the disk with a claim: what a power cut undoes of it is delivered again.
huey has no acknowledgement: its third commit stores a task's result.
"""

import importlib
import json
import sqlite3
import uuid
from pathlib import Path
from typing import Any

from crewyard.server import clock, messages, settings
from crewyard.server.store import Store

CONTENT = {"text": "x" * 400, "task_id": "T-1"}
TYPES = ("builder",)


class Ours:
    name = "crewyard"

    def __init__(self, folder: Path, durability: str) -> None:
        self.store = Store(folder / "data" / "orchestrator.db", durability=durability)  # type: ignore[arg-type]
        self.rules = settings.Settings().messages

    def send(self, box: str = "builder") -> str:
        draft = messages.Draft(box, "question", CONTENT)
        sent = self.store.run(
            messages.send, draft, sender="lead", agent_types=TYPES, max_queue=self.rules.max_queue, now=clock.now()
        )
        return sent.message_ids[0]

    def claim(self, box: str = "builder") -> list[sqlite3.Row]:
        return self.store.run_again_if_lost(
            messages.claim, [box], reader=box, limit=1, lease_seconds=60.0, now=clock.now()
        )

    def acknowledge(self, message_id: str, box: str = "builder") -> int:
        return self.store.run(messages.acknowledge, [message_id], [box], reader=box, now=clock.now())

    def cycle(self) -> None:
        self.send()
        assert self.acknowledge(self.claim()[0]["message_id"]) == 1


class Raw:
    name = "sqlite3, same rows"
    with_events = True

    def __init__(self, folder: Path, durability: str) -> None:
        Store(folder / "data" / "orchestrator.db").close()  # the same tables and indexes
        self.db = sqlite3.connect(folder / "data" / "orchestrator.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(f"PRAGMA synchronous = {durability}")

    def cycle(self) -> None:
        now = clock.now()
        message_id = str(uuid.uuid4())
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute(
            "INSERT INTO agent_message (message_id, from_agent, to_agent, message_type, content, priority, created_at, "
            "expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (message_id, "lead", "builder", "question", json.dumps(CONTENT), 5, now, now),
        )
        self._event(message_id, None, "pending", now)
        self.db.execute("COMMIT")
        self.db.execute("BEGIN IMMEDIATE")
        row = self.db.execute(
            "UPDATE agent_message SET status = 'delivered', claimed_by = ?, lease_until = ?, delivery_count = 1, "
            "delivered_at = ? WHERE id = (SELECT id FROM agent_message WHERE to_agent = 'builder' AND status IN "
            "('pending', 'delivered') AND status = 'pending' ORDER BY priority, id LIMIT 1) RETURNING message_id",
            ("builder", now, now),
        ).fetchone()
        self._event(row[0], "pending", "delivered", now)
        self.db.execute("COMMIT")
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute(
            "UPDATE agent_message SET status = 'acknowledged', acknowledged_at = ?, ended_at = ?, expires_at = NULL "
            "WHERE message_id = ?",
            (now, now, row[0]),
        )
        self._event(row[0], "delivered", "acknowledged", now)
        self.db.execute("COMMIT")

    def _event(self, message_id: str, before: str | None, after: str, now: str) -> None:
        if self.with_events:
            self.db.execute(
                "INSERT INTO event (at, actor, subject_type, subject_id, kind, from_state, to_state, data) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (now, "lead", "message", message_id, f"message_{after}", before, after, "{}"),
            )


class RawMessage(Raw):
    name = "sqlite3, message only"
    with_events = False


class LiteQueue:
    name = "litequeue"

    def __init__(self, folder: Path, durability: str) -> None:
        self.queue: Any = importlib.import_module("litequeue").LiteQueue(folder / "queue.db")
        self.queue.conn.execute(f"PRAGMA synchronous = {durability}")

    def cycle(self) -> None:
        self.queue.put(json.dumps(CONTENT))
        self.queue.done(self.queue.pop().message_id)


class PersistQueue:
    name = "persist-queue"

    def __init__(self, folder: Path, durability: str) -> None:
        self.queue: Any = importlib.import_module("persistqueue").SQLiteAckQueue(str(folder / "queue"))
        self.queue._conn.execute(f"PRAGMA synchronous = {durability}")

    def cycle(self) -> None:
        self.queue.put(CONTENT)
        self.queue.ack(self.queue.get())


class Huey:
    name = "huey"

    def __init__(self, folder: Path, durability: str) -> None:
        storage = importlib.import_module("huey.storage")
        self.storage: Any = storage.SqliteStorage(filename=str(folder / "huey.db"))
        self.storage.conn.execute(f"PRAGMA synchronous = {durability}")

    def cycle(self) -> None:
        self.storage.enqueue(json.dumps(CONTENT).encode())
        self.storage.put_data("result", self.storage.dequeue())


OTHERS: tuple[Any, ...] = (RawMessage, LiteQueue, PersistQueue, Huey)
