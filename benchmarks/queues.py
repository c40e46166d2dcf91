"""One cycle of a message (send, claim, acknowledge: three commits) with our queue and with others.

    python benchmarks/queues.py NAME FOLDER DURABILITY

is one of them as a contestant (``turns.py``), in the Python that has its library.

Each class opens a queue in a folder of its own at a durability, and does a cycle. ``Raw`` does with bare `sqlite3` what
our three commits do: the same rows of the same tables (the message and its events), each on disk; ``RawMessage``
leaves the events out. Ours does not wait for the disk with a claim: what a power cut undoes of it is delivered again.
huey has no acknowledgement: its third commit stores a task's result.
"""

import json
import sqlite3
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import turns

CONTENT = {"text": "x" * 400, "task_id": "T-1"}
TYPES = ("builder",)


class Ours:
    name = "crewyard"

    def __init__(self, folder: Path, durability: str) -> None:
        from crewyard.server import clock, messages, settings
        from crewyard.server.store import Store

        self.now, self.messages = clock.now, messages
        self.store = Store(folder / "data" / "orchestrator.db", durability=durability)  # type: ignore[arg-type]
        self.rules = settings.Settings().messages

    def send(self, box: str = "builder") -> str:
        draft = self.messages.Draft(box, "question", CONTENT)
        sent = self.store.run(
            self.messages.send, draft, sender="lead", agent_types=TYPES, max_queue=self.rules.max_queue, now=self.now()
        )
        return sent.message_ids[0]

    def claim(self, box: str = "builder") -> list[sqlite3.Row]:
        return self.store.run_again_if_lost(
            self.messages.claim, [box], reader=box, limit=1, lease_seconds=60.0, now=self.now()
        )

    def acknowledge(self, message_id: str, box: str = "builder") -> int:
        return self.store.run(self.messages.acknowledge, [message_id], [box], reader=box, now=self.now())

    def cycle(self) -> None:
        self.send()
        assert self.acknowledge(self.claim()[0]["message_id"]) == 1


class Raw:
    name = "sqlite3, same rows"
    with_events = True

    def __init__(self, folder: Path, durability: str) -> None:
        from crewyard.server.store import Store

        Store(folder / "data" / "orchestrator.db").close()  # the same tables and indexes
        self.db = sqlite3.connect(folder / "data" / "orchestrator.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(f"PRAGMA synchronous = {durability}")

    def cycle(self) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
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
        import litequeue

        self.queue: Any = litequeue.LiteQueue(folder / "queue.db")
        self.queue.conn.execute(f"PRAGMA synchronous = {durability}")

    def cycle(self) -> None:
        self.queue.put(json.dumps(CONTENT))
        self.queue.done(self.queue.pop().message_id)


class PersistQueue:
    name = "persist-queue"

    def __init__(self, folder: Path, durability: str) -> None:
        import persistqueue

        self.queue: Any = persistqueue.SQLiteAckQueue(str(folder / "queue"))
        self.queue._conn.execute(f"PRAGMA synchronous = {durability}")

    def cycle(self) -> None:
        self.queue.put(CONTENT)
        self.queue.ack(self.queue.get())


class Huey:
    name = "huey"

    def __init__(self, folder: Path, durability: str) -> None:
        import huey.storage

        self.storage: Any = huey.storage.SqliteStorage(filename=str(folder / "huey.db"))
        self.storage.conn.execute(f"PRAGMA synchronous = {durability}")

    def cycle(self) -> None:
        self.storage.enqueue(json.dumps(CONTENT).encode())
        self.storage.put_data("result", self.storage.dequeue())


class Redis:
    """A list and a hash, the message moved between them as its documentation has it; the server is started here."""

    name = "redis"

    def __init__(self, folder: Path, durability: str) -> None:
        import redis

        socket = folder / "redis.sock"
        wait = "always" if durability == "full" else "everysec"
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
        command += ["--appendonly", "yes", "--appendfsync", wait, "--loglevel", "warning"]
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not socket.exists():
            time.sleep(0.01)
        self.client = redis.Redis(unix_socket_path=str(socket))

    def cycle(self) -> None:
        self.client.lpush("waiting", json.dumps(CONTENT))
        content = self.client.lmove("waiting", "claimed", "RIGHT", "LEFT")
        self.client.lrem("claimed", 1, content)

    def close(self) -> None:
        self.server.terminate()
        self.server.wait()


ALL: dict[str, Any] = {each.name: each for each in (Ours, Raw, RawMessage, LiteQueue, PersistQueue, Huey, Redis)}


def main() -> None:
    name, folder, durability = sys.argv[1:]
    queue = ALL[name](Path(folder), durability)
    try:
        turns.serve(queue.cycle)
    finally:
        getattr(queue, "close", lambda: None)()


if __name__ == "__main__":
    main()
