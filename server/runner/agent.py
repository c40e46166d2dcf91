"""One runner's life: from the start of its agent to the end of the last descendant.

A launch happens once at most: whoever creates the file ``claim`` first decides it, this runner or a supervisor that
gives the launch up. The order is a marshal file, written a moment ago by this same version; the agent is a
``posix_spawn``: both are on the way of every launch.
"""

import marshal
import os
import select
import signal
import time

from .descendants import kill_all, signal_all, start_time
from .journal import Journal, timestamp
from .limits import Limits
from .output import RotatedFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .group import Group

CHUNK = 1 << 16
CHUNKS_AT_ONCE = 16
LOOK_SECONDS = 0.01
SWEEP_GRACE_SECONDS = 2.0
OUT_OF_REACH_SECONDS = 10.0


def main(run_dir: str, own: "Group | None") -> int:
    """``own`` is the control group that we are in; the agent is born there."""
    os.chdir(run_dir)
    try:
        claim = os.open("claim", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        if own is not None and own.leave():
            own.remove()
        return 3
    me = f"{os.getpid()} {start_time(os.getpid())}"
    # The group is known to whoever finds us dead before anything is in it.
    os.write(claim, (me if own is None else f"{me} {own.folder}").encode())
    os.close(claim)
    with open("launch.marshal", "rb") as file:
        order = marshal.load(file)  # noqa: S302  (ours, in a folder that nobody else may enter)
    os.unlink("launch.marshal")  # it holds the agent's token
    return Runner(order, own).run()


class Runner:
    """Keeps one agent from its start to the end of its last descendant."""

    def __init__(self, order: "dict[str, Any]", own: "Group | None") -> None:
        self.order = order
        self.group = own
        self.journal = Journal(order["bell"])
        self.output = RotatedFile(order["output"], order["output_limit_bytes"])
        self.asked_to_end = False
        self.ending_since: float | None = None
        self.reason = "exit"
        self.status: int | None = None
        self.ended_at: str | None = None  # the agent; what it leaves behind may take longer

    def run(self) -> int:
        wake, wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(wake_writer, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, self._note)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        try:
            if self.group is not None:
                self.group.limit_memory(self.order["memory_limit_mb"])
            self.agent, self.pipe = spawn(
                self.order["argv"], self.order["cwd"], self.order["env"], self.order.get("stdin", os.devnull)
            )
        except OSError as error:
            self._leave_group()
            if self.group is not None:
                self.group.remove()
            missing = "" if os.path.isdir(self.order["cwd"]) else f" (its folder {self.order['cwd']} is gone)"
            message = f"{self.order['argv'][0]}: {error.strerror}{missing}"
            self.journal.write("not_started", message=message, errno=error.errno, program=self.order["argv"][0])
            return 1
        self.journal.write("started", pid=self.agent, start_time=start_time(self.agent))
        self._leave_group()
        self._watch(wake)
        return 0

    def _leave_group(self) -> None:
        """The agent stays in it. Where we cannot get out of it, it is of no use: to end it would end us."""
        if self.group is not None and not self.group.leave():
            self.group = None

    def _note(self, number: int, frame: object) -> None:
        if number == signal.SIGTERM:
            self.asked_to_end = True

    def _watch(self, wake: int) -> None:
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        poller.register(self.pipe, select.POLLIN)
        limits = Limits(self.order, keeps_memory=self.group is None or not self.group.limits_memory)
        while self.status is None and self.ending_since is None:
            for descriptor, _ in poller.poll(limits.next_look_ms()):
                if descriptor == self.pipe and not self._drain():
                    poller.unregister(self.pipe)
                if descriptor == wake:
                    os.read(wake, 4096)
            self._reap()
            excess = limits.exceeded()
            if self.status is None and (excess or self.asked_to_end):
                self.reason = excess or "killed"
                self._begin_to_end()
            elif beat := limits.beat(self.output.total):
                self.journal.write("alive", **beat)
        if self.group is not None and self.reason == "exit" and self.group.ran_out_of_memory():
            self.reason = "memory"
        self._sweep()
        self._drain()
        if self.group is not None:
            self.group.kill()
        self.journal.write("ended", at=self.ended_at, reason=self.reason, **decoded(self.status))
        if self.group is not None:
            self.group.remove()

    def _drain(self) -> bool:
        """Copy some of what the agent has written, so that one that never stops keeps us from nothing else.

        Returns whether more may come.
        """
        for _ in range(CHUNKS_AT_ONCE):
            try:
                data = os.read(self.pipe, CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.output.write(data)
        return True

    def _reap(self) -> bool:
        """Collect ended children, ours and those that descendants left us; returns whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.agent:
                self.status, self.ended_at = status, timestamp()

    def _begin_to_end(self) -> None:
        """SIGTERM to the agent, as far as it lives, and to every descendant."""
        self.ending_since = time.monotonic()
        signal_all(signal.SIGTERM, self.agent)

    def _sweep(self) -> None:
        """Reap all that is left, wherever it hid, SIGKILL after the grace: every orphan is a child of its subreaper."""
        if not self._reap():
            return
        if self.ending_since is None:
            self._begin_to_end()
        while self._reap() and not self._is_out_of_reach():
            self._kill_when_due()
            self._drain()
            time.sleep(LOOK_SECONDS)

    def _since_grace(self) -> float:
        """Seconds since the grace was over, below 0 before. What an ended agent leaves behind has a short one."""
        by_itself = self.reason == "exit" and not self.asked_to_end
        grace = SWEEP_GRACE_SECONDS if by_itself else kill_grace(self.order)
        return -1.0 if self.ending_since is None else time.monotonic() - self.ending_since - grace

    def _is_out_of_reach(self) -> bool:
        """Whether SIGKILL has no effect: on what changed its user, or hangs in the kernel. It is not waited for."""
        return self._since_grace() > OUT_OF_REACH_SECONDS

    def _kill_when_due(self) -> None:
        if self._since_grace() < 0:
            return
        if self.group is not None and self.group.kill():
            return
        kill_all()
        signal_all(signal.SIGKILL, self.agent)


def spawn(argv: "list[str]", cwd: str, env: "dict[str, str]", stdin: str) -> "tuple[int, int]":
    """Start the agent in a process group of its own, reading ``stdin``; returns its pid and the pipe it writes to."""
    reader, writer = os.pipe()
    home = os.getcwd()
    os.chdir(cwd)
    try:
        pid = os.posix_spawn(
            find_program(argv[0], env),
            argv,
            env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, writer, 1),
                (os.POSIX_SPAWN_DUP2, writer, 2),
            ],
            setpgroup=0,
            # What we ignore or catch is the agent's own business again.
            setsigdef=[signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ],
        )
    finally:
        os.chdir(home)
        os.close(writer)
    os.set_blocking(reader, False)
    return pid, reader


def find_program(name: str, env: "dict[str, str]") -> str:
    """The program's path, looked up in the agent's own PATH; a name that is nowhere is left to fail as it is."""
    if "/" in name:
        return name
    found = (os.path.join(folder, name) for folder in env.get("PATH", os.defpath).split(os.pathsep))
    return next((path for path in found if os.access(path, os.X_OK) and not os.path.isdir(path)), name)


def decoded(status: "int | None") -> "dict[str, int | None]":
    if status is None:
        return {"code": None, "signal": None}
    code = os.waitstatus_to_exitcode(status)
    return {"code": code if code >= 0 else None, "signal": -code if code < 0 else None}


def kill_grace(order: "dict[str, Any]") -> float:
    """Seconds between SIGTERM and SIGKILL: what the one who asks wrote down (and may shorten), else the order's."""
    try:
        with open("kill", encoding="ascii") as file:
            return float(file.read())
    except (FileNotFoundError, ValueError):
        return float(order["grace_seconds"])
