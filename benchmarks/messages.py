"""The message queue: beside bare sqlite3 and other queues, with many writers, and how soon a message is seen.

    python benchmarks/messages.py [--cycles 300] [--rounds 5] [--seconds 5]

- cycles: send + claim + acknowledge, three durable commits, a second; all queues in turns in one process (`queues.py`).
  Others are measured where they are installed: pip install litequeue persist-queue huey.
- writers: eight processes do cycles as fast as they can: the slowest beside the fastest, the longest wait of a commit.
- wake-up: from the call of send in one process to the message in another's long poll, with its commit on disk.
- idle: CPU time of a process in which 20 long polls wait and nothing happens, as a share of a core.

Goals: >= 0.9 x sqlite3, >= 1.1 x litequeue; slowest / fastest >= 0.8, longest wait < 50 ms; wake-up p50 < 5 ms and
p99 < 10 ms; idle < 1 %.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from queues import OTHERS, Ours, Raw

from crewyard.server import clock, messages
from crewyard.server.async_store import AsyncStore
from crewyard.server.changes import Changes

WRITERS, WAITERS = 8, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", choices=("cycles", "writers", "wakeups", "idle"))
    asked = parser.parse_args()
    for part, run in {
        "cycles": lambda: cycles(asked.cycles, asked.rounds),
        "writers": lambda: writers(asked.seconds),
        "wakeups": lambda: wakeups(asked.cycles),
        "idle": lambda: idle(asked.seconds),
    }.items():
        if asked.only in (None, part):
            run()


# -------------------------------------------------------------------------------------------------- cycles


def cycles(count: int, rounds: int) -> None:
    for durability in ("full", "normal"):
        with tempfile.TemporaryDirectory() as folder:
            queues = list(opened(Path(folder), durability))
            rates: dict[str, list[float]] = {queue.name: [] for queue in queues}
            for turn in range(rounds):
                for queue in queues[turn % len(queues) :] + queues[: turn % len(queues)]:
                    rates[queue.name].append(rate(queue, count))
        ours = statistics.median(rates[Ours.name])
        print(f"cycles a second, synchronous = {durability}, {rounds} x {count}")
        for name, each in rates.items():
            share = "" if name == Ours.name else f"   crewyard is {ours / statistics.median(each):.2f} x"
            print(f"  {name:22} {statistics.median(each):8.0f}  ({min(each):.0f}-{max(each):.0f}){share}")


def opened(folder: Path, durability: str) -> Any:
    for queue in (Ours, Raw, *OTHERS):
        (folder / queue.name).mkdir()
        try:
            yield queue(folder / queue.name, durability)
        except ImportError:
            print(f"  {queue.name} is not installed")


def rate(queue: Any, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        queue.cycle()
    return count / (time.perf_counter() - began)


# ------------------------------------------------------------------------------------------------- writers


def writers(seconds: float) -> None:
    for durability in ("full", "normal"):
        with tempfile.TemporaryDirectory() as folder:
            Ours(Path(folder), durability).store.close()
            done = together(hammer, Path(folder), durability, seconds)
        counts = [each[0] for each in done]
        waits = sorted(wait for each in done for wait in each[1])
        print(
            f"{WRITERS} writers, synchronous = {durability}, {seconds:g} s: {sum(counts) / seconds:.0f} cycles a second"
        )
        print(f"  slowest / fastest  {min(counts) / max(counts):.2f}")
        print(
            f"  a commit waits     {spread(waits)}, longest {1000 * waits[-1]:.1f} ms, errors {sum(e[2] for e in done)}"
        )


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


def wakeups(count: int) -> None:
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
            sends.append(time.monotonic() - began)
            took.append(ours.recv() - began)
        poller.terminate()
        poller.join()
    print(f"send to seen in another process's long poll, {count} times: {spread(took)}; of it the send {spread(sends)}")


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


def idle(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        share = anyio.run(_idle, Path(folder), seconds)
    print(f"{WAITERS} waiting long polls, nothing happens: {100 * share:.2f} % of a core")


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


def spread(seconds: list[float]) -> str:
    values = sorted(1000 * each for each in seconds)
    at = [values[min(len(values) - 1, int(share * len(values)))] for share in (0.5, 0.99)]
    return f"p50 {at[0]:.2f} ms, p99 {at[1]:.2f} ms"


if __name__ == "__main__":
    main()
