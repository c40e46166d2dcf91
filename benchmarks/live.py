"""What live resources cost a tool call, and how soon a change is told.

    python benchmarks/live.py [CALLS] [SUBSCRIBERS] [EVENTS_A_SECOND]

One server over stdio; another process that commits events; and this one, which calls a cheap tool and is every
subscriber as well, so that what it takes in counts against the call. Prints medians and their ratios: the call alone,
during the storm without subscribers, with subscribers in quiet, during the storm with subscribers that only listen, and
with such as read again whenever they are told. Then the time from a commit here to the word of it, in each era.
"""

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import EmptyResult, ResourceUpdatedNotification, SubscribeRequest, SubscribeRequestParams
from yards import make_repository

from crewyard.server import clock
from crewyard.server.store import Store, Transaction

SERVE = (
    "import sys; from pathlib import Path; from crewyard.server.compose import serve_stdio;"
    "sys.exit(serve_stdio(Path('.')))"
)
TASKS = 200
BURSTS_A_SECOND = 20
BROAD = ("crewyard://status", "crewyard://agents", "crewyard://events", "crewyard://graph", "crewyard://merges")


async def main() -> None:
    calls, subscribers, rate = (int(given) for given in (sys.argv[1:] + ["300", "50", "10000"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as name:
        repo = make_repository(Path(name) / "repo", 236, 0, checked_out=True)
        database = repo / "data" / "orchestrator.db"
        async with client(repo, "auto") as caller:
            tasks = [{"task_id": f"T{n}", "title": f"T{n}"} for n in range(TASKS)]
            await caller.call_tool("plan", {"action": "add", "tasks": tasks})
            alone = await median_call(caller, calls)
            with storm(database, rate):
                stormy = await median_call(caller, calls)
            async with listeners(caller, subscribers, reread=False):
                heard = await median_call(caller, calls)
                with storm(database, rate):
                    both = await median_call(caller, calls)
            async with listeners(caller, subscribers, reread=True):
                with storm(database, rate):
                    read = await median_call(caller, calls)
            again = await median_call(caller, calls)
        print(f"a call alone                           {alone:6.2f} ms (at the end {again:.2f})")
        for what, took in (
            (f"{rate} events a second", stormy),
            (f"{subscribers} subscribers", heard),
            ("both", both),
            ("both, and each reads again when told", read),
        ):
            print(f"{what:38} {took:6.2f} ms, ratio {took / alone:.2f}")
        for mode in ("auto", "legacy"):
            print(f"commit to told, {mode:6}                 {spread(await told_after(repo, mode, 100))}")
            with storm(database, rate):
                print(f"  during the storm                     {spread(await told_after(repo, mode, 50))}")


def spread(took: list[float]) -> str:
    ordered = sorted(took)
    return f"p50 {statistics.median(ordered):6.1f} ms, p99 {ordered[-1 - len(ordered) // 100]:6.1f} ms"


@asynccontextmanager
async def client(repo: Path, mode: Any, take: Any = None) -> AsyncIterator[Client]:
    parameters = StdioServerParameters(command=sys.executable, args=["-c", SERVE], cwd=repo, env=dict(os.environ))
    async with Client(stdio_client(parameters), mode=mode, message_handler=take) as made:
        yield made


async def median_call(caller: Client, calls: int) -> float:
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        await caller.call_tool("agents", {})
        took.append((time.perf_counter() - began) * 1000)
        await anyio.sleep(0.01)
    return statistics.median(took)


@asynccontextmanager
async def listeners(caller: Client, subscribers: int, *, reread: bool) -> AsyncIterator[None]:
    told = 0

    async def follow(uri: str, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        nonlocal told
        async with caller.listen(resource_subscriptions=[uri]) as stream:
            task_status.started()
            async for _ in stream:
                told += 1
                if reread:
                    await caller.read_resource(uri)

    async with anyio.create_task_group() as tasks:
        for number in range(subscribers):
            await tasks.start(follow, BROAD[number // 2 % len(BROAD)] if number % 2 else f"crewyard://tasks/T{number}")
        began = time.monotonic()
        yield
        print(f"    ({told / (time.monotonic() - began):.0f} told a second)")
        tasks.cancel_scope.cancel()


async def told_after(repo: Path, mode: str, times: int) -> list[float]:
    """Milliseconds from each commit until the client of this era is told."""
    uri = "crewyard://tasks/T0"
    told = anyio.Event()

    async def take(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):  # in both eras the client says so to this handler
            told.set()

    took = []
    store = Store(repo / "data" / "orchestrator.db")
    async with client(repo, mode, take) as made, AsyncExitStack() as stack:
        if mode == "legacy":
            await made.session.send_request(SubscribeRequest(params=SubscribeRequestParams(uri=uri)), EmptyResult)
        else:
            await stack.enter_async_context(made.listen(resource_subscriptions=[uri]))
        for number in range(times):
            await anyio.sleep(0.2 + number % 7 / 100)
            told = anyio.Event()
            store.run(_retitle, str(number))
            began = time.perf_counter()
            await told.wait()
            took.append((time.perf_counter() - began) * 1000)
    store.close()
    return took


def _retitle(tx: Transaction, title: str) -> None:
    tx.run("UPDATE specs_task SET title = ? WHERE task_id = 'T0'", (title,))


# --------------------------------------------------------------------------------------------- the other process


@contextmanager
def storm(database: Path, rate: int) -> Iterator[None]:
    """Events of every task but T0, and changes of a quarter of them, in a process of its own."""
    command = [sys.executable, __file__, "--storm", str(database), str(rate)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        said, _ = process.communicate()
        print(f"    ({said.strip()})")


def make_storm(database: Path, rate: int) -> None:
    store = Store(database)
    written = 0
    began = time.monotonic()
    print("ready", flush=True)
    while not select.select([0], [], [], 0)[0]:  # until its standard input is closed
        store.run(_burst, written, rate // BURSTS_A_SECOND)
        written += rate // BURSTS_A_SECOND
        time.sleep(max(0.0, began + written / rate - time.monotonic()))
    print(f"{written / (time.monotonic() - began):.0f} events a second")


def _burst(tx: Transaction, number: int, events: int) -> None:
    now = clock.now()
    rows = [(now, "bench", "task", f"T{1 + n % (TASKS - 1)}", "noted", json.dumps({"n": n})) for n in range(events)]
    tx.many("INSERT INTO event (at, actor, subject_type, subject_id, kind, data) VALUES (?, ?, ?, ?, ?, ?)", rows)
    tx.run("UPDATE specs_task SET description = ? WHERE position BETWEEN 1 AND 50", (str(number),))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--storm"]:
        make_storm(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        anyio.run(main)
