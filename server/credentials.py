"""What an agent is given to speak for itself: its token, in files of its run folder that go when it ends."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import daemon, environment, runners
from .kinds import Kind, Launch, Start
from .paths import Paths
from .sections import Agent

MCP_CONFIG = "mcp.json"
PROGRAM_CONFIG = "program.json"
SECRET = (MCP_CONFIG, PROGRAM_CONFIG, runners.ORDER)
SERVER = "crewyard"


def server(paths: Paths, token: str) -> dict[str, Any]:
    """What any MCP client takes for one server: the daemon where one runs, else one of the agent's own."""
    served = daemon.running(paths)
    if served is not None:
        headers = {"Authorization": f"Bearer {token}"}
        return {"type": "http", "url": served.agents_url, "headers": headers}
    return own_server(paths, token)


def own_server(paths: Paths, token: str) -> dict[str, Any]:
    """The same for one that the agent starts for itself."""
    command = [sys.executable, "-P", "-m", "crewyard.server.entry", "serve", "--repo", str(paths.root)]
    variables = environment.of_agent(paths.root, token)
    return {"command": command[0], "args": command[1:], "env": variables}


def lay_down(run_dir: Path, name: str, data: bytes) -> None:
    """Write a file of the run folder, for its owner only."""
    with os.fdopen(os.open(run_dir / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


def lay_down_start(run_dir: Path, launch: Launch, start: Start) -> None:
    """All that a program finds in its run folder when it starts."""
    lay_down(run_dir, launch.prompt_file.name, launch.prompt.encode(errors="surrogateescape"))
    lay_down(run_dir, MCP_CONFIG, json.dumps({"mcpServers": {SERVER: launch.server}}, indent=2).encode())
    if start.config is not None:
        lay_down(run_dir, PROGRAM_CONFIG, start.config)
    for folder in start.folders:
        folder.mkdir(parents=True, exist_ok=True)
    for name, what in start.files.items():
        path = run_dir / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if isinstance(what, bytes):
            lay_down(run_dir, name, what)
        else:
            path.unlink(missing_ok=True)
            path.symlink_to(what)


def variables(
    agent: Agent, kind: Kind, launch: Launch, start: Start, *, identity: Mapping[str, str], root: Path, token: str
) -> dict[str, str]:
    """The whole environment that a program starts in; ``identity`` is for its commits."""
    return {
        **environment.for_child((*agent.environment, *kind.variables)),
        **identity,
        **launch.variables,
        **environment.of_agent(root, token),
        **start.environment,
    }


def remove(run_dir: Path) -> None:
    """Take every file with the token away, before the agent's end is recorded. May be done again."""
    for name in SECRET:
        path = run_dir / name
        if path.is_dir() and not path.is_symlink():  # an agent may have made it; its end is recorded all the same
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def left(paths: Paths) -> set[Path]:
    """Run folders in which there are such files."""
    return {file.parent for name in SECRET for file in paths.runs.glob(f"*/{name}")}
