"""The supervisors that `supervision.py` puts side by side: how each is set up, started, told to stop a child.

Each restarts what ends, as soon as its documented settings let it. Their children are one and the same shell script.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import peers
from yards import make_repository

GRACE_SECONDS = 1
ORDER_SECONDS = 120.0
MARK = "CREWYARD_BENCH"
CHILD = "CREWYARD_BENCH_CHILD"

# Said through a pipe, and timed by whoever reads it: a shell starts in a millisecond, but knows no monotonic clock.
CHILD_SCRIPT = """#!/bin/sh
{child}={folder}:$1; export {child}
if [ -n "$2" ]; then ( setsid /bin/sh {folder}/grandchild.sh "$1" </dev/null >/dev/null 2>&1 & ); fi
echo "$1 $$" >{folder}/births
exec sleep 86400
"""
GRANDCHILD_SCRIPT = """#!/bin/sh
trap '' TERM
echo "grandchild-$1 $$" >{folder}/births
exec sleep 86400
"""


@dataclass
class Yard:
    """A folder for one supervisor, its children's script, and the pipe that they say their births through."""

    folder: Path
    names: Sequence[str]
    daemonises: bool = False  # each child starts a grandchild of its own session that ignores SIGTERM
    births: int = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        os.mkfifo(self.folder / "births")
        self.births = os.open(self.folder / "births", os.O_RDWR | os.O_NONBLOCK)
        for name, text in (("child.sh", CHILD_SCRIPT), ("grandchild.sh", GRANDCHILD_SCRIPT)):
            (self.folder / name).write_text(text.format(child=CHILD, folder=self.folder))
            (self.folder / name).chmod(0o755)

    def command(self, name: str) -> list[str]:
        return ["/bin/sh", str(self.folder / "child.sh"), name, *(["daemonise"] if self.daemonises else [])]


class Supervisor:
    """One of them at work in its yard; ``programs`` are the paths of what it ``needs``."""

    name: str
    needs: tuple[str, ...]

    def __init__(self, yard: Yard, programs: dict[str, Path]) -> None:
        self.yard = yard
        self.programs = programs
        folders = dict.fromkeys(str(path.parent) for path in programs.values())
        path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
        self.environment = {**os.environ, "PATH": path, MARK: str(yard.folder)}
        self.process: subprocess.Popen[bytes] | None = None
        self.client: subprocess.Popen[bytes] | None = None
        self.set_up()

    def set_up(self) -> None:
        """Write its configuration."""

    def start(self) -> None:
        """Start it, or start it again where it was killed; it is reaped by ``kill``."""
        raise NotImplementedError

    def connect(self) -> None:
        """Make ready to be told something, where that takes a while."""

    def stop_child(self, name: str) -> None:
        """Tell it to stop one child for good."""
        raise NotImplementedError

    def kill(self) -> None:
        """kill -9 of the supervisor itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def keepers(self) -> set[int]:
        """Supervising processes that are known otherwise than by the mark in their environment."""
        return set()

    def spawn(self, *command: str | Path) -> None:
        self.process = self._popen(command)

    def order(self, *command: str | Path) -> None:
        """Give an order without waiting for its end, once the one before is over."""
        if self.client is not None:
            self.client.wait(ORDER_SECONDS)
        self.client = self._popen(command)

    def _popen(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=self.yard.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log(),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def log(self) -> IO[bytes]:
        return (self.yard.folder / "supervisor.log").open("ab")


class Crewyard(Supervisor):
    """`crewyard run` of a plan with a task for each child; a child is stopped through a connected MCP client."""

    name = "crewyard"
    needs = ("crewyard", "git")

    def set_up(self) -> None:
        self.repo = make_repository(self.yard.folder / "repo", 20, 0, checked_out=True)
        command = json.dumps([word.replace("child-0", "{task_id}") for word in self.yard.command("child-0")])
        (self.repo / "crewyard.toml").write_text(
            f"[crew]\nmax_parallel = {len(self.yard.names)}\nmax_restarts = 1000000\nrestart_backoff_seconds = 0\n"
            # Nothing is to hold a launch back but its own cost.
            "[launch]\nmax_cpu_percent = 100\nmax_per_minute = 1000000\nmax_per_task = 1000000\n"
            "failed_start_seconds = 0\n"
            f'[agents.sleeper]\nkind = "command"\ncommand = {command}\ntimeout_seconds = 86400\n'
        )
        tasks = [{"task_id": name, "title": name, "agent_type": "sleeper"} for name in self.yard.names]
        (self.yard.folder / "plan.json").write_text(json.dumps({"tasks": tasks}))

    def start(self) -> None:
        plan = self.yard.folder / "plan.json"
        self.spawn(self.programs["crewyard"], "run", plan, "--repo", self.repo, "--json")

    def keepers(self) -> set[int]:
        pids = {pid for _, _, pid in self._live() if pid}
        # Their parent, where it is a process of its own and not the one that everybody's orphans go to.
        parents = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids}
        return pids | {pid for pid in parents if len(parents) == 1 and pid not in (1, os.getpid())}

    def stop_child(self, name: str) -> None:
        agent_id = next(agent for agent, task, _ in self._live() if task == name)
        arguments = {"action": "kill", "agent_id": agent_id, "grace_period_seconds": GRACE_SECONDS}
        self._send(id=2, method="tools/call", params={"name": "agents", "arguments": arguments})

    def _live(self) -> list[tuple[str, str, int | None]]:
        with closing(sqlite3.connect(self.repo / "data" / "orchestrator.db")) as connection:
            return connection.execute(
                "SELECT agent_id, task_id, runner_pid FROM agent_lifecycle WHERE status IN ('starting', 'running')"
            ).fetchall()

    def connect(self) -> None:
        self.client = subprocess.Popen(
            [self.programs["crewyard"], "serve", "--repo", self.repo],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        who = {"name": "bench", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": who}
        self._send(id=1, method="initialize", params=params)
        assert self.client.stdout is not None
        self.client.stdout.readline()
        self._send(method="notifications/initialized")

    def _send(self, **message: Any) -> None:
        assert self.client is not None
        assert self.client.stdin is not None
        self.client.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.client.stdin.flush()


class Runit(Supervisor):
    """A runsv for each child under runsvdir."""

    name = "runit"
    needs = ("runsvdir", "runsv", "sv")
    program = "runsvdir"

    def set_up(self) -> None:
        for name in self.yard.names:
            run = self.yard.folder / "services" / name / "run"
            run.parent.mkdir(parents=True)
            run.write_text(f"#!/bin/sh\nexec {' '.join(self.yard.command(name))}\n")
            run.chmod(0o755)

    def start(self) -> None:
        self.spawn(self.programs[self.program], self.yard.folder / "services")

    def stop_child(self, name: str) -> None:
        self.order(self.programs["sv"], "-w", str(GRACE_SECONDS), "force-stop", self.yard.folder / "services" / name)


class S6(Runit):
    """An s6-supervise for each child under s6-svscan."""

    name = "s6"
    needs = ("s6-svscan", "s6-supervise", "s6-svc")
    program = "s6-svscan"

    def set_up(self) -> None:
        super().set_up()
        for name in self.yard.names:
            (self.yard.folder / "services" / name / "timeout-kill").write_text(f"{GRACE_SECONDS * 1000}\n")

    def stop_child(self, name: str) -> None:
        self.order(self.programs["s6-svc"], "-d", self.yard.folder / "services" / name)


class Supervisord(Supervisor):
    """supervisord in the foreground."""

    name = "supervisord"
    needs = ("supervisord", "supervisorctl")

    def set_up(self) -> None:
        socket = f"{self.yard.folder}/control.sock"
        parts = [
            f"[supervisord]\nnodaemon = true\nlogfile = {self.yard.folder}/supervisord.log\n"
            f"pidfile = {self.yard.folder}/supervisord.pid\nchildlogdir = {self.yard.folder}",
            f"[unix_http_server]\nfile = {socket}",
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            f"[supervisorctl]\nserverurl = unix://{socket}",
        ]
        parts += [
            f"[program:{name}]\ncommand = {' '.join(self.yard.command(name))}\nautorestart = true\n"
            f"stopwaitsecs = {GRACE_SECONDS}\nstopasgroup = true\nkillasgroup = true"
            for name in self.yard.names
        ]
        self.file = self.yard.folder / "supervisord.conf"
        self.file.write_text("\n\n".join(parts) + "\n")

    def start(self) -> None:
        self.spawn(self.programs["supervisord"], "-c", self.file)

    def stop_child(self, name: str) -> None:
        self.order(self.programs["supervisorctl"], "-c", self.file, "stop", name)


class Circus(Supervisor):
    """circusd with a watcher for each child; it looks every check_delay = 5 s, which is its default."""

    name = "circus"
    needs = ("circusd", "circusctl")

    def set_up(self) -> None:
        self.endpoint = f"ipc://{self.yard.folder}/endpoint"
        parts = [f"[circus]\nendpoint = {self.endpoint}\npubsub_endpoint = ipc://{self.yard.folder}/pubsub"]
        parts += [
            f"[watcher:{name}]\ncmd = {' '.join(self.yard.command(name))}\nmax_retry = -1\n"
            f"graceful_timeout = {GRACE_SECONDS}\nstop_children = true"
            for name in self.yard.names
        ]
        self.file = self.yard.folder / "circus.ini"
        self.file.write_text("\n\n".join(parts) + "\n")

    def start(self) -> None:
        self.spawn(self.programs["circusd"], self.file)

    def stop_child(self, name: str) -> None:
        self.order(self.programs["circusctl"], "--endpoint", self.endpoint, "stop", name)


class Pm2(Supervisor):
    """pm2's daemon, with an app for each child."""

    name = "pm2"
    needs = ("pm2", "node")

    def set_up(self) -> None:
        home = {"PM2_HOME": str(self.yard.folder / "pm2"), "PM2_DISABLE_VERSION_CHECK": "true"}
        self.environment.update(home)
        apps = []
        for name in self.yard.names:
            shell, script, *arguments = self.yard.command(name)
            app = {"name": name, "script": script, "interpreter": shell, "args": arguments, "vizion": False}
            apps.append({**app, "kill_timeout": GRACE_SECONDS * 1000, "max_restarts": 1000000})
        (self.yard.folder / "apps.json").write_text(json.dumps({"apps": apps}))

    def start(self) -> None:
        self.order(self.programs["pm2"], "start", self.yard.folder / "apps.json")

    def stop_child(self, name: str) -> None:
        self.order(self.programs["pm2"], "stop", name)

    def kill(self) -> None:
        pid = int((self.yard.folder / "pm2" / "pm2.pid").read_text())
        descriptor = os.pidfd_open(pid)  # its parent is not we, so that it cannot be waited for otherwise
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)


SUPERVISORS: tuple[type[Supervisor], ...] = (Runit, S6, Crewyard, Supervisord, Circus, Pm2)


def programs(kind: type[Supervisor]) -> dict[str, Path]:
    """Where what it needs lies: beside this Python, with the peer's own, or on PATH. Raises peers.Missing."""
    beside = [Path(sys.executable).parent]
    found = {}
    for name in kind.needs:
        found[name] = next((folder / name for folder in beside if (folder / name).exists()), None) or peers.program(
            name
        )
        beside.append(found[name].parent)
    return found
