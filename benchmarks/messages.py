"""The message queue: beside bare sqlite3 and other queues, with many writers, and how soon a message is seen.

    python benchmarks/messages.py [--cycles 300] [--rounds 7] [--seconds 5] [--quick]

A cycle is send, claim and acknowledge, three commits; every queue is a process of its own and all take turns, with each
commit on disk ("durable": synchronous = FULL, appendfsync = always) and without ("relaxed": NORMAL, everysec). Ours
writes an event with each. Then eight processes do cycles as fast as they can. The wake-up is from the call of send in
one process to the message in another's long poll, with its commit on disk; idle is the CPU time of a process in which
20 long polls wait and nothing happens.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import figures
import peers
import turns
from figures import Goal, Row, Section, Series
from queues import ALL, Ours

from crewyard.server import clock, messages
from crewyard.server.async_store import AsyncStore
from crewyard.server.changes import Changes

WRITERS, WAITERS = 8, 20
DURABILITIES = {"full": "durable", "normal": "relaxed"}
OF_OURS = ("crewyard", "sqlite3, same rows", "sqlite3, message only")  # those that need our Python
GOALS = [
    Goal("sqlite3, same rows", at_least=0.9),
    *(Goal(name, at_least=1.0) for name in ("litequeue", "persist-queue", "huey", "redis")),
]
WHY = {
    "full": "The other libraries write 4 (persist-queue) to 8 pages (litequeue) a cycle into the log, we 20: three "
    "events with their index, and indexes by mailbox, lease and expiry. They keep no history and no lease: huey "
    "deletes what it hands out, litequeue's stays locked after a consumer's death until somebody asks for it, and "
    "persist-queue reads and marks in two steps, so that two processes can be given the same. Each of them waits for "
    "the disk three times, we twice. Our statements alone, replayed with nothing around them, are 1.1 times as fast "
    "as sqlite3 with the same rows; it is Python that loses this again, which looks at what is sent, gives the "
    "writers turns and wakes readers: 0.09 ms of CPU a cycle, and twice that where the caches are cold after each "
    "wait for the disk",
    "normal": "As with durable, and there is no wait for the disk to save. Our statements alone, replayed with "
    "nothing around them, reach 0.87 of sqlite3 with the same rows, since they also count what waits, look for leases"
    " that ran out and read back what is handed out; the Python around them takes 0.09 ms of 0.25 ms of CPU",
}


def measure(asked: argparse.Namespace) -> Section:
    if asked.quick:
        asked.cycles, asked.rounds, asked.seconds = 20, 2, 1.0
    commands, missing = contestants()
    rows = [
        *cycles(commands, asked.cycles, asked.rounds),
        *writers(asked.seconds),
        *wakeups(asked.cycles),
        idle(asked.seconds),
    ]
    return Section("Messages", " ".join((__doc__ or "").split("\n\n")[-1].split()), rows, missing)


# -------------------------------------------------------------------------------------------------- cycles


def contestants() -> tuple[dict[str, str], dict[str, str]]:
    """The Python of each queue that can be had, and why others cannot."""
    found, missing = {}, {}
    for name in ALL:
        try:
            found[name] = sys.executable if name in OF_OURS else str(peers.python(name))
            if name == "redis":
                peers.program("redis-server")
        except peers.Missing as error:
            found.pop(name, None)
            missing[name] = str(error)
    return found, missing


def cycles(pythons: dict[str, str], count: int, rounds: int) -> Iterator[Row]:
    script = Path(__file__).with_name("queues.py")
    for durability, called in DURABILITIES.items():
        with tempfile.TemporaryDirectory() as folder:
            places = {name: Path(folder) / str(number) for number, name in enumerate(pythons)}
            for place in places.values():
                place.mkdir()
            commands = {name: [python, script, name, places[name], durability] for name, python in pythons.items()}
            took = turns.rates(commands, count, rounds)
        ours = Series(took.pop(Ours.name))
        beside = {name: Series(rate) for name, rate in took.items()}
        yield Row(f"cycles, {called}", "/s", ours, beside, GOALS, WHY[durability])


# ------------------------------------------------------------------------------------------------- writers


def writers(seconds: float) -> Iterator[Row]:
    for durability, called in DURABILITIES.items():
        with tempfile.TemporaryDirectory() as folder:
            Ours(Path(folder), durability).store.close()
            done = together(hammer, Path(folder), durability, seconds)
        counts = [each[0] for each in done]
        waits = [1000 * wait for each in done for wait in each[1]]
        of = f"{WRITERS} writers, {called}"
        yield Row(f"{of}: cycles of each", "/s", Series([count / seconds for count in counts]))
        fair = Series([min(counts) / max(counts)])
        yield Row(f"{of}: slowest to fastest", "", fair, goals=[Goal(at_least=0.8)])
        yield Row(f"{of}: a commit waits", "ms", Series(waits))
        yield Row(f"{of}: a commit waits at most", "ms", Series(waits, at=1.0), goals=[Goal(at_most=50.0)])
        yield Row(f"{of}: errors", "", Series([sum(each[2] for each in done)]), goals=[Goal(at_most=0.0)])


def hammer(number: int, folder: Path, durability: str, seconds: float, start: Any) -> tuple[int, list[float], int]:
    queue, box = Ours(folder, durability), "builder"
    waits: list[float] = []
    errors = count = 0

    def timed(call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = call()
        waits.append(time.perf_counter() - began)
        return result

    start.wait()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        try:
            timed(queue.send)
            for row in timed(queue.claim):
                timed(lambda row=row: queue.acknowledge(row["message_id"], box))
                count += 1
        except Exception as error:  # noqa: BLE001  (what it is is counted and shown)
            errors += 1
            print(f"  writer {number}: {error!r}")
    return count, waits, errors


def together(act: Any, *arguments: Any) -> list[Any]:
    """What ``WRITERS`` processes return that begin at the same moment."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(WRITERS) as pool:
        start = manager.Barrier(WRITERS)
        return pool.starmap(act, [(n, *arguments, start) for n in range(WRITERS)])


# ------------------------------------------------------------------------------------------------- wake-up


def wakeups(count: int) -> Iterator[Row]:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = context.Pipe()
        poller = context.Process(target=poll, args=(Path(folder), theirs))
        poller.start()
        queue = Ours(Path(folder), "full")
        took, sends = [], []
        for _ in range(count):
            ours.recv()  # it waits
            time.sleep(0.01)  # and has gone to sleep
            began = time.monotonic()
            queue.send()
            sends.append(1000 * (time.monotonic() - began))
            took.append(1000 * (ours.recv() - began))
        poller.terminate()
        poller.join()
    of_it = {"the send, of it": Series(sends)}
    yield Row("wake-up of another process's poll", "ms", Series(took), of_it, [Goal(at_most=5.0)])
    yield Row("wake-up, p99", "ms", Series(took, at=0.99), goals=[Goal(at_most=10.0)])


def poll(folder: Path, pipe: Any) -> None:
    anyio.run(_poll, folder, pipe)


async def _poll(folder: Path, pipe: Any) -> None:
    store = AsyncStore(folder / "data" / "orchestrator.db")
    await store.open()
    changes = Changes(store)
    while True:
        pipe.send("waiting")
        seen: list[float] = []

        async def claimed(seen: list[float] = seen) -> bool | None:
            if not await store.read(messages.unread, ["builder"], now=clock.now()):
                return None
            seen.append(time.monotonic())
            for row in await store.run(
                messages.claim, ["builder"], reader="builder", limit=1, lease_seconds=60.0, now=clock.now()
            ):
                await store.run(
                    messages.acknowledge, [row["message_id"]], ["builder"], reader="builder", now=clock.now()
                )
            return True

        await changes.until(claimed, timeout_seconds=30)
        pipe.send(seen[0])


# ---------------------------------------------------------------------------------------------------- idle


def idle(seconds: float) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        share = anyio.run(_idle, Path(folder), seconds)
    return Row(f"{WAITERS} long polls wait", "% of a core", Series([100 * share]), goals=[Goal(at_most=1.0)])


async def _idle(folder: Path, seconds: float) -> float:
    store = AsyncStore(folder / "data" / "orchestrator.db")
    await store.open()
    changes = Changes(store)

    async def nothing() -> None:
        await store.read(messages.unread, ["builder"], now=clock.now())

    async def wait() -> None:
        await changes.until(nothing, timeout_seconds=seconds)

    async with anyio.create_task_group() as tasks:
        for _ in range(WAITERS):
            tasks.start_soon(wait)
        await anyio.sleep(seconds / 5)
        began, cpu = time.perf_counter(), time.process_time()
        await anyio.sleep(seconds / 2)
        used = (time.process_time() - cpu) / (time.perf_counter() - began)
    await store.close()
    return used


if __name__ == "__main__":
    parser = figures.parser(__doc__)
    parser.add_argument("--cycles", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0)
    figures.run(measure, parser)
