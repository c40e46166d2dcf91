"""Live resources: who is told of what, in both protocol eras, and what is left when nobody listens."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.types import (
    EmptyResult,
    ResourceUpdatedNotification,
    SubscribeRequest,
    SubscribeRequestParams,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)

from crewyard.server import agents, clock, events, subscriptions, tasks
from crewyard.server.compose import build_app
from crewyard.server.store import Store, Transaction
from crewyard.server.subscriptions import MOST_REST_SECONDS, REST_SECONDS, rest_seconds
from crewyard.server.yard import Yard

pytestmark = pytest.mark.anyio
SOON = 10.0


class Subscriber:
    """A client of either era and what it was told."""

    def __init__(self, app: Any, mode: Any) -> None:
        self.told: list[str] = []
        self._heard = anyio.Event()
        self.client = Client(app, mode=mode, message_handler=self._take)
        self.mode = mode

    async def _take(self, message: Any) -> None:
        if self.mode == "legacy" and isinstance(message, ResourceUpdatedNotification):
            self.hear(str(message.params.uri))

    def hear(self, uri: str) -> None:
        self.told.append(uri)
        heard, self._heard = self._heard, anyio.Event()
        heard.set()

    async def until_told(self, *uris: str) -> None:
        with anyio.fail_after(SOON):
            while not set(uris) <= set(self.told):
                await self._heard.wait()

    async def subscribe(self, uri: str) -> None:
        """Of the older era; the client's own method warns that it is old."""
        await self.client.session.send_request(SubscribeRequest(params=SubscribeRequestParams(uri=uri)), EmptyResult)

    @asynccontextmanager
    async def subscribed(self, *uris: str) -> AsyncIterator["Subscriber"]:
        """Unsubscribes at the end."""
        if self.mode == "legacy":
            for uri in uris:
                await self.subscribe(uri)
            yield self
            for uri in uris:
                asked = UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri))
                await self.client.session.send_request(asked, EmptyResult)
            return
        async with self.client.listen(resource_subscriptions=uris) as stream, anyio.create_task_group() as tasks:
            assert set(stream.honored.resource_subscriptions or ()) == set(uris)

            async def follow() -> None:
                async for event in stream:
                    self.hear(event.uri)  # type: ignore[union-attr]

            tasks.start_soon(follow)
            yield self
            tasks.cancel_scope.cancel()


Connect = Callable[..., AbstractAsyncContextManager[Subscriber]]


@pytest.fixture(params=["auto", "legacy"])
def connect(request: pytest.FixtureRequest, bench: Any) -> Connect:
    """``async with connect() as subscriber``: a client of one server that all of them share."""
    app = build_app(bench.yard)

    @asynccontextmanager
    async def connected(mode: str = request.param) -> AsyncIterator[Subscriber]:
        subscriber = Subscriber(app, mode)
        async with subscriber.client:
            yield subscriber

    connected.app = app  # type: ignore[attr-defined]
    return connected


def listeners(bench: Any) -> list[Path]:
    folder = bench.store.path.with_name("orchestrator.db-listeners")
    return list(folder.iterdir()) if folder.exists() else []


def open_files() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.append(str(Path(f"/proc/self/fd/{name}").readlink()))
    return found


def looking() -> list[Any]:
    return [task for task in asyncio.all_tasks() if "_keep_" in repr(task.get_coro())]


async def until_nothing_is_left(bench: Any) -> None:
    with anyio.fail_after(SOON):
        while listeners(bench) or looking():
            await anyio.lowlevel.checkpoint()


async def test_a_change_is_told_to_whoever_is_subscribed_to_what_shows_it(bench: Any, connect: Connect) -> None:
    bench.add_tasks("A", "B")
    shown = ["status", "agents", "graph", "graph.mmd", "tasks/A", "events", "events?after=1&limit=2"]
    uris = [f"crewyard://{name}" for name in shown]
    async with connect() as client, client.subscribed(*uris, "crewyard://tasks/B", "crewyard://merges"):
        bench.add_agent("A")
        await client.until_told(*uris)
        assert not {"crewyard://tasks/B", "crewyard://merges"} & set(client.told)


async def test_what_changes_without_an_event_is_told(bench: Any, connect: Connect) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    uris = ["crewyard://status", "crewyard://agents", f"crewyard://agents/{agent_id}"]
    before = bench.value("SELECT count(*) FROM event")
    async with connect() as client, client.subscribed(*uris):
        bench.store.run(agents.heartbeat, agent_id, now="2031-01-01T00:00:00.000Z")
        await client.until_told(*uris)
    assert bench.value("SELECT count(*) FROM event") == before


async def test_a_task_is_told_of_when_its_blocker_or_its_agent_changes(bench: Any, connect: Connect) -> None:
    bench.add_tasks("A", "B", "C")
    bench.add_edge("A", "C")
    bench.add_edge("B", "C")
    agent_id = bench.add_agent("B")
    async with connect() as client, client.subscribed("crewyard://tasks/B", "crewyard://tasks/C"):
        bench.end_agent(agent_id)
        await client.until_told("crewyard://tasks/B")
        bench.store.run(
            lambda tx: tx.run(
                "UPDATE specs_task_dependency SET dependency_status = 'completed', resolved_at = created_at "
                "WHERE blocking_task_id = 'A'"
            )
        )
        await client.until_told("crewyard://tasks/C")


async def test_a_log_is_told_of_as_it_grows_and_begins_anew(bench: Any, connect: Connect) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    folder = Path(bench.value("SELECT run_dir FROM agent_lifecycle"))
    folder.mkdir(parents=True)
    uri = f"crewyard://agents/{agent_id}/log"
    async with connect() as client, client.subscribed(uri):
        for text in ("first\n", "first\nsecond\n"):
            (folder / "output.log").write_text(text)
            await client.until_told(uri)
            client.told.clear()
        fresh = folder / "fresh"
        fresh.write_text("third\nfourth!\n")
        fresh.replace(folder / "output.log")
        await client.until_told(uri)


async def test_a_message_is_told_of_when_it_is_delivered(bench: Any, connect: Connect) -> None:
    async with connect() as client:
        sent = await client.client.call_tool("route", {"target": "lead", "content": "x"})
        uri = f"crewyard://messages/{(sent.structured_content or {})['message_id']}"
        async with client.subscribed(uri):
            await client.client.call_tool("route", {"action": "poll"})
            await client.until_told(uri)


async def test_one_that_is_deleted_is_told_of_once(bench: Any, connect: Connect) -> None:
    async with connect() as subscriber:
        await subscriber.client.call_tool("route", {"target_agent": "lead", "content": "x"})
        name = bench.row("agent_message")["message_id"]
        uri = f"crewyard://messages/{name}"
        async with subscriber.subscribed(uri, "crewyard://events"):
            bench.store.run(lambda tx: tx.run("DELETE FROM agent_message"))
            await subscriber.until_told(uri)
            await subscriber.client.call_tool("route", {"target_agent": "builder", "content": "x"})
            await subscriber.until_told("crewyard://events")
            assert subscriber.told.count(uri) == 1


async def test_what_a_program_that_is_not_ours_commits_is_told(bench: Any, connect: Connect) -> None:
    bench.add_tasks("A")
    async with connect() as client, client.subscribed("crewyard://tasks/A"):
        connection = sqlite3.connect(bench.store.path)
        connection.execute("UPDATE specs_task SET title = 'Another'")
        connection.commit()
        connection.close()
        await client.until_told("crewyard://tasks/A")


async def test_time_that_passes_is_no_change(bench: Any, connect: Connect) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    uris = ["crewyard://status", "crewyard://agents", f"crewyard://agents/{agent_id}"]
    async with connect() as client, client.subscribed(*uris, "crewyard://tasks/A"):
        for _ in range(3):
            bench.store.run(
                lambda tx: tx.run(
                    "INSERT INTO metrics.metrics (timestamp, metric_type, value, unit) VALUES ('now', 't', 1, 'u')"
                )
            )
            await anyio.to_thread.run_sync(lambda: None)
        bench.store.run(lambda tx: tx.run("UPDATE specs_task SET title = 'Another'"))
        await client.until_told("crewyard://tasks/A")
        assert client.told == ["crewyard://tasks/A"]


async def test_after_a_storm_the_last_read_is_the_truth_and_few_were_told(bench: Any, connect: Connect) -> None:
    bench.add_tasks("A")
    reads: list[str] = []
    async with connect() as client, client.subscribed("crewyard://tasks/A"):

        async def reread() -> None:
            while True:
                await client.until_told("crewyard://tasks/A")
                client.told.clear()
                found = await client.client.read_resource("crewyard://tasks/A")
                reads.append(found.contents[0].text)  # type: ignore[union-attr]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reread)
            await anyio.to_thread.run_sync(storm, bench.store, 500)
            with anyio.fail_after(SOON):
                while not reads or '"title":"499"' not in reads[-1]:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    assert len(reads) < 100


def storm(store: Store, times: int) -> None:
    def rename(tx: Transaction, title: int) -> None:
        tx.run("UPDATE specs_task SET title = ?", (str(title),))

    for number in range(times):
        store.run_again_if_lost(rename, number)


async def test_nothing_is_left_when_the_last_one_unsubscribes(bench: Any, connect: Connect) -> None:
    async with connect() as client:
        async with client.subscribed("crewyard://status", "crewyard://graph"):
            with anyio.fail_after(SOON):
                while not listeners(bench):
                    await anyio.lowlevel.checkpoint()
        with anyio.fail_after(SOON):
            while listeners(bench):
                await anyio.lowlevel.checkpoint()


async def test_nothing_is_left_of_a_client_that_went_without_a_word(bench: Any, connect: Connect) -> None:
    bench.add_tasks("A")
    async with connect() as stays:

        async def listen(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            async with connect() as client, client.subscribed("crewyard://tasks/A"):
                task_status.started()
                await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            await tasks.start(listen)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(SOON):
            while listeners(bench):
                await anyio.lowlevel.checkpoint()
        async with stays.subscribed("crewyard://tasks/A"):
            bench.add_agent("A")
            await stays.until_told("crewyard://tasks/A")
    await until_nothing_is_left(bench)
    assert not [name for name in open_files() if "listeners" in name]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_one_that_leaves_takes_nothing_from_the_others(bench: Any, connect: Connect, mode: str) -> None:
    bench.add_tasks("A")
    async with connect() as stays, connect(mode) as leaves, stays.subscribed("crewyard://tasks/A"):
        async with leaves.subscribed("crewyard://tasks/A", "crewyard://status"):
            pass
        bench.add_agent("A")
        await stays.until_told("crewyard://tasks/A")
        assert leaves.told == []


@pytest.mark.parametrize("connect", ["legacy"], indirect=True)
async def test_the_older_era_is_refused_what_there_is_not(bench: Any, connect: Connect) -> None:
    async with connect() as client:
        for uri, code in (
            ("crewyard://tasks/nope", "task_not_found"),
            ("crewyard://nothing", "Unknown resource"),
            ("file:///etc/passwd", "Unknown resource"),
        ):
            with pytest.raises(MCPError, match=code):
                await client.subscribe(uri)
    assert listeners(bench) == []


@pytest.mark.parametrize("connect", ["auto"], indirect=True)
async def test_the_newer_era_is_told_what_of_it_is_honoured(bench: Any, connect: Connect) -> None:
    bench.add_tasks("A")
    uris = ["crewyard://tasks/A", "crewyard://tasks/nope", "file:///etc/passwd"]
    async with connect() as client, client.client.listen(resource_subscriptions=uris) as stream:
        assert stream.honored.resource_subscriptions == ["crewyard://tasks/A"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_agent_hears_of_the_plan_and_its_own_mail_only(bench: Any, call: Any, mode: str) -> None:
    foreign = await call("route", target="architect", content="x")
    own = await call("route", target="builder", content="x")
    bench.add_tasks("A")
    bench.add_agent("A", token="a secret")
    yard = Yard(bench.yard.root, bench.yard.settings, lambda: bench.operations, token="a secret")
    subscriber = Subscriber(build_app(yard), mode)
    may = ["crewyard://tasks/A", f"crewyard://messages/{own['message_id']}"]
    may_not = ["crewyard://status", "crewyard://agents", f"crewyard://messages/{foreign['message_id']}"]
    async with subscriber.client as client:
        if mode == "auto":
            async with client.listen(resource_subscriptions=[*may, *may_not]) as stream:
                assert stream.honored.resource_subscriptions == may
        else:
            for uri in may:
                await subscriber.subscribe(uri)
            for uri in may_not:
                with pytest.raises(MCPError):
                    await subscriber.subscribe(uri)


async def test_there_are_so_many_subscriptions_and_no_more(
    bench: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MOST", 2)
    async with connect() as client, client.subscribed("crewyard://status", "crewyard://graph"):
        with pytest.raises(MCPError, match="resource_exhaustion: There are 2 subscriptions"):
            async with client.subscribed("crewyard://merges"):
                pass
        bench.add_tasks("A")
        bench.add_agent("A")
        await client.until_told("crewyard://status")


@pytest.mark.parametrize(("mode", "is_told"), [("auto", True), ("legacy", True)])
async def test_both_eras_are_promised_subscriptions(bench: Any, mode: Any, is_told: bool) -> None:
    async with Client(build_app(bench.yard), mode=mode) as client:
        assert client.server_capabilities.resources.subscribe is is_told  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("looked", "told", "rest"),
    [
        (0.0, 0, REST_SECONDS),
        (0.02, 1, 0.2),
        (0.0, 20, 0.2),
        (3.0, 0, MOST_REST_SECONDS),
        (0.0, 5000, MOST_REST_SECONDS),
    ],
)
def test_it_rests_the_longer_the_more_it_did(looked: float, told: int, rest: float) -> None:
    assert rest_seconds(looked, told) == pytest.approx(rest)


@pytest.mark.parametrize("connect", ["legacy"], indirect=True)
async def test_a_client_that_takes_nothing_in_holds_up_nobody_else(
    bench: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add_tasks("A")
    sent: list[str] = []
    send = ServerSession.send_resource_updated

    async def stuck_for_the_first(session: ServerSession, uri: str) -> None:
        sent.append(uri)
        await (anyio.sleep_forever() if len(sent) == 1 else send(session, uri))

    monkeypatch.setattr(ServerSession, "send_resource_updated", stuck_for_the_first)
    async with (
        connect() as stuck,
        connect() as other,
        stuck.subscribed("crewyard://tasks/A"),
        other.subscribed("crewyard://tasks/A"),
    ):
        bench.add_agent("A")
        await other.until_told("crewyard://tasks/A")
        assert stuck.told == []


async def test_the_summary_is_news_when_a_task_moves_and_not_with_any_event(bench: Any, connect: Any) -> None:
    bench.add_tasks("A")
    async with connect() as client, client.subscribed("crewyard://summary.md", "crewyard://events"):
        bench.store.run(_some_event)
        await client.until_told("crewyard://events")
        assert "crewyard://summary.md" not in client.told
        bench.store.run(tasks.complete, "A", now=clock.now(), actor="test")
        await client.until_told("crewyard://summary.md")


def _some_event(tx: Transaction) -> None:
    events.record(tx, now=clock.now(), actor="test", subject_type="clock", subject_id="wall", kind="clock_set")
