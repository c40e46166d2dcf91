"""What a machine, a clock, a disk or an agent can do to a run: once each, with real processes (C-09, C-18)."""

import contextlib
import dataclasses
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import clock, lease, process, supervisor

Wait = Callable[..., float]


@pytest.fixture(autouse=True)
def whatever_else_the_machine_does(yard, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A busy machine holds launches; that has its own tests. What hid from a run that failed is ended in any case."""
    monkeypatch.setenv("CREWYARD_LAUNCH_MAX_CPU_PERCENT", "100")
    yield
    for who in still_there(yard, "agents", "hidden", "bomb"):
        process.send(who, signal.SIGKILL)


def program(yard, name: str, text: str) -> str:
    """A type of agent that is a Python program; each start of it stands in the file ``starts``. Returns its table."""
    path = yard.folder / f"{name}.py"
    head = (
        "import os, signal, sys, time\n"
        f"FOLDER = {str(yard.folder)!r}\n"
        "def note(name, text):\n"
        "    file = os.open(os.path.join(FOLDER, name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)\n"
        "    os.write(file, (str(text) + '\\n').encode())\n"
        "    os.close(file)\n"
        "def wait_for(name):\n"
        "    while not os.path.exists(os.path.join(FOLDER, name)): time.sleep(0.01)\n"
        "def work():\n"
        "    open(os.environ['CREWYARD_TASK_ID'] + '.txt', 'w').write('done')\n"
        "note('starts', os.environ['CREWYARD_TASK_ID'] + ' ' + os.environ['CREWYARD_ATTEMPT'])\n"
    )
    path.write_text(head + text)
    return f'[agents.{name}]\ncommand = ["{sys.executable}", "-I", "-S", "{path}"]\n'


def noted(yard, name: str) -> list[str]:
    path = yard.folder / name
    return path.read_text().splitlines() if path.exists() else []


def identities(yard, name: str) -> list[process.Identity]:
    """Processes that an agent put down as lines of pid and start time."""
    lines = [line.split() for line in noted(yard, name)]
    return [process.Identity(int(pid), began, process.boot_id()) for pid, began in lines]


# What an agent's program says to put down a process as ``identities`` reads it.
NOTE_ME = """
def note_me(name):
    stat = open(f'/proc/{os.getpid()}/stat').read()
    note(name, f"{os.getpid()} {stat[stat.rindex(')') + 2:].split()[19]}")
"""


def integrity(yard) -> list[str]:
    return [yard.rows("PRAGMA integrity_check")[0][0]]


def events(yard, kind: str) -> list[sqlite3.Row]:
    return yard.rows("SELECT * FROM event WHERE kind = ? ORDER BY event_id", kind)


def holder(yard) -> tuple[int, int]:
    """(term, pid) of whoever has the lease."""
    row = yard.rows("SELECT term, pid FROM supervisor_lease")
    return (row[0]["term"], row[0]["pid"]) if row else (0, 0)


# ------------------------------------------------------------------------------------------------- the lease


def test_a_holder_that_is_stopped_is_followed_and_does_nothing_when_it_wakes(yard, wait_until: Wait) -> None:
    """It is stopped during a merge's check, so that it has something to say about that merge when it wakes."""
    check = yard.folder / "check.sh"
    check.write_text(
        f"echo $$ >> {yard.folder}/checks\n"
        f"case $(wc -l < {yard.folder}/checks) in\n"
        f"1) exec sleep 600 ;;\n2) while [ ! -e {yard.folder}/gate ]; do sleep 0.02; done ;;\nesac\n"
    )
    worker = program(yard, "worker", "work()\n")
    yard.configure(f'[merge]\ncheck = ["sh", "{check}"]\n{worker}')
    plan = yard.plan(
        {"task_id": "A", "agent_type": "worker"}, {"task_id": "B", "agent_type": "worker", "depends_on": ["A"]}
    )
    first = yard.start(plan)
    wait_until(lambda: noted(yard, "checks"))
    second = yard.start(plan)
    second.until("Going on with dispatch")
    assert holder(yard) == (1, first.process.pid)
    first.process.send_signal(signal.SIGSTOP)
    took = wait_until(lambda: holder(yard)[0] > 1, lease.TTL_SECONDS + supervisor.STANDBY_SECONDS + 2.0)
    assert holder(yard) == (2, second.process.pid)
    assert took > lease.TTL_SECONDS - lease.RENEW_SECONDS - 1.0, "a holder that lives keeps what it has"
    wait_until(lambda: len(noted(yard, "checks")) == 2)
    first.process.send_signal(signal.SIGCONT)
    first.until("standing by")
    ended = int(noted(yard, "checks")[0])
    wait_until(lambda: not Path(f"/proc/{ended}").exists())  # the first one has heard how its check ended
    assert yard.rows("SELECT status FROM merge_request")[0]["status"] == "checking", "that is the second one's check"
    yard.open_gate()
    outcomes = [first.finish(), second.finish()]
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes[0].err + outcomes[1].err
    assert noted(yard, "starts") == ["A 1", "B 1"]
    assert [row["term"] for row in yard.rows("SELECT term FROM agent_lifecycle ORDER BY created_at")] == [1, 2]
    assert [row["status"] for row in yard.rows("SELECT status FROM merge_request")] == ["merged", "merged"]
    assert len(yard.git(yard.repo, "rev-list", "--first-parent", "main..roadmap").split()) == 2
    assert len(noted(yard, "checks")) == 3


def test_a_holder_that_is_killed_is_followed_within_two_seconds(yard, wait_until: Wait) -> None:
    plan = yard.gated_plan()
    runs = [yard.start(plan)]
    runs[0].until("A: waiter")
    for term in (2, 3):
        runs.append(yard.start(plan))
        runs[-1].until("Going on with dispatch")
        killed_at = clock.now()
        runs[-2].process.kill()
        wait_until(lambda term=term: holder(yard)[0] == term, 10)
        taken_at = events(yard, "lease_acquired")[-1]["at"]
        assert clock.seconds_between(killed_at, taken_at) < 2.0
    yard.open_gate()
    outcome = runs[-1].finish()
    assert outcome.code == 0, outcome.err
    assert [task["attempts"] for task in outcome.result["tasks"]] == [1, 1]


# -------------------------------------------------------------------------------------------------- the disk


@dataclass
class Disk:
    """A yard on a file system of a few MiB that only the processes it starts see at its place."""

    yard: Any
    enter: list[str]
    outside: Path  # where the test sees it

    def fill(self) -> None:
        with (self.outside / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        continue

        for journal in self.journals():  # its last page is its own already; there must be no room in it
            with journal.open("ab") as file:
                file.write(b"\n" * (-journal.stat().st_size % os.sysconf("SC_PAGE_SIZE")))

    def free(self) -> None:
        (self.outside / "filler").unlink()

    def journals(self) -> list[Path]:
        return list(self.outside.glob("repo/data/crewyard/agents/*/journal.jsonl"))


@pytest.fixture
def disk(yard, tmp_path: Path) -> Iterator[Disk]:
    """In a mount namespace of its own, so that it is gone with the process that keeps it."""
    path = tmp_path / "disk"
    path.mkdir()
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("a file system of a few MiB takes unshare and nsenter")
    root = os.geteuid() == 0
    steps = f"mount -t tmpfs -o size=24m tmpfs {shlex.quote(str(path))} && echo ready && exec sleep 600"
    command = ["unshare", "--mount", *([] if root else ["--user", "--map-root-user"]), "sh", "-c", steps]
    keeper = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert keeper.stdout is not None
    said = keeper.stdout.readline()
    if said != "ready\n":
        keeper.communicate()
        pytest.skip(f"no file system may be mounted here: {said.strip()}")
    enter = ["nsenter", f"--target={keeper.pid}", "--mount", *([] if root else ["--user", "--preserve-credentials"])]
    outside = Path(f"/proc/{keeper.pid}/root") / path.relative_to("/")
    there = dataclasses.replace(yard, repo=path / "repo")

    def git(folder: Path, *words: str) -> str:
        done = subprocess.run([*enter, "git", "-C", folder, *words], check=True, capture_output=True, text=True)
        return done.stdout.removesuffix("\n")

    try:
        shutil.copytree(yard.repo, outside / "repo")
        yield Disk(dataclasses.replace(there, git=git), enter, outside)
    finally:
        for pid in there.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        keeper.kill()
        keeper.communicate()


def test_a_full_disk_is_waited_out_and_nothing_is_lost_by_it(disk: Disk, yard, wait_until: Wait) -> None:
    """It is full when agents end: their runners cannot write that down, nothing can be committed or recorded."""
    worker = program(yard, "worker", NOTE_ME + "work(); note_me('worked'); wait_for('gate')\n")
    dataclasses.replace(yard, repo=disk.outside / "repo").configure(worker)
    plan = yard.plan(
        {"task_id": "A", "agent_type": "worker"},
        {"task_id": "B", "agent_type": "worker"},
        {"task_id": "C", "agent_type": "worker", "depends_on": ["A"]},
    )
    running = disk.yard.start(plan, by=[*disk.enter, sys.executable, "-m", "crewyard.server.cli"])
    wait_until(lambda: len(identities(yard, "worked")) == 2)
    disk.fill()
    yard.open_gate()
    for agent in identities(yard, "worked"):
        assert process.wait_until_gone(agent, 10)
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(5)  # nothing can go on, and nothing is given up
    assert [b'"ended"' in journal.read_bytes() for journal in disk.journals()] == [False, False]
    disk.free()
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert [task["status"] for task in outcome.result["tasks"]] == ["merged"] * 3
    assert sorted(noted(yard, "starts")) == ["A 1", "B 1", "C 1"]
    assert "full" in running.heard[-1] or "No space left" in running.heard[-1], "it was met"
    (yard.repo / "data").mkdir()
    for file in (disk.outside / "repo" / "data").glob("*.db*"):
        shutil.copy(file, yard.repo / "data")
    ends = yard.rows("SELECT status, exit_code FROM agent_lifecycle")
    assert [tuple(row) for row in ends] == [("completed", 0)] * 3
    assert integrity(yard) == ["ok"]
    assert disk.yard.git(disk.yard.repo, "fsck", "--no-dangling", "--no-progress") == ""
    assert disk.yard.refs() == ["refs/heads/main", "refs/heads/roadmap"]


# ------------------------------------------------------------------------------------------------- the clock

# `crewyard` with a clock that is off by what stands in a file.
OTHER_CLOCK = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from crewyard.server import clock
offset = Path(sys.argv.pop(1))
clock.now = lambda: clock.to_text(datetime.now(UTC) + timedelta(seconds=float(offset.read_text())))
from crewyard.server import cli
cli.main()
"""


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_jumps_ends_no_agent_and_delays_no_restart(yard, wait_until: Wait, hours: int) -> None:
    offset, driver = yard.folder / "offset", yard.folder / "driver.py"
    offset.write_text("0")
    driver.write_text(OTHER_CLOCK)
    waiter = program(yard, "waiter", "wait_for('gate'); work()\n")
    failing = program(yard, "failing", "work()\nsys.exit(os.environ['CREWYARD_ATTEMPT'] == '1')\n")
    (yard.repo / "crewyard.toml").write_text(f"[crew]\nrestart_backoff_seconds = 2.0\n{waiter}{failing}")
    plan = yard.plan(
        {"task_id": "A", "agent_type": "waiter"},
        {"task_id": "B", "agent_type": "waiter", "depends_on": ["A"]},
        {"task_id": "R", "agent_type": "failing"},
    )
    running = yard.start(plan, by=[sys.executable, str(driver), str(offset)])
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running' AND task_id = 'A'"))
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_restart_log"))
    offset.with_suffix(".new").write_text(str(hours * 3600))
    offset.with_suffix(".new").replace(offset)
    assert wait_until(lambda: "R 2" in noted(yard, "starts"), 15) < 10, "a restart is a delay, not a time of day"
    wait_until(lambda: yard.holds("SELECT 1 FROM merge_request WHERE task_id = 'R' AND status = 'merged'"), 15)
    yard.open_gate()
    wait_until(lambda: running.process.poll() is not None, 20)
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert sorted(noted(yard, "starts")) == ["A 1", "B 1", "R 1", "R 2"]
    assert events(yard, "agent_kill_requested") == []
    assert integrity(yard) == ["ok"]


# ---------------------------------------------------------------------------------------------- the database


@contextlib.contextmanager
def locked(yard) -> Iterator[None]:
    """Somebody else writes, for as long as it takes."""
    other = sqlite3.connect(yard.repo / "data" / "orchestrator.db", isolation_level=None)
    with contextlib.closing(other):
        other.execute("BEGIN EXCLUSIVE")
        yield


def test_a_database_that_another_holds_for_ten_seconds_costs_time_and_nothing_else(yard, wait_until: Wait) -> None:
    yard.configure(program(yard, "waiter", NOTE_ME + "note_me('waiting'); wait_for('gate'); work()\n"))
    plan = yard.plan(
        {"task_id": "A", "agent_type": "waiter"},
        {"task_id": "B", "agent_type": "waiter"},
        {"task_id": "C", "agent_type": "waiter", "depends_on": ["A", "B"]},
    )
    running = yard.start(plan)
    wait_until(lambda: len(identities(yard, "waiting")) == 2)
    with locked(yard):
        yard.open_gate()
        for agent in identities(yard, "waiting"):
            assert process.wait_until_gone(agent, 10)
        gone_at = clock.now()
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(10)
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert noted(yard, "starts")[-1] == "C 1"
    assert len(noted(yard, "starts")) == 3
    ends = yard.rows("SELECT status, exit_code, completed_at FROM agent_lifecycle ORDER BY created_at")
    assert [(row["status"], row["exit_code"]) for row in ends] == [("completed", 0)] * 3
    late = [clock.seconds_between(gone_at, row["completed_at"]) for row in ends[:2]]
    assert max(late) < 1.0, "the time is that of the exit, not of when it could be recorded"
    assert integrity(yard) == ["ok"]


def test_a_run_that_finds_the_database_held_waits_for_it(yard) -> None:
    assert yard.run(yard.plan({"task_id": "first"}, name="first.json")).code == 0
    with locked(yard):
        running = yard.start(yard.plan({"task_id": "A"}))
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(10)
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert integrity(yard) == ["ok"]


# ------------------------------------------------------------------------------------------------- processes


def test_a_pid_that_belongs_to_another_process_by_now_is_never_signalled(yard, wait_until: Wait) -> None:
    """Its agents and runners on record, its holder of the lease, its watchers: all are strangers' pids now."""
    yard.configure(program(yard, "waiter", NOTE_ME + "note_me('waiting'); wait_for('gate'); work()\n"))
    plan = yard.plan({"task_id": "A", "agent_type": "waiter"}, {"task_id": "B", "agent_type": "waiter"})
    running = yard.start(plan)
    wait_until(lambda: len(identities(yard, "waiting")) == 2)
    wait_until(lambda: not yard.holds("SELECT 1 FROM agent_lifecycle WHERE status <> 'running'"))
    running.process.kill()
    running.process.wait()
    kill_agents(yard)
    strangers = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(5)]
    try:
        mistake_for_ours(yard, [stranger.pid for stranger in strangers])
        yard.open_gate()
        outcome = yard.run(plan)
        assert [stranger.poll() for stranger in strangers] == [None] * 5
        assert outcome.code == 0, outcome.err
        assert sorted(noted(yard, "starts"))[:2] == ["A 1", "A 2"]
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.wait()


def mistake_for_ours(yard, pids: list[int]) -> None:
    """A is asked to end, with its pids on record; B has only just claimed its launch."""
    runner, agent, claimed, holding, watching = pids
    connection = sqlite3.connect(yard.repo / "data" / "orchestrator.db")
    with contextlib.closing(connection), connection:
        connection.execute(
            "UPDATE agent_lifecycle SET runner_pid = ?, runner_start_time = '1', pid = ?, pid_start_time = '1', "
            "kill_requested_at = created_at, kill_reason = 'x', kill_outcome = 'restart', kill_grace_seconds = 0 "
            "WHERE task_id = 'A'",
            (runner, agent),
        )
        connection.execute(
            "UPDATE agent_lifecycle SET status = 'starting', runner_pid = NULL, runner_start_time = NULL, pid = NULL, "
            "started_at = NULL, kill_requested_at = created_at, kill_reason = 'x', kill_outcome = 'restart', "
            "kill_grace_seconds = 0 WHERE task_id = 'B'"
        )
        connection.execute("UPDATE supervisor_lease SET pid = ?, start_time = '1'", (holding,))
        connection.execute("UPDATE dispatch_watcher SET pid = ?, start_time = '1'", (watching,))
    folder = Path(yard.rows("SELECT run_dir FROM agent_lifecycle WHERE task_id = 'B'")[0]["run_dir"])
    (folder / "journal.jsonl").unlink()
    (folder / "claim").write_text(f"{claimed} 1")


def kill_agents(yard) -> None:
    """Every runner and its agent."""
    for row in yard.rows("SELECT runner_pid, runner_start_time, pid, pid_start_time, boot_id FROM agent_lifecycle"):
        for pid, began in (row[:2], row[2:4]):
            who = process.Identity(pid, began, row["boot_id"])
            process.send(who, signal.SIGKILL)
            assert process.wait_until_gone(who, 10)


@pytest.mark.parametrize("known", [True, False], ids=["the agent's start is known", "nothing is known"])
def test_an_attempt_counts_although_its_server_died_before_it_noted_the_runner(
    yard, wait_until: Wait, known: bool
) -> None:
    """Then the claim in the run folder is what tells of the runner, and it is gone with its agent at the next look."""
    yard.configure(program(yard, "waiter", "wait_for('gate'); work()\n"))
    plan = yard.plan({"task_id": "A", "agent_type": "waiter"})
    running = yard.start(plan)
    wait_until(lambda: noted(yard, "starts"))
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"))
    running.process.kill()
    running.process.wait()
    kill_agents(yard)
    connection = sqlite3.connect(yard.repo / "data" / "orchestrator.db")
    with contextlib.closing(connection), connection:
        connection.execute("UPDATE agent_lifecycle SET runner_pid = NULL, runner_start_time = NULL")
        if not known:
            connection.execute("UPDATE agent_lifecycle SET status = 'starting', pid = NULL, started_at = NULL")
            Path(yard.rows("SELECT run_dir FROM agent_lifecycle")[0]["run_dir"], "journal.jsonl").unlink()
    yard.open_gate()
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    assert noted(yard, "starts") == ["A 1", "A 2"]
    assert outcome.task("A")["attempts"] == 2


# A grandchild that nothing leads to: another session, another parent, no environment, deaf to SIGTERM.
HIDE = """
def hide(name, *words, deaf=True, environment={}):
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir('/')
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note_me(name)
    os.execve('/bin/sleep', ['sleep', '600'], environment)
"""


def test_an_agent_and_what_it_hid_end_although_both_are_deaf(yard, wait_until: Wait) -> None:
    steps = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nhide('hidden')\nnote_me('agents')\nsignal.pause()\n"
    yard.configure("grace_period_seconds = 0.3\n" + program(yard, "deaf", NOTE_ME + HIDE + steps))
    running = yard.start(yard.plan({"task_id": "A", "agent_type": "deaf"}))
    wait_until(lambda: noted(yard, "agents") and noted(yard, "hidden"))
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"))
    running.interrupt()
    took = wait_until(lambda: running.process.poll() is not None, 10)
    assert running.finish().code == 130
    assert took < 5.0, "the grace is 0.3 s"
    assert still_there(yard, "agents", "hidden") == []
    assert yard.processes() == []
    assert yard.rows("SELECT status FROM agent_lifecycle")[0]["status"] == "killed"


def still_there(yard, *names: str) -> list[process.Identity]:
    """Those of the processes that were put down that still live."""
    return [who for name in names for who in identities(yard, name) if process.is_alive(who)]


def test_a_gigabyte_of_output_fills_neither_disk_nor_memory(yard, wait_until: Wait) -> None:
    steps = "piece = b'x' * 1023 + b'\\n'\nfor _ in range(1024): os.write(1, piece * 1024)\n"
    steps += "note('flooded', os.getpid()); wait_for('gate'); work()\n"
    yard.configure(program(yard, "flood", steps))
    running = yard.start(yard.plan({"task_id": "A", "agent_type": "flood"}, {"task_id": "B"}))
    assert wait_until(lambda: noted(yard, "flooded"), 60) < 40
    row = yard.rows("SELECT * FROM agent_lifecycle WHERE task_id = 'A'")[0]
    status = Path(f"/proc/{row['runner_pid']}/status").read_text().splitlines()
    peak_kb = int(next(line for line in status if line.startswith("VmHWM")).split()[1])
    assert peak_kb < 32 * 1024
    assert yard.rows("SELECT status FROM specs_task WHERE task_id = 'B'")[0]["status"] == "completed"
    yard.open_gate()
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    sizes = {file.name: file.stat().st_size for file in Path(row["run_dir"]).glob("output.log*")}
    assert set(sizes) == {"output.log", "output.log.1", "output.log.head"}
    assert max(sizes.values()) <= 10 * 2**20
    assert sizes["output.log.head"] <= 2**16


@pytest.mark.parametrize("how", ["timeout", "interrupt"])
def test_an_agent_that_never_stops_writing_can_be_ended(yard, wait_until: Wait, how: str) -> None:
    limit = "timeout_seconds = 1.0\n" if how == "timeout" else ""
    steps = "os.fork(); os.fork(); note('flooding', os.getpid())\nwhile True: os.write(1, b'x' * 65536)\n"
    flood = program(yard, "flood", steps)
    yard.configure(f"max_restarts = 0\ngrace_period_seconds = 0.3\n{flood}{limit}")
    running = yard.start(yard.plan({"task_id": "A", "agent_type": "flood"}))
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"))
    wait_until(lambda: len(noted(yard, "flooding")) == 4)
    if how == "interrupt":
        running.interrupt()
    wait_until(lambda: running.process.poll() is not None, 15)
    status = yard.rows("SELECT status FROM agent_lifecycle")[0]["status"]
    assert (running.finish().code, status) == ((1, "timeout") if how == "timeout" else (130, "killed"))
    assert yard.processes() == []


def test_an_agent_that_closes_its_descriptors_works_on_and_keeps_its_runner_quiet(yard) -> None:
    """A pipe at its end is readable for ever: a runner that asks about it again and again burns a CPU."""
    steps = (
        "for number in (0, 1, 2): os.close(number)\n"
        "def used():\n"
        "    stat = open(f'/proc/{os.getppid()}/stat').read()\n"
        "    return sum(map(int, stat[stat.rindex(')') + 2:].split()[11:13])) / os.sysconf('SC_CLK_TCK')\n"
        "before = used(); time.sleep(1.0); note('used', used() - before); work()\n"
    )
    yard.configure(program(yard, "closed", steps))
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "closed"}))
    assert outcome.code == 0, outcome.err
    assert noted(yard, "starts") == ["A 1"]
    assert float(noted(yard, "used")[0]) < 0.2


BOMB = """
for number in range(200):
    if os.fork() == 0:
        if os.fork():
            os._exit(0)
        if number % 2: os.setsid()
        if number % 3: signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.chdir('/')
        note_me('bomb')
        os.execve('/bin/sleep', ['sleep', '600'], {} if number % 5 else dict(os.environ))
    os.wait()
bombs = os.path.join(FOLDER, 'bomb')
while not os.path.exists(bombs) or len(open(bombs).readlines()) < 200: time.sleep(0.01)
"""


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_two_hundred_processes_that_an_agent_leaves_are_gone_when_it(yard, wait_until: Wait, how: str) -> None:
    then = "work()\n" if how == "ends" else "note('bombed', 1)\nsignal.pause()\n"
    yard.configure("max_restarts = 0\n" + program(yard, "bomb", NOTE_ME + BOMB + then))
    running = yard.start(yard.plan({"task_id": "A", "agent_type": "bomb"}))
    if how == "is killed":
        wait_until(lambda: noted(yard, "bombed"))
        wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"))
        pid = yard.rows("SELECT pid FROM agent_lifecycle")[0]["pid"]
        os.kill(pid, signal.SIGKILL)
    outcome = running.finish()
    assert outcome.code == (0 if how == "ends" else 1), outcome.err
    assert len(identities(yard, "bomb")) == 200
    assert still_there(yard, "bomb") == []
    assert yard.processes() == []


@pytest.mark.parametrize("environment", ["dict(os.environ)", "{}"], ids=["with its environment", "without"])
def test_what_an_agent_hid_ends_with_its_runner(yard, wait_until: Wait, environment: str) -> None:
    steps = (
        f"if os.environ['CREWYARD_ATTEMPT'] == '1':\n    hide('hidden', environment={environment})\n"
        f"    hide('hidden', deaf=False, environment={environment})\n    note_me('agents')\n    signal.pause()\n"
        "work()\n"
    )
    yard.configure(program(yard, "hider", NOTE_ME + HIDE + steps))
    running = yard.start(yard.plan({"task_id": "A", "agent_type": "hider"}))
    wait_until(lambda: noted(yard, "agents") and len(noted(yard, "hidden")) == 2)
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"))
    os.kill(yard.rows("SELECT runner_pid FROM agent_lifecycle")[0]["runner_pid"], signal.SIGKILL)
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert still_there(yard, "agents", "hidden") == []
    states = [row["status"] for row in yard.rows("SELECT status FROM agent_lifecycle ORDER BY attempt")]
    assert states == ["lost", "completed"]
    assert noted(yard, "starts") == ["A 1", "A 2"]


# ------------------------------------------------------------------------------------- what a killed git leaves


def test_a_lock_that_a_killed_agents_git_left_does_not_fail_the_next_attempt(yard) -> None:
    """An agent that is ended is often just then committing."""
    steps = (
        "import subprocess\n"
        "git = lambda *words: subprocess.run(['git', *words], check=True, capture_output=True, text=True).stdout\n"
        "if os.environ['CREWYARD_ATTEMPT'] == '1':\n"
        "    open(git('rev-parse', '--absolute-git-dir').strip() + '/index.lock', 'w').close()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "work()\ngit('add', '--all')\ngit('commit', '--quiet', '-m', 'Done')\n"
    )
    yard.configure(program(yard, "committer", steps))
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "committer"}))
    assert outcome.code == 0, outcome.err
    assert noted(yard, "starts") == ["A 1", "A 2"]


@pytest.mark.parametrize("branch", ["roadmap", "roadmap-implementation_task-B"])
def test_a_lock_of_a_branch_of_ours_that_a_killed_git_left_is_no_obstacle(yard, wait_until: Wait, branch: str) -> None:
    yard.configure(program(yard, "waiter", "wait_for('gate'); work()\n"))
    plan = yard.plan(
        {"task_id": "A", "agent_type": "waiter"}, {"task_id": "B", "agent_type": "waiter", "depends_on": ["A"]}
    )
    running = yard.start(plan)
    wait_until(lambda: noted(yard, "starts"))
    running.process.kill()
    running.process.wait()
    (yard.repo / f".git/refs/heads/{branch}.lock").touch()
    yard.open_gate()
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    assert noted(yard, "starts") == ["A 1", "B 1"]
    assert not (yard.repo / f".git/refs/heads/{branch}.lock").exists()
