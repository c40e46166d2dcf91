"""However a client ends, its server goes with it and its agents stay."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .desk import Desk
from .models import Part, Say, Scenario, Use

HOLDER = '[agents.holder]\ncommand = ["sh", "-c", "while [ ! -e GATE ]; do sleep 0.05; done; echo x > x.txt"]\n'
OVER = "its work is over"


def servers(repo: Path) -> list[int]:
    mark = f"serve\0--repo\0{repo}\0".encode()
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@pytest.mark.parametrize(
    ("claude", "how"),
    [
        ("claude", OVER),
        ("claude", signal.SIGTERM),
        ("claude-330", OVER),
        ("claude-330", signal.SIGINT),
        ("claude-330", signal.SIGTERM),
        ("claude-330", signal.SIGKILL),
    ],
)
def test_the_server_ends_with_its_client_and_the_agent_works_on(
    yard: Any, sit: Callable[..., Desk], wait_until: Callable[..., float], claude: str, how: Any
) -> None:
    gate, let_go = yard.folder / "gate", threading.Event()
    yard.configure(HOLDER.replace("GATE", str(gate)))
    plan = yard.plan({"task_id": "A", "agent_type": "holder"})

    def think(results: list[Any]) -> list[Part]:
        let_go.wait(60)
        return [Say("Done.")]

    turns = [[Use("plan", action="import", path=str(plan))], [Use("assign")], think]
    desk = sit(Scenario("begin", turns), claude=claude)
    client = desk.start(
        "claude", "-p", "begin", "--allowedTools", "mcp__crewyard", *desk.strictly(yard.repo), at=yard.repo
    )
    try:
        wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"), seconds=60)
        wait_until(lambda: len(desk.models.requests) and len(desk.models.requests[-1].turns) == 2)
        assert servers(yard.repo)
        if how != OVER:
            client.send_signal(how)
            client.wait(timeout=20)
        let_go.set()
        client.wait(timeout=20)
    finally:
        let_go.set()
        client.kill()
        client.wait()

    wait_until(lambda: not servers(yard.repo), seconds=10)
    assert yard.processes(), "its agent works on"
    gate.touch()
    assert yard.run(plan).code == 0
    assert yard.at_roadmap("x.txt") == "x"
    assert yard.rows("SELECT count(*) AS n FROM agent_lifecycle")[0]["n"] == 1, "nobody began anew"
    assert yard.processes() == []
