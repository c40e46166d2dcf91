"""Whoever clones Crewyard and starts a client in the clone has the server at hand."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from . import programs
from .desk import Desk
from .models import Say, Scenario, Use

ROOT = Path(__file__).resolve().parents[2]
NO_INDEX = re.compile("name resolution|Name or service not known|Connection refused|Network is unreachable")


@pytest.fixture
def clone(tmp_path: Path, installed: Path) -> Path:
    """A clone that was set up as its person does it, with the index of packages that is configured here."""
    folder = tmp_path / "crewyard"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    made = subprocess.run(
        ["make", "--silent", "venv"],
        cwd=folder,
        env={**os.environ, "HOME": str(programs.HOME)},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode and (found := NO_INDEX.search(made.stderr)):
        pytest.skip(f"pip cannot reach its index ({found[0]})")
    assert made.returncode == 0, made.stderr
    return folder


def test_claude_code_loads_the_clones_own_configuration(clone: Path, sit: Callable[..., Desk]) -> None:
    desk = sit(Scenario("look around", [[Use("plan", action="show")], [Say("Seen.")]]))

    told = desk.ask_claude("look around", at=clone)

    assert told.code == 0, told.err
    [server] = told.line(type="system", subtype="init")["mcp_servers"]
    assert (server["name"], server["status"]) == ("crewyard", "connected")
    assert desk.models.requests[-1].results[0]["tasks"] == []
    assert (clone / "data" / "orchestrator.db").exists()
