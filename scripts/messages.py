"""Sends thousands of messages between processes that are killed at random, and looks whether any went wrong.

    python scripts/messages.py [--messages N] [--processes N] [--seed N] [--keep]     (`make messages`)

Half of the processes send: to agents, to types, to ALL, at all priorities. The other half, the lead among them, poll
and acknowledge; two of them share a type's mail. Each notes what it is about to do and what came of it, in a file of
its own; a kill takes nothing from a file that the kernel has. Whoever is killed by SIGKILL is started again at once
and goes on behind its notes. A few messages are never acknowledged, so that they fail and their senders are told. At
the end `history.py` judges the notes of all and the queue as it stands.

What no seed decides is how the machine shares its time out.
"""

import argparse
import contextlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import history

from crewyard.server import agents, assignments, clock, launches, messages, recipients, tasks
from crewyard.server.errors import CrewyardError
from crewyard.server.store import Store, Transaction

LEASE_SECONDS = 1.0
DRAIN_SECONDS = 120.0
PAUSE_SECONDS = 0.01
MAX_QUEUE = 300
DEAF = 0.005  # of the messages; nobody acknowledges them
SLOW = 0.003  # of them, whose lease is over before its reader acknowledges them
AGAIN = 0.1  # of them, acknowledged twice
READERS = ("builder", "tester", "scribe")  # types; two processes of each, as far as there are


# --------------------------------------------------------------------------------------------- one process


@dataclass
class Notes:
    """What one process did, over all its lives."""

    path: Path
    who: str
    _file: int = -1

    def entries(self) -> list[history.Entry]:
        found = []
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_text().splitlines():
                with contextlib.suppress(ValueError):  # cut off by a kill
                    found.append(json.loads(line))
        return found

    def note(self, what: str, **facts: Any) -> None:
        if self._file < 0:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        entry = {"who": self.who, "what": what, "at": time.monotonic(), **facts}
        os.write(self._file, f"\n{json.dumps(entry)}\n".encode())


@dataclass
class Actor:
    """Sends its share of the messages, and reads its mail until it is told to stop."""

    folder: Path
    who: str
    share: int
    store: Store
    notes: Notes
    boxes: list[str]
    dice: random.Random = field(default_factory=random.Random)
    polls: int = 0

    def run(self) -> None:
        before = self.notes.entries()
        self.polls = sum(entry["what"] == "poll" for entry in before)
        number = sum(entry["what"] == "send" for entry in before)
        left = self.share - number + sum(entry["what"] == "refused" for entry in before)
        targets = json.loads((self.folder / "targets.json").read_text())
        while not (self.folder / "stop").exists():
            if left > 0:
                number += 1
                left -= self.send(f"{self.who}/{number}", self.dice.choice(targets))
            if left <= 0 or number % 20 == 0:
                self.read()

    def send(self, token: str, to: str) -> bool:
        priority = self.dice.randint(1, 10)
        content = {"token": token, "deaf": self.dice.random() < DEAF}
        self.notes.note("send", token=token, to=to, priority=priority)
        try:
            sent = self.store.run(
                messages.send, messages.Draft(to, "status_update", content, priority), sender=self.who,
                agent_types=[], max_queue=MAX_QUEUE, now=clock.now(),
            )  # fmt: skip
        except CrewyardError as error:
            self.notes.note("refused", token=token, code=error.code)
            time.sleep(PAUSE_SECONDS)
            return False
        self.notes.note("sent", token=token, ids=dict(zip(sent.recipients, sent.message_ids, strict=True)))
        return True

    def read(self) -> None:
        if not self.store.read(messages.unread, self.boxes, now=clock.now()):
            time.sleep(PAUSE_SECONDS)
            return
        self.polls += 1
        self.notes.note("poll", number=self.polls)
        limit = self.dice.randint(1, 10)
        rows = self.store.run(
            messages.claim, self.boxes, reader=self.who, limit=limit, lease_seconds=LEASE_SECONDS, now=clock.now()
        )
        shown = [as_entry(row) | {"count": row["delivery_count"]} for row in rows]
        self.notes.note("polled", number=self.polls, messages=shown)
        for row in rows:
            if json.loads(row["content"]).get("deaf"):
                continue
            if self.dice.random() < SLOW:
                time.sleep(2 * LEASE_SECONDS)
            self.settle(row["message_id"])
            if self.dice.random() < AGAIN:
                self.settle(row["message_id"])

    def settle(self, message_id: str) -> None:
        self.notes.note("settle", id=message_id)
        try:
            first = self.store.run(messages.acknowledge, [message_id], self.boxes, reader=self.who, now=clock.now())
        except CrewyardError as error:  # its lease was over, and it has ended or is another's by now
            self.notes.note("unsettled", id=message_id, code=error.code)
        else:
            self.notes.note("settled", id=message_id, first=bool(first))


def as_entry(row: Any) -> history.Entry:
    content = json.loads(row["content"])
    return {
        "id": row["message_id"],
        "token": content.get("token"),
        "about": content.get("message_id"),
        "sender": row["from_agent"],
        "box": row["to_agent"],
        "priority": row["priority"],
    }


def act(folder: Path, who: str, share: int) -> None:
    store = Store(folder / "orchestrator.db")
    boxes = store.read(recipients.mailboxes, who)
    Actor(folder, who, share, store, Notes(folder / f"{who}.notes", who), boxes).run()


# ------------------------------------------------------------------------------------------------- all of them


@dataclass
class Game:
    """One database, and the processes at work on it."""

    folder: Path
    dice: random.Random
    shares: dict[str, int]
    world: history.World
    store: Store
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def start(self, who: str) -> None:
        command = [sys.executable, __file__, "--actor", who, "--share", str(self.shares[who]), "--folder"]
        with (self.folder / "err").open("ab") as err:
            self.running[who] = subprocess.Popen([*command, str(self.folder)], stderr=err)

    def kill_somebody(self) -> None:
        who = self.dice.choice(list(self.running))
        self.running[who].kill()
        self.running[who].wait()
        self.kills["sender" if self.shares[who] else "receiver"] += 1
        self.start(who)

    def entries(self) -> Iterator[history.Entry]:
        for who in self.shares:
            yield from Notes(self.folder / f"{who}.notes", who).entries()

    def rows(self) -> list[history.Entry]:
        found = self.store.read(lambda tx: tx.all("SELECT * FROM agent_message ORDER BY id"))
        return [as_entry(row) | {"status": row["status"]} for row in found]

    def sends_left(self) -> int:
        done = sum((e["what"] == "send") - (e["what"] == "refused") for e in self.entries())
        return sum(self.shares.values()) - done

    def open_messages(self) -> int:
        sql = "SELECT count(*) FROM agent_message WHERE status IN ('pending', 'delivered')"
        return int(self.store.read(lambda tx: tx.value(sql)))

    def end(self) -> None:
        (self.folder / "stop").touch()
        for process in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()
        self.store.close()


def make(folder: Path, count: int, processes: int, seed: int) -> Game:
    """An agent for each process but the lead's, live and with a task of its own."""
    store = Store(folder / "orchestrator.db")
    senders = processes // 2
    names = [store.run(add_agent, f"S{number}", "writer", folder) for number in range(senders)]
    shares = {name: count // senders + (number < count % senders) for number, name in enumerate(names)}
    kinds = [READERS[number // 2] for number in range(processes - senders - 1)]
    readers = [store.run(add_agent, f"R{number}", kind, folder) for number, kind in enumerate(kinds)]
    shares |= dict.fromkeys([recipients.LEAD, *readers], 0)
    store.run(lambda tx: tx.run("DELETE FROM agent_message"))  # what they were told of their tasks
    everyone = store.read(recipients.everyone, sender="", agent_types=kinds)
    boxes = {who: store.read(recipients.mailboxes, who) for who in shares}
    targets = [recipients.LEAD, recipients.EVERYONE, *readers, *{box for who in readers for box in boxes[who]}]
    (folder / "targets.json").write_text(json.dumps(targets))
    return Game(folder, random.Random(seed), shares, history.World(boxes, everyone, LEASE_SECONDS), store)  # noqa: S311  (to be repeated)


def add_agent(tx: Transaction, task_id: str, agent_type: str, folder: Path) -> str:
    now = clock.now()
    tx.run(
        "INSERT INTO specs_task (task_id, title, status, created_at, updated_at) VALUES (?, ?, 'ready', ?, ?)",
        (task_id, task_id, now, now),
    )
    work = assignments.create(
        tx, tasks.get(tx, task_id), agent_type=agent_type, dispatch_id=None, now=now, actor="test"
    )
    order = launches.LaunchOrder(
        agent_type=agent_type, kind="command", task_id=task_id, orchestrator_task_id=work["orchestrator_task_id"],
        workspace=f"{folder}/{task_id}", runs_folder=str(folder), timeout_seconds=3600.0, memory_limit_mb=None,
        token_hash=agents.hash_token(secrets.token_hex()), term=1,
    )  # fmt: skip
    return str(launches.plan_launch(tx, order, now=now, actor="test")["agent_id"])


@dataclass(frozen=True)
class Outcome:
    """What one game came to."""

    wrong: list[str]
    messages: Counter[str]
    kills: Counter[str]
    seconds: float


def play(folder: Path, *, count: int, processes: int, seed: int, pause: float = 0.5) -> Outcome:
    """Have ``count`` messages sent, kill somebody every ``pause`` seconds or so, wait for the last, and judge."""
    game = make(folder, count, processes, seed)
    began = time.monotonic()
    try:
        for who in game.shares:
            game.start(who)
        while game.sends_left() > 0:
            time.sleep(game.dice.uniform(0, 2 * pause))
            game.kill_somebody()
        end = time.monotonic() + DRAIN_SECONDS
        while game.open_messages() and time.monotonic() < end:
            game.store.run(messages.sweep, now=clock.now())  # as a supervisor does, when nobody polls
            time.sleep(PAUSE_SECONDS * 5)
        (folder / "stop").touch()
        for process in game.running.values():
            process.wait(timeout=30)
        wrong = history.complaints(game.world, game.entries(), game.rows())
        if said := (folder / "err").read_text():
            wrong.append(f"somebody failed: {said[-2000:]}")
        counted = Counter(row["status"] for row in game.rows())
    finally:
        game.end()
    return Outcome(wrong, counted, game.kills, time.monotonic() - began)


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--messages", type=int, default=10_000)
    given.add_argument("--processes", type=int, default=8)
    given.add_argument("--seed", type=int, default=random.randrange(10_000))  # noqa: S311
    given.add_argument("--keep", action="store_true", help="keep the folder")
    for name, kind in (("--actor", str), ("--share", int), ("--folder", Path)):
        given.add_argument(name, type=kind, help=argparse.SUPPRESS)
    options = given.parse_args()
    if options.actor:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        act(options.folder, options.actor, options.share)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="crewyard-messages-"))
    done = play(folder, count=options.messages, processes=options.processes, seed=options.seed)
    told = ", ".join(f"{number} {what}" for what, number in sorted(done.messages.items()))
    kills = ", ".join(f"{number} of a {who}" for who, number in sorted(done.kills.items()))
    print(
        f"seed {options.seed}: {sum(done.messages.values())} messages in {done.seconds:.0f} s ({told}); kills: {kills}"
    )
    for complaint in done.wrong[:50]:
        print(f"  {complaint}")
    if done.wrong or options.keep:
        print(f"kept: {folder}")
    else:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    return 1 if done.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
