"""What a database costs that has grown, beside one that is empty.

    python benchmarks/growth.py [--messages 1000000] [--calls 100] [--quick]

The same calls to two servers by turns: one database holds a plan of 50 tasks, the other one also 1,000,000 messages, of
which 1,000 wait for agents and the rest has ended, and 100,000 events. Then the older half of the messages is deleted,
as the supervisor does it, while another process sends: "a send meanwhile" is how long its commit took. Sizes are those
of the file.
"""

import argparse
import multiprocessing
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, closing
from operator import methodcaller
from pathlib import Path
from typing import Any

import anyio
import figures
from figures import Goal, Row, Section, Series
from graph import make_plan
from graphs import database
from queues import Ours
from serving import CREWYARD, client
from yards import make_repository

from crewyard.server import clock, lapses
from crewyard.server.store import Store

TASKS, WAITING = 50, 1_000
DAYS, KEPT_DAYS = 6, 3  # the supervisor of its server leaves them alone for seven
OF_MESSAGES = 10  # the events are a tenth of the messages
MOST = 1.3
EMPTY, GROWN = "empty database", "crewyard"
CALLS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "agents list": ("agents", {"action": "list"}),
    "assign find": ("assign", {"action": "find"}),
    "plan show": ("plan", {"action": "show"}),
    "route send": ("route", {"action": "send", "target_agent": "builder", "content": {"text": "x" * 200}}),
    "route poll": ("route", {"action": "poll", "target_agent": "builder", "limit": 1}),
    "route status": ("route", {"action": "status"}),
    "why of a task": ("why", {"subject": "T1"}),
}
RESOURCES = {"events": "crewyard://events?limit=100", "status, as a resource": "crewyard://status"}
WHY = {
    "route status": "it counts what each mailbox has acknowledged, in every row: an index or a tally for that would "
    "cost each message 2 to 4 % of its cycle, for a question that is asked now and then",
    "status, as a resource": "how many messages there are is one count over the smallest index, 30 ms a million",
}
CONFIGURATION = '[agents.builder]\ncommand = ["true"]\n[messages]\nmax_queue = 100000\n'


def measure(asked: argparse.Namespace) -> Section:
    if asked.quick:
        asked.messages, asked.calls = 50_000, 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yards = {which: make_yard(folder / which.replace(" ", "-")) for which in (EMPTY, GROWN)}
        rows = anyio.run(called, yards, asked.messages, asked.calls)
        rows += [statuses(yards, asked.calls), *sizes(yards, asked.messages, folder), *retention(yards[GROWN])]
    return Section("Growth", " ".join((__doc__ or "").split("\n\n")[-1].split()), rows)


def make_yard(path: Path) -> Path:
    repo = make_repository(path, 20, 0)
    (repo / "crewyard.toml").write_text(CONFIGURATION)
    return repo


# --------------------------------------------------------------------------------------------------- growing


def fill(path: Path, messages: int) -> None:
    """So many messages, the youngest of them open, and a tenth as many events, straight into the tables."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = off")
        with db:
            db.execute(MESSAGES, {"messages": messages, "waiting": WAITING, "seconds": DAYS * 86400})
            db.execute(EVENTS_OF_TASKS, {"events": messages // OF_MESSAGES, "tasks": TASKS})
        db.execute("PRAGMA wal_checkpoint(truncate)")


_NUMBERS = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {most}) "
_AT = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || {ago} || ' seconds')"
_OPEN = "n > :messages - :waiting"
_SENT = _AT.format(ago="((:messages - n) * :seconds / :messages)")
MESSAGES = (
    "INSERT INTO agent_message (message_id, from_agent, to_agent, message_type, content, status, created_at, "
    "delivered_at, acknowledged_at, ended_at, expires_at) "
    + _NUMBERS.format(most=":messages")
    + "SELECT lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' "
    "|| hex(randomblob(2)) || '-' || hex(randomblob(6))), 'lead', 'agent-' || (n % 50), 'question', "
    "json_object('text', hex(zeroblob(100))), "
    f"CASE WHEN {_OPEN} THEN 'pending' WHEN n % 100 = 0 THEN 'expired' ELSE 'acknowledged' END, {_SENT}, "
    f"CASE WHEN NOT {_OPEN} AND n % 100 THEN {_SENT} END, CASE WHEN NOT {_OPEN} AND n % 100 THEN {_SENT} END, "
    f"CASE WHEN NOT {_OPEN} THEN {_SENT} END, CASE WHEN {_OPEN} THEN {_AT.format(ago='-86400')} END FROM number"
)
EVENTS_OF_TASKS = (
    "INSERT INTO event (at, actor, subject_type, subject_id, kind, from_state, to_state, data) "
    + _NUMBERS.format(most=":events")
    + f"SELECT {_AT.format(ago='(:events - n)')}, 'supervisor', 'task', 'T' || (n % :tasks), 'task_updated', NULL, "
    "NULL, json_object('why', hex(zeroblob(30))) FROM number"
)


# ---------------------------------------------------------------------------------------------------- calls


async def called(yards: Mapping[str, Path], messages: int, calls: int) -> list[Row]:
    rows = []
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(client(CREWYARD, repo, "auto")) for name, repo in yards.items()
        }
        tasks = [{"task_id": f"T{n}", "title": f"Task {n}"} for n in range(TASKS)]
        for each in servers.values():
            await each.call_tool("plan", {"action": "add", "tasks": tasks})
        fill(database(yards[GROWN]), messages)
        for what, (tool, arguments) in CALLS.items():
            took = await by_turns(servers, calls, methodcaller("call_tool", tool, dict(arguments)))
            rows.append(beside_empty(what, took, WHY.get(what, "")))
        for what, uri in RESOURCES.items():
            took = await by_turns(servers, calls, methodcaller("read_resource", uri))
            rows.append(beside_empty(what, took, WHY.get(what, "")))
    return rows


async def by_turns(servers: Mapping[str, Any], calls: int, call: Any) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(calls):
        for name, server in servers.items():
            began = time.perf_counter()
            answer = await call(server)
            took[name].append((time.perf_counter() - began) * 1000)
            assert not getattr(answer, "is_error", False), answer
    return took


def statuses(yards: Mapping[str, Path], calls: int) -> Row:
    took: dict[str, list[float]] = {name: [] for name in yards}
    for _ in range(max(3, calls // 10)):
        for name, repo in yards.items():
            began = time.perf_counter()
            subprocess.run([CREWYARD[0], "status", "--repo", str(repo)], check=True, capture_output=True)
            took[name].append((time.perf_counter() - began) * 1000)
    return beside_empty("crewyard status", took)


def beside_empty(what: str, took: Mapping[str, list[float]], why: str = "") -> Row:
    return Row(what, "ms", Series(took[GROWN]), {EMPTY: Series(took[EMPTY])}, [Goal(EMPTY, at_most=MOST)], why)


# ------------------------------------------------------------------------------------- sizes and retention


def sizes(yards: Mapping[str, Path], messages: int, folder: Path) -> Iterator[Row]:
    empty, grown = used(database(yards[EMPTY])), used(database(yards[GROWN]))
    tasks = TASKS * 20
    plan = used(database(make_plan(folder / "plan", tasks)))
    Store(folder / "new.db").close()
    new = used(folder / "new.db")
    yield Row("database of the messages and events", "MB", Series([grown / 1e6]), {EMPTY: Series([empty / 1e6])})
    yield Row("a message, with a tenth of an event", "bytes", Series([(grown - empty) / messages]))
    yield Row("a task of a plan, with three edges and its event", "bytes", Series([(plan - new) / tasks]))


def used(path: Path) -> int:
    """Bytes of the file that hold something."""
    with closing(sqlite3.connect(path)) as db:
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def retention(repo: Path) -> Iterator[Row]:
    path = database(repo)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    sender = context.Process(target=send, args=(repo, theirs))
    sender.start()
    ours.recv()
    store = Store(path)
    before, began = used(path), time.perf_counter()
    deleted = clear(store)
    took = time.perf_counter() - began
    ours.send("enough")
    waits, alone = ours.recv()
    sender.join()
    store.close()
    beside = {"with nothing else at work": Series(alone)}
    yield Row(f"retention: {deleted:,} messages deleted", "s", Series([took]))
    yield Row("a send meanwhile", "ms", Series(waits), beside)
    yield Row("a send meanwhile, at most", "ms", Series(waits, at=1.0), goals=[Goal(at_most=100.0)])
    yield Row("freed for the next messages", "MB", Series([(before - used(path)) / 1e6]))
    yield from vacuum(path)


def clear(store: Store) -> int:
    """As the supervisor does it."""
    deleted, now = 0, clock.now()
    while ids := store.read(lapses.old_ids, older_than_days=KEPT_DAYS, now=now):
        deleted += store.run_again_if_lost(lapses.clear, ids, now=now, actor="bench")
    return deleted


def send(repo: Path, pipe: Any) -> None:
    """Sends until told to stop; answers with the milliseconds of each commit, then and before."""
    queue = Ours(repo, "full")
    alone = [timed(queue.send) for _ in range(50)]
    pipe.send("ready")
    waits = []
    while not pipe.poll():
        waits.append(timed(queue.send))
        time.sleep(0.01)
    pipe.send((waits, alone))


def timed(call: Any) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def vacuum(path: Path) -> Iterator[Row]:
    before = path.stat().st_size
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        began = time.perf_counter()
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(truncate)")
        took = time.perf_counter() - began
    yield Row("VACUUM by hand, after that", "s", Series([took]))
    yield Row("the file after it", "MB", Series([path.stat().st_size / 1e6]), {"before": Series([before / 1e6])})


if __name__ == "__main__":
    parser = figures.parser(__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=100)
    figures.run(measure, parser)
