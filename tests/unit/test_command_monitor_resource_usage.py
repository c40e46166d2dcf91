"""``monitor-resource-usage``, the command, on a real repository without a supervisor."""

import os
from pathlib import Path

import psutil
import pytest

from crewyard import ClaudeAgentInvoker
from crewyard.server import clock, samples
from crewyard.server.host import Watch
from crewyard.server.store import Store

NAME = "monitor-resource-usage"


@pytest.fixture
def invoker(git_repo: Path) -> ClaudeAgentInvoker:
    return ClaudeAgentInvoker(repo=git_repo)


def test_r148_r151_the_machine_is_looked_at_now(invoker: ClaudeAgentInvoker) -> None:
    found = invoker.invoke_command(NAME, {"ACTION": "check", "CHECK_INTERVAL_SECONDS": "45"})
    assert (found["success"], found["action"]) == (True, "check")
    assert len(found["cpu"]["per_core"]) == os.cpu_count()
    assert found["memory"]["virtual"]["total"] == pytest.approx(psutil.virtual_memory().total / 2**20, abs=1)
    assert found["can_spawn_agents"] is (not found["reasons"])
    assert found["next_check_in_seconds"] == 45
    assert "agents" not in found, "only what was asked for"


def test_r151_nobody_at_work_uses_nothing(invoker: ClaudeAgentInvoker) -> None:
    found = invoker.invoke_command(NAME, {"ACTION": "per_agent"})
    assert (found["agents"], found["overall_status"]) == ([], "normal")
    assert found["totals"] == {"agents": 0, "cpu_percent": 0, "memory_mb": 0, "processes": 0, "threads": 0}


def test_r150_r151_history_takes_its_range_as_text(invoker: ClaudeAgentInvoker, git_repo: Path) -> None:
    store = Store(git_repo / "data" / "orchestrator.db")
    seen = Watch(git_repo).look()
    for minutes in (10, 90):
        store.note(samples.record, seen, {}, now=clock.plus(clock.now(), -60 * minutes))
    store.close()
    hour = invoker.invoke_command(NAME, {"ACTION": "history"})
    two = invoker.invoke_command(NAME, {"ACTION": "history", "TIME_RANGE_MINUTES": "120"})
    assert (len(hour["samples"]), len(two["samples"])) == (1, 2)
    assert hour["samples"][0]["memory_percent"] == pytest.approx(seen.memory.percent, abs=0.1)
    assert set(hour["trends"].values()) == {"stable"}
    refused = invoker.invoke_command(NAME, {"ACTION": "history", "TIME_RANGE_MINUTES": "0"})
    assert (refused["success"], refused["error"]) == (False, "invalid_input")
