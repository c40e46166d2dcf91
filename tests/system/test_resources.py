"""What the machine and agents use: real processes measured, sampled by real servers, compared with other readings."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from crewyard.server import process
from crewyard.server.host import Watch
from crewyard.server.process import Identity
from crewyard.server.runner import descendants
from crewyard.server.usage import Sampler, Tree, Usage

SERVE = (
    "import sys; from pathlib import Path; from crewyard.server.compose import serve_stdio;"
    "sys.exit(serve_stdio(Path('.')))"
)
# A child that leaves its parent, its group and its session, with 64 MiB that are really there, and a second thread.
FAMILY = """
import os, signal, sys, threading
if os.fork() == 0:
    os.setsid()
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    threading.Thread(target=signal.pause, daemon=True).start()
    os.write(int(sys.argv[1]), b"r")
    signal.pause()
os.write(int(sys.argv[1]), b"r")
signal.pause()
"""
BUSY = "while True: pass"


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts a program in a session of its own; what is left of it is killed."""
    running: list[subprocess.Popen[bytes]] = []
    trees: list[psutil.Process] = []

    def start(*command: str, **options: Any) -> "subprocess.Popen[bytes]":
        running.append(subprocess.Popen(command, start_new_session=True, **options))
        return running[-1]

    yield start
    for each in running:
        if each.poll() is None:
            trees += psutil.Process(each.pid).children(recursive=True)
    for each in running:
        each.kill()
        each.communicate()
    for child in trees:
        if child.is_running():
            child.kill()


def family(started: Callable[..., "subprocess.Popen[bytes]"]) -> psutil.Process:
    reader, writer = os.pipe()
    parent = started(sys.executable, "-I", "-S", "-c", FAMILY, str(writer), pass_fds=[writer])
    for _ in range(2):
        assert os.read(reader, 1) == b"r"
    os.close(reader)
    os.close(writer)
    return psutil.Process(parent.pid)


def who(pid: int) -> Identity:
    found = process.identify(pid)
    assert found is not None
    return found


def measured(sampler: Sampler, pid: int) -> Usage:
    return sampler.look({"it": Tree(None, who(pid))})["it"]


# ---------------------------------------------------------------------------------------------- independent readings


def test_r151_an_agents_tree_is_measured_as_psutil_reads_it(started: Any) -> None:
    parent = family(started)
    everyone = [parent, *parent.children(recursive=True)]
    used = measured(Sampler(), parent.pid)
    assert used.processes == len(everyone) == 2
    assert used.threads == sum(each.num_threads() for each in everyone) == 3
    assert used.memory_mb == pytest.approx(sum(each.memory_info().rss for each in everyone) / 2**20, rel=0.02)
    assert used.memory_mb > 64


def test_r151_the_cpu_of_a_tree_is_that_of_all_cores_together(started: Any) -> None:
    busy = psutil.Process(started(sys.executable, "-I", "-S", "-c", BUSY).pid)
    sampler = Sampler()
    measured(sampler, busy.pid)
    began, before = time.monotonic(), sum(busy.cpu_times()[:2])
    while sum(busy.cpu_times()[:2]) < before + 1.0:
        time.sleep(0.02)
    used = measured(sampler, busy.pid).cpu_percent
    share = (sum(busy.cpu_times()[:2]) - before) / (time.monotonic() - began) / (os.cpu_count() or 1) * 100
    assert used == pytest.approx(share, rel=0.2)


def test_r151_the_cpu_of_children_that_have_ended_counts(started: Any) -> None:
    """A build is nothing but short-lived children."""
    spin = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    program = f"import os, signal, subprocess, sys\nos.read(0, 1)\nsubprocess.run([sys.executable, '-c', {spin!r}])\n"
    program += "os.write(1, b'd')\nsignal.pause()"
    parent = started(sys.executable, "-I", "-S", "-c", program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sampler = Sampler()
    measured(sampler, parent.pid)
    began = time.monotonic()
    parent.stdin.write(b"g")
    parent.stdin.flush()
    assert parent.stdout.read(1) == b"d"
    used = measured(sampler, parent.pid)
    assert used.processes == 1
    assert used.cpu_percent is not None
    assert used.cpu_percent * (os.cpu_count() or 1) / 100 * (time.monotonic() - began) >= 0.25


def test_a_reused_pid_is_never_counted(started: Any) -> None:
    real = who(family(started).pid)
    reused = Identity(real.pid, str(int(real.start_time) - 1), real.boot_id)
    trees = {"real": Tree(None, real), "reused": Tree(reused, reused), "reboot": Tree(None, Identity(real.pid, real.start_time, "b"))}  # fmt: skip  # noqa: E501
    assert set(Sampler().look(trees)) == {"real"}


def test_nothing_stays_open_after_a_look(started: Any) -> None:
    sampler, pid = Sampler(), family(started).pid
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        measured(sampler, pid)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_runner_measures_its_own_processes_as_the_walk_over_all_of_them_does(started: Any) -> None:
    parent = family(started)
    below = descendants._below()
    assert {parent.pid, *(child.pid for child in parent.children())} <= set(below)
    assert sorted(below) == sorted(pid for pid, _ in descendants.descendants())


def test_r151_the_machine_is_seen_as_psutil_sees_it(tmp_path: Path) -> None:
    seen = Watch(tmp_path / "not" / "there" / "yet").look()
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(tmp_path))
    assert len(seen.per_core) == psutil.cpu_count()
    assert all(0 <= percent <= 100 for percent in (seen.cpu_percent, *seen.per_core))
    assert seen.memory.total == pytest.approx(memory.total / 2**20)
    assert seen.memory.percent == pytest.approx(memory.percent, abs=3)
    assert seen.disk.percent == pytest.approx(disk.percent, abs=1)
    assert seen.disk.available == pytest.approx(disk.free / 2**20, rel=0.05)
    assert seen.swap.total == pytest.approx(psutil.swap_memory().total / 2**20)
    assert seen.load_average[0] == pytest.approx(os.getloadavg()[0], abs=1)


def test_r148_each_core_is_looked_at_by_itself(started: Any) -> None:
    """One busy process on one core: that core is busy at the first look already, which takes a moment."""
    core = min(os.sched_getaffinity(0))
    busy = started(sys.executable, "-I", "-S", "-c", f"import os\nos.sched_setaffinity(0, [{core}])\n{BUSY}")
    while sum(psutil.Process(busy.pid).cpu_times()[:2]) < 0.2:
        time.sleep(0.02)
    assert Watch(Path("/")).look().per_core[core] > 80


# ----------------------------------------------------------------------------------------------- sampled by a server

CONFIGURATION = """\
[crew]
default_agent = "sleeper"
on_exit = "stop"
[agents.sleeper]
kind = "command"
command = ["sleep", "60"]
[agents.busy]
kind = "command"
command = ["sh", "-c", "(while :; do :; done) & wait"]
[health]
check_interval_seconds = 0.2
[launch]
max_cpu_percent = 100
"""


@pytest.fixture
def configuration() -> str:
    return CONFIGURATION


@pytest.fixture
async def call(git_repo: Path, configuration: str) -> AsyncIterator[Any]:
    (git_repo / "crewyard.toml").write_text(configuration)
    parameters = StdioServerParameters(command=sys.executable, args=["-c", SERVE], cwd=git_repo, env=dict(os.environ))
    async with Client(stdio_client(parameters)) as client:

        async def succeed(tool: str, **arguments: Any) -> dict[str, Any]:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result.structured_content
            assert result.structured_content is not None
            return result.structured_content

        yield succeed


def rows(repo: Path, database: str, sql: str, *parameters: Any) -> list[sqlite3.Row]:
    connection = sqlite3.connect(repo / "data" / f"{database}.db", timeout=5)
    connection.row_factory = sqlite3.Row
    with closing(connection):
        return connection.execute(sql, parameters).fetchall()


async def until(look: Callable[[], Any]) -> Any:
    with anyio.fail_after(30):
        while not (found := look()):
            await anyio.sleep(0.05)
    return found


@pytest.mark.anyio
async def test_r148_r307_the_supervisor_samples_the_machine_and_each_agent(git_repo: Path, call: Any) -> None:
    await call("plan", action="add", tasks=[{"task_id": "A", "agent_type": "busy"}])
    agent = await call("agents", action="spawn", task_id="A")
    sql = "SELECT * FROM metrics WHERE metric_type = 'cpu_percent' AND agent_id = ? AND value > 1"
    await until(lambda: rows(git_repo, "metrics", sql, agent["agent_id"]))
    # What another look finds of the agent, or of this machine, is none of a sample's.
    others = "SELECT count(*) FROM event WHERE subject_type NOT IN ('agent', 'resource')"
    events = rows(git_repo, "orchestrator", others)[0][0]
    last = "SELECT value FROM metrics WHERE metric_type = 'memory_mb' ORDER BY metric_id DESC LIMIT 1"
    [memory] = rows(git_repo, "metrics", last)
    tree = [psutil.Process(agent["pid"]), *psutil.Process(agent["pid"]).children(recursive=True)]
    assert memory["value"] == pytest.approx(sum(each.memory_info().rss for each in tree) / 2**20, rel=0.25)
    sql = "SELECT count(*) FROM metrics WHERE metric_type = 'active_agents' AND value = 1"
    count = rows(git_repo, "metrics", sql)[0][0]
    await until(lambda: rows(git_repo, "metrics", sql)[0][0] > count + 2)
    assert rows(git_repo, "orchestrator", others)[0][0] == events, "a sample is no event"
    seen = await call("monitor_resource_usage", action="history", time_range_minutes=5)
    assert seen["samples"][-1]["active_agents"] > 0
    recorded = rows(git_repo, "metrics", "SELECT value FROM metrics WHERE metric_type = 'memory_percent'")
    assert seen["samples"][-1]["memory_percent"] == pytest.approx(
        sum(row["value"] for row in recorded) / len(recorded), abs=10
    )
    seen = await call("monitor_resource_usage", action="per_agent")
    assert seen["agents"][0]["agent_id"] == agent["agent_id"]
    assert (seen["agents"][0]["pid"], seen["totals"]["agents"]) == (agent["pid"], 1)
    assert seen["agents"][0]["cpu_percent"] > 0.5
    assert (await call("monitor_resource_usage"))["can_spawn_agents"] is True


FULL = CONFIGURATION.replace("[launch]", "[launch]\nmin_free_memory_mb = 1000000000")


@pytest.mark.anyio
@pytest.mark.parametrize("configuration", [FULL])
async def test_r152_a_machine_without_room_is_told_once_and_launches_nobody(git_repo: Path, call: Any) -> None:
    sql = "SELECT * FROM event WHERE subject_type = 'resource' AND subject_id = 'memory'"
    await until(lambda: rows(git_repo, "orchestrator", sql))
    await call("plan", action="add", tasks=[{"task_id": "A"}])
    await call("assign")
    held = "SELECT * FROM launch_hold WHERE reason = 'memory'"
    [hold] = await until(lambda: rows(git_repo, "orchestrator", held))
    seen = await call("monitor_resource_usage")
    assert seen["can_spawn_agents"] is False
    short = {each["resource"]: each for each in seen["critical"]}["memory"]
    assert (short["code"], "No agent is launched" in short["action_taken"]) == ("resource_critical", True)
    wanted = "are wanted (launch.min_free_memory_mb)"
    assert wanted in seen["reasons"][0]
    assert wanted in hold["message"], "the dispatcher's reason is the very same"
    assert rows(git_repo, "orchestrator", "SELECT * FROM agent_lifecycle") == []
    taken = "SELECT count(*) FROM metrics WHERE metric_type = 'active_agents'"
    count = rows(git_repo, "metrics", taken)[0][0]
    await until(lambda: rows(git_repo, "metrics", taken)[0][0] > count + 3)
    assert len(rows(git_repo, "orchestrator", sql)) == 1
    alerts = "SELECT to_agent FROM agent_message WHERE message_type = 'alert' AND content ->> '$.resource' = 'memory'"
    assert {row["to_agent"] for row in rows(git_repo, "orchestrator", alerts)} == {"lead"}


@pytest.mark.anyio
async def test_samples_go_on_when_the_server_was_killed(git_repo: Path, call: Any) -> None:
    """Another supervisor goes on with the same table; what the killed one wrote is whole."""
    taken = "SELECT count(*) FROM metrics WHERE metric_type = 'active_agents'"
    await until(lambda: (git_repo / "data" / "metrics.db").exists() and rows(git_repo, "metrics", taken)[0][0] > 1)
    [holder] = rows(git_repo, "orchestrator", "SELECT pid FROM supervisor_lease")
    second = subprocess.Popen(
        [sys.executable, "-c", SERVE], cwd=git_repo, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        os.kill(holder["pid"], signal.SIGKILL)
        count = rows(git_repo, "metrics", taken)[0][0]
        await until(lambda: rows(git_repo, "metrics", taken)[0][0] > count + 2)
        sizes = rows(git_repo, "metrics", "SELECT count(*) AS n FROM metrics WHERE agent_id IS NULL GROUP BY timestamp")
        assert {row["n"] for row in sizes} <= {5, 6}, "five before the CPU is known"
    finally:
        second.stdin.close()
        second.wait(10)
