"""Whatever the tools of workflows are called with is answered, with a result or a coded refusal."""

import logging
import os
from typing import Any

import anyio
import pytest
from fuzz import calls
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mcp import Client

from crewyard.server.compose import build_app
from crewyard.tools import for_workflows

from .line import Line

pytestmark = pytest.mark.anyio
CALLS_EACH = 25
EXAMPLES = max(1, int(os.environ.get("CREWYARD_EXAMPLES", "150")) // CALLS_EACH)
KNOWN = ["P-1", "P-2", "P-3", "genesis", "development", "content", "genesis-01", "urgent", "list.txt"]
ANSWER_SECONDS = 20


def made_up() -> st.SearchStrategy[list[tuple[str, dict[str, Any]]]]:
    schemas = {tool.name: tool.parameters for tool in for_workflows()}
    return st.lists(calls(schemas, KNOWN), min_size=CALLS_EACH, max_size=CALLS_EACH)


@settings(
    max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(drawn=st.deferred(made_up))
async def test_whatever_the_lead_asks_of_workflows_is_answered_and_breaks_nothing(
    bench: Any, caplog: pytest.LogCaptureFixture, drawn: list[tuple[str, dict[str, Any]]]
) -> None:
    caplog.set_level(logging.ERROR)
    (bench.yard.root / "list.txt").write_text("Make a shop\n")
    line = Line(bench.store)
    for _ in range(3):
        line.dispatch()
    line.distribute()
    async with Client(build_app(bench.yard)) as client:
        for name, arguments in drawn:
            with anyio.fail_after(ANSWER_SECONDS):
                result = await client.call_tool(name, arguments)
            body = result.structured_content
            assert body is not None
            if result.is_error:
                assert body["code"] != "internal_error", (name, arguments, body)
            else:
                assert len(result.content[0].text) <= 10_000  # type: ignore[union-attr]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert bench.value("SELECT count(*) FROM project WHERE status = 'active' AND completed_at IS NOT NULL") == 0
