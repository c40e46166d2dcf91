"""A yard as a user has it: a real repository, the real command, real agents; looked at from outside."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CREWYARD = [sys.executable, "-m", "crewyard.server.cli"]
FAST = "[crew]\nrestart_backoff_seconds = 0.05\n"


@dataclass
class Running:
    """A ``crewyard run`` at work. ``until`` follows its plain progress lines on standard error."""

    process: "subprocess.Popen[str]"
    heard: list[str] = field(default_factory=list)

    def until(self, text: str) -> str:
        """The first line from here on that holds ``text``; fails where the run ends without it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.heard.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} was not said:\n{''.join(self.heard)}")

    def interrupt(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def finish(self) -> "Outcome":
        out, err = self.process.communicate(timeout=60)
        self.heard.append(err)
        return Outcome(self.process.returncode, out, "".join(self.heard))


@dataclass
class Outcome:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.out)
        return loaded

    def task(self, task_id: str) -> dict[str, Any]:
        return next(task for task in self.result["tasks"] if task["task_id"] == task_id)


@dataclass
class Yard:
    """One repository with a configuration and plans."""

    repo: Path
    folder: Path
    git: Callable[..., str]
    started: list[Running] = field(default_factory=list)

    def configure(self, text: str) -> None:
        (self.repo / "crewyard.toml").write_text(FAST + text)

    def gated_plan(self) -> Path:
        """A before B; A's agent goes on when ``open_gate`` was called."""
        program = self.folder / "wait.sh"
        program.write_text(
            f"while [ ! -e '{self.folder}/gate' ]; do sleep 0.02; done; echo x > $CREWYARD_TASK_ID.txt\n"
        )
        self.configure(f'[agents.waiter]\ncommand = ["sh", "{program}"]\n')
        return self.plan(
            {"task_id": "A", "agent_type": "waiter"}, {"task_id": "B", "agent_type": "waiter", "depends_on": ["A"]}
        )

    def open_gate(self) -> None:
        (self.folder / "gate").touch()

    def plan(self, *tasks: dict[str, Any], name: str = "plan.json") -> Path:
        path = self.folder / name
        rows = [{"agent_type": "scripted", "title": task["task_id"], **task} for task in tasks]
        path.write_text(json.dumps({"tasks": rows}))
        return path

    def start(self, plan: Path, *options: str, by: Sequence[str] = CREWYARD) -> Running:
        command = [*by, "run", str(plan), "--repo", str(self.repo), "--json", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(Running(process))
        return self.started[-1]

    def run(self, plan: Path, *options: str) -> Outcome:
        return self.start(plan, *options).finish()

    def rows(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        connection = sqlite3.connect(self.repo / "data" / "orchestrator.db", timeout=5)
        connection.row_factory = sqlite3.Row
        with contextlib.closing(connection):
            return connection.execute(sql, parameters).fetchall()

    def holds(self, sql: str, *parameters: Any) -> bool:
        """Whether such a row is there; looked for without making a database where there is none yet."""
        try:
            connection = sqlite3.connect(f"file:{self.repo / 'data' / 'orchestrator.db'}?mode=ro", uri=True, timeout=5)
            with contextlib.closing(connection):
                return connection.execute(sql, parameters).fetchone() is not None
        except sqlite3.OperationalError:
            return False

    def at_roadmap(self, name: str) -> str:
        return self.git(self.repo, "show", f"roadmap:{name}")

    def refs(self) -> list[str]:
        return self.git(self.repo, "for-each-ref", "--format=%(refname)").splitlines()

    def worktrees(self) -> int:
        return self.git(self.repo, "worktree", "list").count("\n") + 1

    def processes(self) -> list[int]:
        """Every process that was started for this repository, by what stands in its environment or its arguments."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        mark = str(self.repo).encode()
        try:
            seen = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return b"CREWYARD_WORKTREE=" + mark in seen or mark + b"/data/crewyard/agents" in seen


def script(*steps: str) -> str:
    """A task's description that the built-in agent follows."""
    return "```crew-script\n" + "\n".join(steps) + "\n```"


def wait_until(question: Callable[[], Any], seconds: float = 30.0) -> float:
    """Ask until the answer is true, at most that long; returns how long it took."""
    began = time.monotonic()
    while not question():
        assert time.monotonic() < began + seconds, f"still not so after {seconds:g} s"
        time.sleep(0.002)
    return time.monotonic() - began


@pytest.fixture(scope="session", name="wait_until")
def wait_until_fixture() -> Callable[..., float]:
    return wait_until


@pytest.fixture(scope="session", name="script")
def script_fixture() -> Callable[..., str]:
    return script


@pytest.fixture
def yard(git_repo: Path, tmp_path: Path, git: Callable[..., str]) -> Iterator[Yard]:
    made = Yard(git_repo, tmp_path, git)
    made.configure("")
    yield made
    for running in made.started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()
    for pid in made.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
