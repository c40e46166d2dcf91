"""Whatever a client calls a tool with is answered, with a result or a coded refusal; nothing breaks by it.

``CREWYARD_EXAMPLES=10000`` tries more than the few hundred calls of an ordinary run.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import anyio
import pytest
from fuzz import calls
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mcp import Client

from crewyard.server import clock, messages
from crewyard.server.compose import build_app
from crewyard.server.yard import Yard
from crewyard.tools import for_lead, for_worker

pytestmark = pytest.mark.anyio
CALLS_EACH = 25
TASKS = 5
EXAMPLES = max(1, int(os.environ.get("CREWYARD_EXAMPLES", "150")) // CALLS_EACH)
ANSWER_SECONDS = 20
# No shrinking: a call's answer depends on those before it. The first that fails is shown as it is.
FUZZED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


Calls = list[tuple[str, dict[str, Any]]]


def made_up() -> st.SearchStrategy[Calls]:
    """A few calls in a row, of every tool; an agent makes those of the lead as well."""
    schemas = {tool.name: tool.parameters for tool in [*for_worker(), *for_lead()]}
    return st.lists(calls(schemas, ["A", "B", "C", "a b", "D"]), min_size=CALLS_EACH, max_size=CALLS_EACH)


@pytest.fixture
def sound(bench: Any, database: Any, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Calls of every tool, and tasks, agents and messages for them to hit.

    Afterwards the database is whole and nothing unforeseen was logged.
    """
    bench.add_tasks("A", "B", "C", "a b", "D")
    bench.add_edge("A", "B")
    bench.add_agent("C", token="of C")
    os.mkfifo(bench.yard.root / "pipe")
    for target in ("lead", "builder"):
        draft = messages.Draft(target, "question", "?")
        bench.store.run(messages.send, draft, sender="lead", agent_types=["builder"], max_queue=9, now=clock.now())
    caplog.set_level(logging.ERROR)
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ATTACH DATABASE ? AS metrics", (str(database.with_name("metrics.db")),))
        for name in ("main", "metrics"):
            assert connection.execute(f"PRAGMA {name}.integrity_check").fetchall() == [("ok",)]
            assert connection.execute(f"PRAGMA {name}.foreign_key_check").fetchall() == []


async def answered(client: Client, name: str, arguments: dict[str, Any]) -> None:
    with anyio.fail_after(ANSWER_SECONDS):
        result = await client.call_tool(name, arguments)
    body = result.structured_content
    result.model_dump_json(by_alias=True)  # it has to go through the wire
    assert body is not None
    if result.is_error:
        assert body["code"] != "internal_error", (name, arguments, body)
        assert body["message"]
    else:
        assert body["status"] in ("success", "partial", "failed")
        assert len(result.content[0].text) <= 10_000  # type: ignore[union-attr]


async def tried(yard: Yard, drawn: Calls) -> None:
    async with Client(build_app(yard)) as client:
        for name, arguments in drawn:
            await answered(client, name, arguments)


@pytest.mark.usefixtures("sound")
@FUZZED
@given(drawn=st.deferred(made_up))
async def test_whatever_the_lead_calls_is_answered_and_breaks_nothing(bench: Any, drawn: Calls) -> None:
    await tried(bench.yard, drawn)


@pytest.mark.usefixtures("sound")
@FUZZED
@given(drawn=st.deferred(made_up))
async def test_whatever_an_agent_calls_is_answered_and_breaks_nothing(bench: Any, drawn: Calls) -> None:
    yard = Yard(bench.yard.root, bench.yard.settings, lambda: bench.operations, token="of C")
    await tried(yard, drawn)
    assert bench.value("SELECT count(*) FROM specs_task") == TASKS, "a worker adds none"
    assert bench.value("SELECT status FROM agent_lifecycle") == "running", "and ends nobody"
