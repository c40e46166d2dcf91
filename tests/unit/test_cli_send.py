"""``crewyard send``: what a person types in answer to an agent's question is what the agent then reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crewyard.server import clock, messages, reports, why
from crewyard.server.cli import app
from crewyard.server.errors import UnknownRecipient

ASKED = "Which colour?"


@pytest.fixture
def database(git_repo: Path) -> Path:
    return git_repo / "data" / "orchestrator.db"


@pytest.fixture
def asking(bench: Any, git_repo: Path) -> str:
    """An agent of task A that waits for an answer, in the yard of ``git_repo``."""
    bench.add_tasks("A")
    agent_id = str(bench.add_agent("A"))
    bench.store.run(reports.record, agent_id, "question", ASKED, now=clock.now())
    return agent_id


@pytest.fixture
def send(git_repo: Path) -> Callable[..., str]:
    def call(*words: str) -> str:
        done = CliRunner().invoke(app, ["send", *words, "--repo", str(git_repo)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return call


@pytest.mark.parametrize("to", ["agent", "A"])
def test_an_answer_that_is_typed_reaches_the_agent_that_asked_and_ends_its_wait(
    bench: Any, asking: str, send: Callable[..., str], to: str
) -> None:
    said = send(asking if to == "agent" else to, "the", "red", "one")

    assert asking in said
    assert bench.store.read(reports.waits, asking), "it has not read it yet"
    [row] = bench.store.run(messages.claim, [asking], reader=asking, limit=9, lease_seconds=60, now=clock.now())
    assert (row["from_agent"], row["message_type"], json.loads(row["content"])) == ("lead", "answer", "the red one")
    assert not bench.store.read(reports.waits, asking)


def test_an_agent_that_has_ended_reads_nothing_and_the_next_attempt_does(
    bench: Any, asking: str, send: Callable[..., str]
) -> None:
    bench.finish(asking, "failed", code=1, at=clock.now())
    told = "which has ended: the next attempt at A gets it in its prompt; `crewyard why"
    assert f"Sent to {asking}, {told}" in send("A", "red")
    name = bench.value("SELECT message_id FROM agent_message WHERE message_type = 'answer'")
    bounds = why.Bounds("builder", {}, auto_approve=True)
    because = bench.store.read(why.explain, name, now=clock.now(), bounds=bounds).because
    assert f"{asking} has ended; the next attempt at A gets it in its prompt" in because


def test_nobody_of_that_name_is_written_to(bench: Any, asking: str, send: Callable[..., str]) -> None:
    with pytest.raises(UnknownRecipient):
        send("nobody-at-all", "red")
    assert bench.value("SELECT count(*) FROM agent_message WHERE message_type = 'answer'") == 0
