"""The daemon as a user has it: started, asked, worked with, stopped, killed; every process of it is real."""

import contextlib
import json
import os
import pty
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from crewyard.server import assignments, clock, holds, kinds, launcher, lease, process, settings, tasks
from crewyard.server.crew import Crew
from crewyard.server.process import Identity
from crewyard.server.repository import Repository
from crewyard.server.store import Store, Transaction

CREWYARD = [sys.executable, "-m", "crewyard.server.cli"]
TASKS = [{"task_id": "A"}]
# Ignores SIGTERM, and so does what it hides: a process of another session whose parent is gone.
STUBBORN = """\
trap '' TERM
echo half > half.txt
(setsid sh -c 'trap "" TERM; echo $$ > "$1"; exec sleep 600' x "$1" &)
while :; do sleep 600; done
"""


@dataclass
class Told:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.out)
        return loaded


@dataclass
class Yard:
    """A repository whose daemon is started and stopped by the real command."""

    repo: Path
    folder: Path
    others: list["subprocess.Popen[Any]"] = field(default_factory=list)

    def crewyard(self, *arguments: str, **environment: str) -> Told:
        command = [*CREWYARD, *arguments, "--repo", str(self.repo)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=90, check=False, env={**os.environ, **environment}
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Told(done.returncode, done.stdout, done.stderr)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        command = [*CREWYARD, *arguments, "--repo", str(self.repo)]
        self.others.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return self.others[-1]

    def start(self, *options: str) -> dict[str, Any]:
        told = self.crewyard("start", "--json", *options)
        assert told.code == 0, told.err
        return told.json

    def stop(self, *options: str) -> dict[str, Any]:
        told = self.crewyard("stop", "--json", *options)
        assert told.code == 0, told
        return told.json

    def status(self) -> dict[str, Any]:
        return self.crewyard("status", "--json").json

    def configure(self, crew: str = "", grace: int = 1, **agents: list[str]) -> None:
        types = "".join(f"[agents.{name}]\ncommand = {json.dumps(command)}\n" for name, command in agents.items())
        (self.repo / "crewyard.toml").write_text(f"[crew]\ngrace_period_seconds = {grace}\n{crew}\n{types}")

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool of the daemon over HTTP."""
        daemon = json.loads((self.repo / "data/crewyard/daemon.json").read_text())
        token = Path(daemon["token_in"]).read_text().strip()

        async def ask() -> dict[str, Any]:
            async with (
                httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as http,
                Client(streamable_http_client(daemon["url"], http_client=http)) as client,
            ):
                result = await client.call_tool(tool, arguments)
                return result.structured_content or {}

        return anyio.run(ask)

    def spawn(self, agent_type: str, task_id: str = "A") -> tuple[Identity, Identity]:
        """An agent at work on a new task, and its runner."""
        self.call("plan", action="add", tasks=[{"task_id": task_id, "agent_type": agent_type}])
        begun = self.call("agents", action="spawn", task_id=task_id)
        assert begun["status"] == "success", begun
        return self.agent(begun["agent_id"])

    def agent(self, agent_id: str) -> tuple[Identity, Identity]:
        [row] = self.rows("SELECT * FROM agent_lifecycle WHERE agent_id = ?", agent_id)
        return (
            Identity(row["pid"], row["pid_start_time"], row["boot_id"]),
            Identity(row["runner_pid"], row["runner_start_time"], row["boot_id"]),
        )

    def rows(self, sql: str, *parameters: Any) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.repo / "data/orchestrator.db", timeout=5)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, parameters).fetchall()

    def processes(self) -> list[int]:
        """Every process that was started for this repository, by its arguments or its environment."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            seen = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return pid != os.getpid() and str(self.repo).encode() in seen


@pytest.fixture
def yard(git_repo: Path, tmp_path: Path) -> Iterator[Yard]:
    made = Yard(git_repo, tmp_path)
    yield made
    for other in made.others:
        other.kill()
        other.communicate()
    for pid in made.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Word:
    """A pipe in which an agent says one line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR)

    def heard(self, seconds: float = 20) -> str:
        assert select.select([self._descriptor], [], [], seconds)[0], "nothing was said"
        said = os.read(self._descriptor, 1000).decode()
        os.close(self._descriptor)
        return said


def identity(daemon: dict[str, Any]) -> Identity:
    return Identity(daemon["pid"], daemon["start_time"], daemon["boot_id"])


def until(found: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --------------------------------------------------------------------------------------------------- start


def test_a_plan_is_worked_off_by_the_daemon_alone(yard: Yard, git: Callable[..., str]) -> None:
    yard.configure(builder=["sh", "-c", "echo $CREWYARD_TASK_ID > $CREWYARD_TASK_ID.txt"])
    plan = yard.folder / "plan.json"
    plan.write_text(json.dumps({"tasks": [{"task_id": "A"}, {"task_id": "B", "depends_on": ["A"]}]}))
    assert yard.crewyard("plan", "import", str(plan)).code == 0
    begun = yard.start()
    assert begun["status"] == "started"
    assert yard.call("assign")["status"] == "success"
    until(lambda: [row["status"] for row in yard.rows("SELECT status FROM dispatch")] == ["completed"])
    assert git(yard.repo, "show", "roadmap:B.txt") == "B"
    assert yard.rows("SELECT pid FROM supervisor_lease")[0]["pid"] == begun["pid"]
    seen = yard.status()
    assert (seen["daemon"]["pid"], seen["daemon"]["url"]) == (begun["pid"], begun["url"])
    assert seen["tasks"]["completed"] == 2
    done = yard.stop()
    assert (done["status"], done["daemon"]["ended_by"]) == ("stopped", "SIGTERM")
    assert yard.processes() == []


def test_what_it_writes_is_for_its_owner_and_says_how_to_go_on(yard: Yard) -> None:
    told = yard.crewyard("start")
    folder = yard.repo / "data/crewyard"
    token = (folder / "http-token").read_text().strip()
    modes = {name: oct((folder / name).stat().st_mode & 0o777) for name in ("daemon.json", "daemon.log", "http-token")}
    assert set(modes.values()) == {"0o600"}
    assert "crewyard stop" in told.out
    assert str(folder / "http-token") in told.out
    assert token not in told.out + told.err + (folder / "daemon.log").read_text() + (folder / "daemon.json").read_text()
    pid = json.loads((folder / "daemon.json").read_text())["pid"]
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")


def test_a_second_start_finds_the_daemon_running(yard: Yard) -> None:
    first, second = yard.start(), yard.start()
    assert second["status"] == "already_running"
    assert (second["pid"], second["url"]) == (first["pid"], first["url"])
    assert len(yard.processes()) == 1


def test_many_starts_at_once_make_one_daemon(yard: Yard) -> None:
    begun = [yard.begin("start", "--json") for _ in range(4)]
    told = [json.loads(each.communicate(timeout=90)[0]) for each in begun]
    assert sorted(each["status"] for each in told) == ["already_running"] * 3 + ["started"]
    assert len({each["pid"] for each in told}) == 1
    assert yard.processes() == [told[0]["pid"]]


def test_a_server_that_would_be_a_second_daemon_is_refused_by_the_lock(yard: Yard) -> None:
    begun = yard.start()
    (yard.repo / "data/crewyard/daemon.json").unlink()
    told = yard.crewyard("start")
    assert (told.code, "daemon.lock" in told.err) == (2, True)
    assert yard.processes() == [begun["pid"]]


def test_a_port_that_is_taken_is_the_daemons_own_error_and_nothing_is_left(yard: Yard) -> None:
    yard.start()
    yard.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = yard.crewyard("start", "--http", f"127.0.0.1:{port}")
    assert told.code == 2
    assert f"Nothing can be served at 127.0.0.1:{port}" in told.err
    assert yard.processes() == []
    assert not (yard.repo / "data/crewyard/daemon.json").exists()
    assert [hold["reason"] for hold in yard.status()["holds"]] == ["stopped"], "a start that failed lifts nothing"


@pytest.mark.parametrize(
    ("text", "options", "named"),
    [
        ("[crew]\nmax_paralel = 3\n", (), "max_parallel"),
        ("", ("--agents", "builder,nobody"), "nobody"),
        ("", ("--agents", " , "), "no agent type is named"),
        ("", ("--http", "nowhere"), "HOST:PORT"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_made(
    yard: Yard, text: str, options: tuple[str, ...], named: str
) -> None:
    (yard.repo / "crewyard.toml").write_text(text + '[agents.builder]\ncommand = ["true"]\n')
    told = yard.crewyard("start", *options)
    assert (told.code, named in told.err) == (2, True)
    assert not (yard.repo / "data").exists()


def test_an_agent_of_the_crew_can_neither_start_nor_stop_the_daemon(yard: Yard) -> None:
    for command in ("start", "stop"):
        told = yard.crewyard(command, CREWYARD_AGENT_TOKEN="its-own")
        assert (told.code, "cannot" in told.err) == (2, True)
    assert yard.processes() == []


def test_a_record_of_a_pid_that_is_another_process_now_is_taken_over_and_nobody_signalled(yard: Yard) -> None:
    bystander = subprocess.Popen(["sleep", "600"])
    yard.others.append(bystander)
    who = process.identify(bystander.pid)
    assert who is not None
    folder = yard.repo / "data/crewyard"
    yard.start()
    yard.stop()
    for wrong in ({"start_time": "1"}, {"boot_id": "another"}):
        facts = {"start_time": who.start_time, "boot_id": who.boot_id, **wrong}
        record = {"pid": who.pid, "url": "http://127.0.0.1:9/mcp", "token_in": "x", "started_at": "x", **facts}
        (folder / "daemon.json").write_text(json.dumps(record))
        assert yard.status()["daemon"] is None
        assert yard.stop()["status"] == "nothing_to_stop"
        assert process.is_alive(who)
    (folder / "daemon.json").write_text(json.dumps(record))
    begun = yard.start()
    assert (begun["status"], begun["pid"] != who.pid) == ("started", True)
    assert yard.stop()["daemon"]["pid"] == begun["pid"]
    assert process.is_alive(who)


def test_with_json_a_refusal_is_an_object_too(yard: Yard) -> None:
    told = yard.crewyard("start", "--json", "--agents", "nobody")
    assert (told.code, told.json["status"], told.json["error"]["code"]) == (2, "refused", "invalid_input")


def test_a_run_has_the_agents_that_its_plan_needs_although_the_daemon_left_them_out(yard: Yard) -> None:
    """Nobody but a person would ever let them in again, and a run waits for no person."""
    yard.configure(one=["true"], two=["sh", "-c", "echo x > two.txt"])
    yard.start("--agents", "one")
    plan = yard.folder / "plan.json"
    plan.write_text(json.dumps({"tasks": [{"task_id": "B", "title": "B", "agent_type": "two"}]}))
    run = yard.begin("run", str(plan))
    _, heard = run.communicate(timeout=60)
    assert run.returncode == 0, heard
    assert "had left out are started for this plan: two" in heard


def test_a_run_that_is_stopped_from_elsewhere_ends_and_goes_on_later(yard: Yard) -> None:
    gate = yard.folder / "gate"
    wait = f"while [ ! -e '{gate}' ]; do sleep 0.05; done; echo x > a.txt"
    yard.configure(one=["sh", "-c", wait])
    plan = yard.folder / "plan.json"
    plan.write_text(json.dumps({"tasks": [{"task_id": "B", "title": "B", "agent_type": "one"}]}))
    run = yard.begin("run", str(plan))
    assert run.stderr is not None
    assert next(line for line in run.stderr if "B: one" in line)
    yard.stop()
    _, heard = run.communicate(timeout=60)
    assert (run.returncode, "Stopped by `crewyard stop`" in heard) == (130, True), heard
    gate.touch()
    again = yard.begin("run", str(plan))
    again.communicate(timeout=60)
    assert again.returncode == 0


def test_only_the_named_types_are_launched_until_a_start_without_names(yard: Yard) -> None:
    yard.configure(one=["sh", "-c", "echo x > one.txt"], two=["sh", "-c", "echo x > two.txt"])
    begun = yard.start("--agents", "one")
    programs = sorted(kinds.programs())  # a task may name one of them without any configuration
    assert sorted(hold["scope"] for hold in begun["holds"]) == sorted([*programs, "scripted", "two"])
    tasks = [{"task_id": "A", "agent_type": "one"}, {"task_id": "B", "agent_type": "two"}]
    yard.call("plan", action="add", tasks=tasks)
    yard.call("assign")
    until(lambda: yard.status()["tasks"].get("completed") == 1)
    assert "left it out" in yard.call("why", subject="B")["because"]
    assert yard.call("agents", action="spawn", task_id="B")["code"] == "resource_exhaustion"
    assert yard.rows("SELECT DISTINCT agent_type FROM agent_lifecycle")[0]["agent_type"] == "one"
    assert yard.start("--agents", ",".join(["two", "one", "scripted", *programs]))["holds"] == []
    until(lambda: yard.status()["tasks"].get("completed") == 2)
    assert yard.start("--agents", "one")["holds"]
    assert yard.start()["holds"] == []


# ---------------------------------------------------------------------------------------------------- stop


def test_stop_ends_agents_that_ignore_sigterm_with_all_they_hide_and_keeps_their_work(
    yard: Yard, git: Callable[..., str]
) -> None:
    word = Word(yard.folder / "word")
    yard.configure(stubborn=["sh", "-c", STUBBORN, "x", str(word.path)])
    begun = yard.start()
    agent, runner = yard.spawn("stubborn")
    hidden = process.identify(int(word.heard()))
    assert hidden is not None
    done = yard.stop()
    [ended] = done["agents"]
    assert (ended["status"], ended["exit_signal"], ended["task_status"]) == ("killed", 9, "ready")
    assert (ended["has_commits"], ended["uncommitted"]) == (True, False)
    assert git(yard.repo, "show", f"{ended['branch']}:half.txt") == "half"
    assert not any(process.is_alive(who) for who in (agent, hidden, identity(begun)))
    assert process.wait_until_gone(runner, 10)
    assert yard.processes() == []
    assert [row["status"] for row in yard.rows("SELECT status FROM agent_lifecycle")] == ["killed"]
    assert done["duration_seconds"] >= 1, "its grace"


def test_stop_by_force_gives_no_grace(yard: Yard) -> None:
    word = Word(yard.folder / "word")
    yard.configure(grace=600, stubborn=["sh", "-c", STUBBORN, "x", str(word.path)])
    yard.start()
    agent, _ = yard.spawn("stubborn")
    word.heard()
    told = yard.crewyard("stop", "--force")
    assert told.code == 0
    assert "1 agent ended, 1 by SIGKILL" in told.out
    assert not process.is_alive(agent)


def test_an_impatient_second_stop_shortens_the_first(yard: Yard) -> None:
    word = Word(yard.folder / "word")
    yard.configure(grace=600, stubborn=["sh", "-c", STUBBORN, "x", str(word.path)])
    yard.start()
    yard.spawn("stubborn")
    word.heard()
    patient = yard.begin("stop", "--json")
    assert patient.stderr is not None
    assert "600 s of grace" in patient.stderr.readline()
    assert yard.stop("--force")["status"] == "stopped"
    assert json.loads(patient.communicate(timeout=30)[0])["status"] == "stopped"
    assert yard.processes() == []


def test_stop_without_anything_to_stop_says_so(yard: Yard) -> None:
    told = yard.crewyard("stop")
    assert (told.code, "nothing to stop" in told.out) == (0, True)
    assert not (yard.repo / "data").exists()
    yard.start()
    yard.stop()
    assert yard.stop()["status"] == "nothing_to_stop"


def test_stop_ends_the_agents_of_a_daemon_that_was_killed(yard: Yard) -> None:
    yard.configure(sleeper=["sleep", "600"])
    begun = yard.start()
    agent, runner = yard.spawn("sleeper")
    os.kill(begun["pid"], signal.SIGKILL)
    assert process.wait_until_gone(identity(begun), 10)
    assert process.is_alive(agent)
    done = yard.stop()
    assert (done["daemon"], [each["status"] for each in done["agents"]]) == (None, ["killed"])
    assert not done["agents"][0]["has_commits"]
    assert not process.is_alive(agent)
    assert process.wait_until_gone(runner, 10)
    assert yard.processes() == []


def test_stop_works_although_the_configuration_was_broken_meanwhile(yard: Yard) -> None:
    yard.configure(sleeper=["sleep", "600"])
    yard.start()
    agent, _ = yard.spawn("sleeper")
    (yard.repo / "crewyard.toml").write_text("[crew\n")
    told = yard.crewyard("stop")
    assert (told.code, "default settings" in told.err) == (0, True)
    assert not process.is_alive(agent)
    assert yard.processes() == []


def test_stop_ends_a_daemon_that_hangs_and_its_agents(yard: Yard) -> None:
    yard.configure(sleeper=["sleep", "600"])
    begun = yard.start()
    agent, _ = yard.spawn("sleeper")
    os.kill(begun["pid"], signal.SIGSTOP)
    done = yard.stop()
    assert done["daemon"]["ended_by"] == "SIGKILL"
    assert [each["status"] for each in done["agents"]] == ["killed"]
    assert not process.is_alive(agent)
    assert yard.processes() == []


def test_after_a_stop_no_server_launches_anything_until_somebody_wants_work(yard: Yard) -> None:
    yard.configure(builder=["sh", "-c", "test -e ../../gate || exit 1; echo x > x.txt"])
    yard.start()
    server = yard.begin("serve", "--http", "127.0.0.1:0")
    assert server.stderr is not None
    assert "ready at" in server.stderr.readline()
    yard.call("plan", action="add", tasks=TASKS)
    yard.call("assign")
    until(lambda: bool(yard.rows("SELECT 1 FROM agent_restart_log")))
    done = yard.stop()
    assert [other["pid"] for other in done["others"]] == [server.pid]
    launched = len(yard.rows("SELECT 1 FROM agent_lifecycle"))
    due = yard.rows("SELECT due_at FROM agent_restart_log ORDER BY restart_id DESC LIMIT 1")[0]["due_at"]
    until(lambda: yard.rows("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 seconds') AS at")[0]["at"] > due)
    assert len(yard.rows("SELECT 1 FROM agent_lifecycle")) == launched
    (yard.repo / "gate").touch()
    yard.start()
    until(lambda: yard.status()["tasks"].get("completed") == 1)


def test_a_launch_that_was_chosen_before_the_stop_is_not_made_after_it(yard: Yard) -> None:
    yard.configure(sleeper=["sleep", "600"])
    repository = Repository.discover(yard.repo)
    configured = settings.load(yard.repo)
    store = Store(Crew.database(repository, configured))
    crew = Crew.of(repository, configured, store)
    me, now = process.myself(), clock.now()
    holder = lease.Holder("test", me.pid, me.start_time, me.boot_id)
    crew.term = store.run(lease.acquire, holder, now=now, uptime=clock.uptime()) or 0

    def choose_and_stop(tx: Transaction) -> str:
        tx.run(
            "INSERT INTO specs_task (task_id, title, status, created_at, updated_at) VALUES ('A', 'A', 'ready', ?, ?)",
            (now, now),
        )
        chosen = assignments.create(
            tx, tasks.get(tx, "A"), agent_type="sleeper", dispatch_id=None, now=now, actor="test"
        )
        holds.stop(tx, now=now, actor="test")
        assignment_id: str = chosen["orchestrator_task_id"]
        return assignment_id

    launcher.launch(crew, store.run(choose_and_stop))
    assert yard.rows("SELECT * FROM agent_lifecycle") == []
    assert [row["status"] for row in yard.rows("SELECT status FROM orchestrator_task")] == ["assigned"]
    crew.runners.close()
    store.close()


# -------------------------------------------------------------------------------------------- how it ends else


@pytest.mark.parametrize("on_exit", ["detach", "stop"])
def test_a_daemon_that_the_system_ends_does_with_its_agents_as_configured(yard: Yard, on_exit: str) -> None:
    yard.configure(f'on_exit = "{on_exit}"', sleeper=["sleep", "600"])
    begun = yard.start()
    agent, runner = yard.spawn("sleeper")
    os.kill(begun["pid"], signal.SIGTERM)
    assert process.wait_until_gone(identity(begun), 10)
    assert not (yard.repo / "data/crewyard/daemon.json").exists()
    if on_exit == "stop":
        assert process.wait_until_gone(runner, 20)
    assert process.is_alive(agent) is (on_exit == "detach")


def test_a_daemon_that_was_killed_is_followed_by_one_that_keeps_its_agents(yard: Yard) -> None:
    yard.configure(sleeper=["sleep", "600"])
    first = yard.start()
    agent, _ = yard.spawn("sleeper")
    os.kill(first["pid"], signal.SIGKILL)
    assert process.wait_until_gone(identity(first), 10)
    assert yard.status()["daemon"] is None
    second = yard.start()
    assert (second["status"], second["pid"] != first["pid"]) == ("started", True)
    [seen] = yard.call("agents")["agents"]
    assert (seen["pid"], seen["status"]) == (agent.pid, "running")
    assert process.is_alive(agent)
    assert yard.rows("SELECT pid FROM supervisor_lease")[0]["pid"] == second["pid"]


# -------------------------------------------------------------------------------------------------- status


def test_status_shows_what_agents_use_and_what_is_no_more(yard: Yard) -> None:
    yard.configure(busy=["sh", "-c", "while :; do :; done"], idle=["sleep", "600"])
    begun = yard.start()
    yard.spawn("busy", "A")
    _, runner = yard.spawn("idle", "B")
    seen = yard.status()
    busy, idle = seen["agents"]
    assert (seen["agents_running"], seen["agents_recorded"]) == (2, 2)
    assert busy["cpu_percent"] > 1 > idle["cpu_percent"]
    assert busy["memory_mb"] > 0
    assert seen["daemon"]["uptime_seconds"] >= 0
    assert seen["supervisor"]["is_held"]
    for who in (identity(begun), runner):
        process.send(who, signal.SIGKILL)
        assert process.wait_until_gone(who, 10)
    process.end_agent(
        Path(yard.rows("SELECT run_dir FROM agent_lifecycle WHERE task_id = 'B'")[0][0]) / "prompt.md", None
    )
    seen = yard.status()
    busy, idle = seen["agents"]
    assert (seen["daemon"], seen["supervisor"]["is_held"], seen["agents_running"]) == (None, False, 1)
    assert (busy["process_alive"], busy["note"]) == (True, "")
    assert (idle["process_alive"], idle["cpu_percent"]) == (False, None)
    assert "nobody supervises" in idle["note"]
    said = yard.crewyard("status").out
    assert "Agents, 1 running\n" in said
    assert "running?" in said
    assert "CPU -" in said


@pytest.mark.parametrize("as_json", [False, True])
def test_watching_ends_with_zero_and_without_a_word_on_ctrl_c(yard: Yard, as_json: bool) -> None:
    yard.start()
    watching = yard.begin("status", "--watch", *(["--json"] if as_json else []))
    assert watching.stdout is not None
    lines = (line for line in watching.stdout if as_json or line.startswith("Daemon"))
    said = [next(lines), next(lines)]
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert (watching.returncode, err) == (0, "")
    if as_json:
        first, second = (json.loads(line)["daemon"]["uptime_seconds"] for line in said)
        assert second - first > 0.5


def test_on_a_terminal_it_is_drawn_again_in_place(yard: Yard) -> None:
    yard.start()
    ours, theirs = pty.openpty()
    command = [*CREWYARD, "status", "--watch", "--repo", str(yard.repo)]
    watching = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    yard.others.append(watching)
    os.close(theirs)
    shown = b""
    while shown.count(b"Daemon") < 3:
        assert select.select([ours], [], [], 20)[0], shown
        shown += os.read(ours, 65536)
    watching.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the terminal's end
        while more := os.read(ours, 65536):
            shown += more
    os.close(ours)
    assert watching.wait(20) == 0
    assert shown.count(b"\x1b[?1049h") == shown.count(b"\x1b[?1049l") == 1, "the screen is given back"
    assert b"Aborted" not in shown


def test_r300_status_tells_what_it_can_although_the_configuration_is_broken(yard: Yard) -> None:
    yard.start()
    for broken, why in (("[crew\n", "cannot be read"), ("[crew]\nmax_paralel = 1\n", "max_parallel")):
        (yard.repo / "crewyard.toml").write_text(broken)
        told = yard.crewyard("status", "--json")

        assert (told.code, told.json["daemon"] is None) == (0, False)
        assert any(why in note for note in told.json["notes"])
        assert any("has changed since the daemon started" in note for note in told.json["notes"])
    yard.configure()
    assert yard.crewyard("status").out.startswith("Note          crewyard.toml has changed since the daemon started")


def test_status_looks_at_a_database_of_which_only_a_killed_server_is_left(yard: Yard) -> None:
    begun = yard.start()
    process.send(identity(begun), signal.SIGKILL)
    assert process.wait_until_gone(identity(begun), 10)

    seen = yard.status()
    assert (seen["daemon"], seen["supervisor"]["pid"], seen["supervisor"]["last_pid"]) == (None, None, begun["pid"])


def test_the_other_name_of_the_command_is_the_same_program(yard: Yard) -> None:
    program = Path(sys.executable).with_name("team-daemon")
    for command in ("start", "status", "stop"):
        done = subprocess.run(
            [program, command, "--repo", yard.repo], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
    assert yard.processes() == []
