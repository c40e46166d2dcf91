"""The commands for a person at a terminal, on real terminals: what is shown, and that the terminal is given back."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CREWYARD = [sys.executable, "-m", "crewyard.server.entry"]
ALTERNATE, BACK = b"\x1b[?1049h", b"\x1b[?1049l"


@dataclass
class Terminal:
    """A program on a terminal of its own, of which it is the foreground."""

    process: "subprocess.Popen[bytes]"
    ours: int
    settings: list[Any]
    shown: bytes = b""

    def until(self, text: bytes, seconds: float = 20.0) -> None:
        """Read until it shows ``text`` anew."""
        begin, deadline = len(self.shown), time.monotonic() + seconds
        while text not in self.shown[begin:]:
            assert select.select([self.ours], [], [], max(0.0, deadline - time.monotonic()))[0], self.shown[-3000:]
            self.shown += os.read(self.ours, 65536)

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> int:
        with contextlib.suppress(OSError):  # the program has closed its side
            while more := os.read(self.ours, 65536):
                self.shown += more
        return self.process.wait(20)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_one(*arguments: str, rows: int = 24, columns: int = 80, controls: bool = True) -> Terminal:
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        settings = termios.tcgetattr(ours)
        program = (
            f"import fcntl, os, sys, termios; {controls} and fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            f"os.execv({sys.executable!r}, {CREWYARD + list(arguments)!r})"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**{key: os.environ[key] for key in os.environ if key not in ("COLUMNS", "LINES")}, "TERM": "xterm"},
        )
        os.close(theirs)
        opened.append(Terminal(process, ours, settings))
        return opened[-1]

    yield open_one
    for each in opened:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()
        os.close(each.ours)


def crewyard(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*CREWYARD, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


# ------------------------------------------------------------------------------------------------------ top


@pytest.mark.parametrize(("quits", "code"), [(b"q", 0), (b"Q", 0), (b"\x03", 0), (b"\x04", 0)])
def test_top_shows_the_yard_and_gives_the_terminal_back(
    yard: Any, terminal: Callable[..., Terminal], quits: bytes, code: int
) -> None:
    running = yard.start(yard.gated_plan())
    running.until("started")
    top = terminal("top", "--repo", str(yard.repo))
    top.until(b"Open tasks (2)")
    assert b"Agents (1)" in top.shown
    top.type(quits)

    assert top.end() == code
    assert top.shown.count(ALTERNATE) == top.shown.count(BACK) == 1
    assert b"Traceback" not in top.shown
    assert b"\x1b[?25h" in top.shown[top.shown.rindex(b"\x1b[?25l") :], "the cursor is shown again"
    assert termios.tcgetattr(top.ours) == top.settings
    yard.open_gate()
    assert running.finish().code == 0


def test_top_is_ended_by_a_signal_with_the_terminal_given_back(yard: Any, terminal: Callable[..., Terminal]) -> None:
    yard.run(yard.plan({"task_id": "A"}))
    top = terminal("top", "--repo", str(yard.repo))
    top.until(b"1 completed")
    top.process.send_signal(signal.SIGTERM)

    assert top.end() == 128 + signal.SIGTERM
    assert top.shown.count(BACK) == 1
    assert termios.tcgetattr(top.ours) == top.settings


def test_top_is_shown_on_a_terminal_that_does_not_control_it(yard: Any, terminal: Callable[..., Terminal]) -> None:
    yard.run(yard.plan({"task_id": "A"}))
    top = terminal("top", "--repo", str(yard.repo), controls=False)
    top.until(b"1 completed")
    top.process.send_signal(signal.SIGINT)

    assert (top.end(), b"Traceback" in top.shown) == (0, False)


def test_top_waits_for_a_yard_that_is_not_there_yet_and_shows_it_then(
    yard: Any, terminal: Callable[..., Terminal]
) -> None:
    top = terminal("top", "--repo", str(yard.repo), columns=250)
    top.until(b"has no database")
    yard.run(yard.plan({"task_id": "A"}))
    top.until(b"1 completed")
    top.type(b"q")

    assert top.end() == 0


def test_top_fills_a_window_that_is_made_larger_at_once(yard: Any, terminal: Callable[..., Terminal]) -> None:
    yard.run(yard.plan(*({"task_id": f"T{n:02}"} for n in range(2))))
    crewyard("plan", "import", str(yard.plan(*({"task_id": f"U{n:02}"} for n in range(30)))), "--repo", str(yard.repo))
    top = terminal("top", "--repo", str(yard.repo))
    top.until(b"more")
    assert b"U29" not in top.shown
    top.resize(60, 150)
    top.until(b"U29")
    top.type(b"q")

    assert top.end() == 0


def test_top_goes_on_while_the_database_is_held_and_after_it_was_taken_away(
    yard: Any, terminal: Callable[..., Terminal]
) -> None:
    yard.run(yard.plan({"task_id": "A"}))
    top = terminal("top", "--repo", str(yard.repo), columns=250)
    top.until(b"1 completed")
    database = yard.repo / "data" / "orchestrator.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        top.until(b"1 completed")
        holder.execute("ROLLBACK")
    for name in ("orchestrator.db", "orchestrator.db-wal", "orchestrator.db-shm"):
        (database.parent / name).unlink(missing_ok=True)
    top.until(b"has no database")
    top.type(b"q")

    assert top.end() == 0


def test_without_a_terminal_top_names_what_is_for_scripts(yard: Any) -> None:
    yard.run(yard.plan({"task_id": "A"}))

    assert "status --json" in crewyard("top", "--repo", str(yard.repo), code=2).stderr


# ----------------------------------------------------------------------------------------------------- logs


def test_r306_a_task_is_followed_from_one_agent_to_the_next_until_it_has_ended(yard: Any) -> None:
    program = yard.folder / "twice.sh"
    program.write_text(
        'echo "attempt $CREWYARD_ATTEMPT begins"\n'
        f"while [ ! -e '{yard.folder}/gate' ]; do sleep 0.02; done\n"
        '[ "$CREWYARD_ATTEMPT" = 1 ] && exit 3\n'
        'for n in 1 2 3; do echo "line $n"; done; echo x > $CREWYARD_TASK_ID.txt\n'
    )
    yard.configure(f'[agents.waiter]\ncommand = ["sh", "{program}"]\n')
    running = yard.start(yard.plan({"task_id": "A", "agent_type": "waiter"}))
    running.until("started")
    command = [*CREWYARD, "logs", "A", "-f", "--repo", str(yard.repo)]
    following = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert following.stdout is not None
    assert following.stdout.readline() == "attempt 1 begins\n"
    yard.open_gate()
    out, err = following.communicate(timeout=60)

    assert (following.returncode, out) == (0, "attempt 2 begins\nline 1\nline 2\nline 3\n")
    assert "Task A goes on with waiter-" in err
    assert "attempt 2" in err
    assert running.finish().code == 0
    agents = [row[0] for row in yard.rows("SELECT agent_id FROM agent_lifecycle ORDER BY rowid")]
    assert crewyard("logs", agents[0], "-f", "--repo", str(yard.repo)).stdout == "attempt 1 begins\n"
    assert crewyard("logs", "A", "-n", "2", "--repo", str(yard.repo)).stdout == "line 2\nline 3\n"
    assert crewyard("logs", "A", "-n", "0", "--repo", str(yard.repo)).stdout == ""
    assert "no agent or task" in crewyard("logs", "nobody", "--repo", str(yard.repo), code=2).stderr


def test_a_task_without_an_agent_is_waited_for_and_ctrl_c_ends_it_cleanly(yard: Any) -> None:
    crewyard("plan", "import", str(yard.plan({"task_id": "A"})), "--repo", str(yard.repo))
    command = [*CREWYARD, "logs", "A", "-f", "--repo", str(yard.repo)]
    following = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert following.stderr is not None
    assert "has no agent yet" in following.stderr.readline()
    following.send_signal(signal.SIGINT)

    assert following.communicate(timeout=20) == ("", "")
    assert following.returncode == 0
    assert "Nothing has been written" in crewyard("logs", "A", "--repo", str(yard.repo)).stderr


def test_a_reader_that_has_seen_enough_is_no_error(yard: Any) -> None:
    program = yard.folder / "much.sh"
    program.write_text("yes 'a line that is long enough' | head -50000; echo x > x.txt\n")
    yard.configure(f'[agents.talker]\ncommand = ["sh", "{program}"]\n')
    yard.run(yard.plan({"task_id": "A", "agent_type": "talker"}))
    command = f"{' '.join(CREWYARD)} logs A --repo '{yard.repo}' | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "a line that is long enough\n", "")


# ------------------------------------------------------------------------------------------- why, doctor


def test_why_says_so_and_ends_with_one_where_nothing_has_that_id(yard: Any) -> None:
    crewyard("plan", "import", str(yard.plan({"task_id": "A"})), "--repo", str(yard.repo))
    told = json.loads(crewyard("why", "A", "--json", "--repo", str(yard.repo)).stdout)

    assert (told["subject"], told["subject_type"]) == ("A", "task")
    assert told["because"] in crewyard("why", "A", "--repo", str(yard.repo)).stdout
    assert "nothing" in crewyard("why", "B", "--repo", str(yard.repo), code=1).stderr.lower()


def test_doctor_names_what_a_killed_run_left_and_the_cure_and_ends_with_one_for_a_problem(yard: Any) -> None:
    running = yard.start(yard.gated_plan())
    running.until("started")
    running.process.kill()
    running.process.wait()
    [agent] = yard.rows("SELECT * FROM agent_lifecycle")
    os.kill(agent["runner_pid"], signal.SIGKILL)
    (Path(agent["run_dir"]) / "mcp.json").touch(mode=0o600)

    told = json.loads(crewyard("doctor", "--json", "--repo", str(yard.repo)).stdout)
    found = {each["check"]: each for each in told["checks"] if each["state"] != "ok"}
    assert told["status"] == "warning"
    assert agent["agent_id"] in found["processes"]["what"]
    assert "crewyard start" in found["processes"]["cure"]

    (yard.repo / "crewyard.toml").write_text("[crew\n")
    said = crewyard("doctor", "--repo", str(yard.repo), code=1).stdout
    assert "problem  configuration: " in said


@pytest.mark.parametrize("words", [["status"], ["doctor"], ["why", "A"], ["top"]])
def test_an_agent_of_the_crew_may_look(yard: Any, words: list[str]) -> None:
    yard.run(yard.plan({"task_id": "A"}))
    environment = {**os.environ, "CREWYARD_AGENT_TOKEN": "x", "CREWYARD_REPOSITORY": str(yard.repo)}
    command = [*CREWYARD, *words, "--repo", str(yard.repo)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    logs = subprocess.run(
        [*CREWYARD, "logs", "A", "--repo", str(yard.repo)], capture_output=True, text=True, env=environment, check=False
    )

    assert done.returncode == (2 if words == ["top"] else 0), "top has no terminal here"
    assert "An agent of the crew" not in done.stderr
    assert "An agent of the crew cannot call" in logs.stderr
