"""Who asks: an agent may do its own work and nothing of the lead's; each refusal is recorded and changes nothing."""

import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client, MCPError
from mcp.server.mcpserver.tools import Tool

from crewyard import tools
from crewyard.server import agents, clock, identity, messages
from crewyard.server.compose import build_app
from crewyard.server.errors import NotAuthorized
from crewyard.server.refusals import MOST_KINDS, Refusals
from crewyard.server.store import Store, Transaction
from crewyard.server.yard import Yard

pytestmark = pytest.mark.anyio
TABLES = (
    "specs_task", "agent_lifecycle", "orchestrator_task", "git_worktree_tracker", "merge_request", "agent_message",
    "dispatch", "specs_task_dependency", "event",
)  # fmt: skip


def actions(tool: Tool) -> list[str | None]:
    action = tool.parameters["properties"].get("action", {})
    return [action["const"]] if "const" in action else action.get("enum", [None])


def matrix() -> list[tuple[str, str | None]]:
    """Every call of the lead's that an ordinary agent has not: a new tool, or a new action, is in it by itself."""
    own = {(tool.name, action) for tool in tools.for_worker() for action in actions(tool)}
    return [
        (tool.name, action) for tool in tools.for_lead() for action in actions(tool) if (tool.name, action) not in own
    ]


def content(bench: Any) -> dict[str, list[tuple[Any, ...]]]:
    """The database as it is, without what a refusal records."""

    def rows(tx: Transaction, table: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in tx.all(f"SELECT * FROM {table}")]

    found = {table: bench.store.read(rows, table) for table in TABLES}
    found["event"] = [row for row in found["event"] if "not_authorized" not in row]
    return found


def refusals(bench: Any) -> list[tuple[str, str]]:
    rows = bench.store.read(lambda tx: tx.all("SELECT * FROM event WHERE kind = 'not_authorized' ORDER BY event_id"))
    return [(row["actor"], json.loads(row["data"])["asked"]) for row in rows]


def test_the_matrix_holds_what_design_forbids() -> None:
    named = set(matrix())
    assert {
        ("worktrees", "merge"),
        ("agents", "kill"),
        ("agents", "log"),
        ("plan", "add"),
        ("assign", "assign"),
    } <= named
    assert len(named) > 20


async def test_an_agent_has_what_its_tools_offer(bench: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        assert [task["task_id"] for task in (await call("plan", action="show"))["tasks"]] == ["A"]
        await call("agents", action="list")
        await call("route", action="poll")
        await call("report", action="progress", summary="so far")
    assert refusals(bench) == []


async def test_the_words_of_anothers_log_are_the_leads_alone(bench: Any, worker: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_agent("B")
    words = "Its last words: a secret of B"
    bench.store.run(lambda tx: tx.run("UPDATE specs_task SET error_code = 'agent_failed', error_message = ?", (words,)))
    bench.store.run(lambda tx: tx.run("UPDATE agent_lifecycle SET error_message = ?", (words,)))
    assert words in json.dumps(await call("plan", action="show", task_id="B"))
    async with worker("A") as agent:
        shown = await agent("plan", action="show", task_id="B")
        assert shown["tasks"][0]["error"] == "agent_failed"
        assert "secret" not in json.dumps(shown)
        read = await agent.client.read_resource("crewyard://tasks/B")
        assert "secret" not in read.contents[0].text


async def test_what_is_refused_repeats_little_of_what_was_given(call: Any) -> None:
    error = await call.fails("route", target_agent="x" * 100_000, content="?")
    assert len(json.dumps(error)) < 10_000


async def test_made_up_names_are_not_recorded(bench: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        me = bench.row("agent_lifecycle", task_id="A")["agent_id"]
        bench.end_agent(me)
        for name in ("one", "two", "status"):
            with pytest.raises(MCPError):
                await call.client.read_resource(f"crewyard://{name}")
    assert refusals(bench) == [(me, "a resource"), (me, "crewyard://status")]


@pytest.mark.parametrize(("tool", "action"), matrix())
async def test_what_is_the_leads_is_refused_to_an_agent_recorded_and_changes_nothing(
    bench: Any, worker: Any, tool: str, action: str | None
) -> None:
    bench.add_tasks("A", "B")
    other = bench.add_agent("B")
    async with worker("A") as call:
        before = content(bench)
        given = {"agent_id": other, "task_id": "B", "subject": "B", "secret": "s3cret"} | (
            {} if action is None else {"action": action}
        )
        error = await call.fails(tool, **given)
        assert error["code"] == "not_authorized"
        assert content(bench) == before
    me = bench.row("agent_lifecycle", task_id="A")["agent_id"]
    assert refusals(bench) == [(me, tool if action is None else f"{tool}(action={action!r})")]
    assert bench.operations.calls == []
    assert "s3cret" not in json.dumps(
        [tuple(row) for row in bench.store.read(lambda tx: tx.all("SELECT data FROM event"))]
    )


async def test_with_its_own_tools_an_agent_cannot_speak_or_read_for_another(bench: Any, worker: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    other = bench.add_agent("B", agent_type="architect")
    theirs = await call("route", target=other, content="for B")
    async with worker("A") as me:
        for given in (
            ("route", {"action": "poll", "target": other}),
            ("route", {"action": "poll", "target": "lead"}),
            ("route", {"action": "clear_old"}),
            ("agents", {"action": "heartbeat", "agent_id": other}),
        ):
            assert (await me.fails(given[0], **given[1]))["code"] == "not_authorized"
        with pytest.raises(MCPError, match="not_authorized"):
            await me.client.read_resource(f"crewyard://messages/{theirs['message_id']}")
        assert (await me.fails("route", action="acknowledge", message_id=theirs["message_id"]))["code"] in (
            "not_authorized", "message_not_found",
        )  # fmt: skip
    assert bench.row("agent_message", message_id=theirs["message_id"])["status"] == "pending"
    name = bench.row("agent_lifecycle", task_id="A")["agent_id"]
    recorded = refusals(bench)
    assert {actor for actor, _ in recorded} == {name}
    assert {"route(action='poll')", "route(action='clear_old')", "agents(action='heartbeat')"} <= {
        asked for _, asked in recorded
    }
    assert ("crewyard://messages") in {asked for _, asked in recorded}


async def test_every_resource_of_the_leads_alone_is_refused_to_an_agent(bench: Any, worker: Any, call: Any) -> None:
    async def uris(client: Client) -> set[str]:
        listed = [str(each.uri) for each in (await client.list_resources()).resources]
        templates = [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
        return {uri.partition("{?")[0].replace("{agent_id}", other) for uri in [*listed, *templates]}

    bench.add_tasks("A", "B")
    other = bench.add_agent("B")
    async with worker("A") as me:
        leads_alone = await uris(call.client) - await uris(me.client)
        assert f"crewyard://agents/{other}/log" in leads_alone
        for uri in leads_alone:
            with pytest.raises(MCPError, match="not_authorized"):
                await me.client.read_resource(uri)
    alone = {f"crewyard://{name}" for name in ("status", "merges", "agents", "events", "summary.md")}
    assert {asked for _, asked in refusals(bench)} == alone


async def test_an_agent_that_ended_can_do_nothing_more_and_is_named(bench: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        name = bench.row("agent_lifecycle", task_id="A")["agent_id"]
        bench.end_agent(name)
        assert (await call.fails("report", summary="x"))["code"] == "not_authorized"
        assert (await call.fails("made-up"))["code"] == "not_authorized"
        with pytest.raises(MCPError, match="not_authorized"):
            await call.client.read_resource("crewyard://plan")
    assert refusals(bench) == [(name, "report"), (name, "a tool"), (name, "crewyard://plan")]


async def test_whoever_ended_between_the_check_and_the_act_has_done_nothing(bench: Any) -> None:
    """The agent ends after the call was let in: what it asked for runs in one transaction with another look."""
    bench.add_tasks("A")
    name = bench.add_agent("A", token="secret")
    yard = Yard(bench.yard.root, bench.yard.settings, lambda: bench.operations, token="secret")
    async with yard.opened():
        caller = await yard.caller()
        bench.end_agent(name)
        for does in (yard.run, yard.read):
            with pytest.raises(NotAuthorized):
                await does(caller, _fails)


async def test_a_long_poll_of_an_agent_that_ends_is_refused_and_claims_nothing(
    bench: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, look_ahead = threading.Event(), messages.seconds_to_visible

    def noted(tx: Transaction, boxes: list[str], *, now: str) -> float | None:
        waits.set()  # it has looked, found nothing, and asks for how long it may wait
        return look_ahead(tx, boxes, now=now)

    monkeypatch.setattr(messages, "seconds_to_visible", noted)
    bench.add_tasks("A")
    heard: list[Any] = []
    done = anyio.Event()
    async with worker("A") as call, anyio.create_task_group() as tasks:
        name = bench.row("agent_lifecycle", task_id="A")["agent_id"]

        async def poll() -> None:
            heard.append(await call.fails("route", action="poll", wait_seconds=50))
            done.set()

        tasks.start_soon(poll)
        with anyio.fail_after(5):
            await anyio.to_thread.run_sync(waits.wait)
            bench.store.run(_ends_and_gets_mail, bench, name)
            await done.wait()
    assert heard[0]["code"] == "not_authorized"
    assert bench.row("agent_message")["status"] == "pending"


def _fails(tx: Transaction) -> None:
    pytest.fail(f"it was done, by {tx}")


def _ends_and_gets_mail(tx: Transaction, bench: Any, name: str) -> None:
    messages.send(
        tx, messages.Draft(name, "status_update", "x", 5), sender="lead", agent_types=["builder"], max_queue=10,
        now=clock.now(),
    )  # fmt: skip
    agents.ended(tx, name, agents.Exit("killed", clock.now()), actor="test")


@pytest.mark.parametrize("role", ["architect", "builder"])
async def test_an_agent_of_an_authorized_role_approves_only_while_it_lives(bench: Any, role: str) -> None:
    bench.add_tasks("A")
    name = bench.add_agent("A", agent_type=role, token="secret")
    caller = bench.store.read(identity.of_token, "secret", ["architect"])
    assert (caller.name, caller.is_lead, caller.may_approve) == (name, False, role == "architect")
    bench.end_agent(name)
    with pytest.raises(NotAuthorized) as refused:
        bench.store.read(identity.of_token, "secret", ["architect"])
    assert refused.value.details == {"agent_id": name}
    with pytest.raises(NotAuthorized):
        bench.store.run(identity.acting, name, _fails)


@pytest.fixture
async def noted(bench: Any) -> AsyncIterator[Refusals]:
    async with bench.yard.opened():
        yield Refusals(bench.yard)


async def test_whoever_is_refused_without_end_does_not_fill_the_database(
    bench: Any, noted: Refusals, store: Store
) -> None:
    began = clock.now()
    for _ in range(500):
        await noted.note("unknown", "HTTP 401")
    for number in range(2 * MOST_KINDS):
        await noted.note("unknown", f"{number}" + "x" * 500)
    seconds = clock.seconds_between(began, clock.now())
    rows = store.read(lambda tx: tx.all("SELECT data FROM event WHERE kind = 'not_authorized'"))
    assert sum(json.loads(row["data"])["asked"] == "HTTP 401" for row in rows) <= 1 + seconds
    assert max(len(row["data"]) for row in rows) < 300


async def test_it_is_recorded_how_often_the_same_came(
    bench: Any, noted: Refusals, store: Store, monkeypatch: Any
) -> None:
    await noted.note("a", "x")
    await noted.note("a", "x")
    await noted.note("a", "x")
    monkeypatch.setattr("crewyard.server.refusals.APART_SECONDS", 0.0)
    await noted.note("a", "x")
    rows = store.read(lambda tx: tx.all("SELECT data FROM event WHERE kind = 'not_authorized' ORDER BY event_id"))
    assert [json.loads(row["data"])["times"] for row in rows] == [1, 3]


async def test_the_agents_view_takes_the_token_of_each_request_and_shares_what_is_open(bench: Any) -> None:
    bench.add_tasks("A", "B")
    names = {token: bench.add_agent(task, token=token) for task, token in (("A", "one"), ("B", "two"))}
    presented = ["one"]
    view = bench.yard.for_agents(lambda: presented[0])
    assert (view.is_workers, bench.yard.is_workers) == (True, False)
    async with bench.yard.opened(), view.opened():
        assert view.store is bench.yard.store
        assert (await bench.yard.caller()).is_lead
        for token, name in names.items():
            presented[0] = token
            assert (await view.caller()).name == name
        presented[0] = "nobody's"
        with pytest.raises(NotAuthorized):
            await view.caller()
    app = build_app(view)
    assert {tool.name for tool in tools.for_worker()} <= {tool.name for tool in app._tool_manager.list_tools()}
