"""One agent's keeper: starts it, owns its output, bounds its time and memory, reaps it and all that it leaves behind.

Run by path (``python -I -S runner.py RUN_DIR``): standard library only, no database, no schema, so that it stays small,
knows no lock, and outlives the server and its upgrades. What happens goes, each line flushed to disk, to
``journal.jsonl``; the supervisor that holds the lease takes it in, now or after the next start.

Start-up is on the way of every launch, so the dear imports (json, subprocess, typing) are not made before the agent
runs: the order is a marshal file, written a moment ago by this same interpreter, and the agent is a ``posix_spawn``.

A launch happens once at most: whoever creates the file ``claim`` first decides it, this runner or a supervisor that
gives the launch up.
"""

import marshal
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BEAT_SECONDS = 15.0
CHUNK = 1 << 16
SWEEP_GRACE_SECONDS = 2.0
PR_SET_CHILD_SUBREAPER = 36


def main(run_dir: str) -> int:
    os.chdir(run_dir)
    try:
        claim = os.open("claim", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return 3
    os.write(claim, f"{os.getpid()} {start_time(os.getpid())}".encode())
    os.close(claim)
    with open("launch.marshal", "rb") as file:
        order = marshal.load(file)  # noqa: S302  (ours, in a folder that nobody else may enter)
    os.unlink("launch.marshal")  # it holds the agent's token
    become_subreaper()
    return Runner(order).run()


class Runner:
    """Keeps one agent from its start to the end of its last descendant."""

    def __init__(self, order: "dict[str, Any]") -> None:
        self.order = order
        self.journal = Journal(order["bell"])
        self.output = RotatedFile("output.log", order["output_limit_bytes"])
        self.asked_to_end: float | None = None  # when SIGTERM reached us
        self.reason = "exit"
        self.status: int | None = None

    def run(self) -> int:
        wake, wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(wake_writer, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, self._note)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            self.agent, self.pipe = spawn(self.order["argv"], self.order["cwd"], self.order["env"])
        except OSError as error:
            self.journal.write("not_started", message=f"{self.order['argv'][0]}: {error.strerror}")
            return 1
        self.journal.write("started", pid=self.agent, start_time=start_time(self.agent))
        self._watch(wake)
        return 0

    def _note(self, number: int, frame: object) -> None:
        if number == signal.SIGTERM and self.asked_to_end is None:
            self.asked_to_end = time.monotonic()

    def _watch(self, wake: int) -> None:
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        poller.register(self.pipe, select.POLLIN)
        limits = Limits(self.order)
        while self.status is None:
            for descriptor, _ in poller.poll(limits.next_look_ms()):
                if descriptor == self.pipe and not self._drain():
                    poller.unregister(self.pipe)
                if descriptor == wake:
                    os.read(wake, 4096)
            self._reap()
            excess = limits.exceeded()
            if self.status is None and (excess or self.asked_to_end is not None):
                self.reason = excess or "killed"
                self._end()
            elif beat := limits.beat(self.output.total):
                self.journal.write("alive", **beat)
        ended_at = timestamp()
        self._sweep()
        self._drain()
        self.journal.write("ended", at=ended_at, reason=self.reason, **decoded(self.status))

    def _drain(self) -> bool:
        """Copy what the agent has written; returns whether more may come."""
        while True:
            try:
                data = os.read(self.pipe, CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.output.write(data)

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
                self.status = status

    def _end(self) -> None:
        """SIGTERM to the agent and all its descendants, SIGKILL after the grace; returns when the agent is reaped."""
        signal_all(signal.SIGTERM)
        began = time.monotonic()
        while self.status is None:
            if time.monotonic() >= began + kill_grace(self.order):
                signal_all(signal.SIGKILL)
            self._drain()
            time.sleep(0.01)
            self._reap()

    def _sweep(self) -> None:
        """End what the agent left behind, wherever it hid: as subreaper we are the parent of every orphan."""
        if not self._reap():
            return
        signal_all(signal.SIGTERM)
        deadline = time.monotonic() + SWEEP_GRACE_SECONDS
        while self._reap():
            if time.monotonic() >= deadline:
                signal_all(signal.SIGKILL)
            self._drain()
            time.sleep(0.01)


def spawn(argv: "list[str]", cwd: str, env: "dict[str, str]") -> "tuple[int, int]":
    """Start the agent in a process group of its own, with no input; returns its pid and the pipe it writes to."""
    reader, writer = os.pipe()
    home = os.getcwd()
    os.chdir(cwd)
    try:
        pid = os.posix_spawn(
            find_program(argv[0], env),
            argv,
            env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
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


class Limits:
    """Time, memory and the next sign of life."""

    def __init__(self, order: "dict[str, Any]") -> None:
        self.deadline = time.monotonic() + order["timeout_seconds"]
        self.memory_limit_mb = order["memory_limit_mb"]
        self.next_beat = time.monotonic() + BEAT_SECONDS
        self.seen = (0, 0.0)

    def next_look_ms(self) -> float:
        until = min(self.deadline, self.next_beat) - time.monotonic()
        wait: float = min(until, 1.0 if self.memory_limit_mb else until)
        return max(0.0, wait) * 1000

    def exceeded(self) -> str | None:
        if time.monotonic() >= self.deadline:
            return "timeout"
        if self.memory_limit_mb and usage()[0] > self.memory_limit_mb:
            return "memory"
        return None

    def beat(self, output_bytes: int) -> "dict[str, Any] | None":
        """Facts for the journal when it is time, and only where the agent wrote or used the CPU meanwhile."""
        if time.monotonic() < self.next_beat:
            return None
        self.next_beat = time.monotonic() + BEAT_SECONDS
        memory_mb, cpu_seconds = usage()
        used = cpu_seconds - self.seen[1]
        if output_bytes == self.seen[0] and used <= 0.01:
            return None
        self.seen = (output_bytes, cpu_seconds)
        return {"memory_mb": round(memory_mb, 1), "cpu_percent": round(max(0.0, used) / BEAT_SECONDS * 100, 1)}


class Journal:
    """Append-only, flushed to disk line by line; a full disk is waited out, since the exit must not be lost."""

    def __init__(self, bell: str) -> None:
        self.bell = bell

    def write(self, kind: str, at: "str | None" = None, **facts: "Any") -> None:
        import json  # not before the agent runs

        line = json.dumps({"kind": kind, "at": at or timestamp(), **facts}).encode() + b"\n"
        while not self._append(line):
            time.sleep(1.0)
        ring(self.bell)

    def _append(self, line: bytes) -> bool:
        descriptor = -1
        try:
            descriptor = os.open("journal.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            # A line that an earlier try left half written is closed, and skipped by the reader.
            if os.write(descriptor, b"\n" + line) != len(line) + 1:
                return False
            os.fsync(descriptor)
            return True
        except OSError as error:
            complain(f"journal: {error}")
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)


class RotatedFile:
    """The agent's output: at most two files of ``limit`` bytes each, the older one with ``.1``."""

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.total = 0
        self._open()

    def _open(self) -> None:
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.size = 0

    def write(self, data: bytes) -> None:
        self.total += len(data)
        if self.size + len(data) > self.limit:
            os.close(self.file)
            os.replace(self.path, self.path + ".1")
            self._open()
        try:
            self.size += os.write(self.file, data)
        except OSError as error:  # a full disk costs output, never the agent
            complain(f"output: {error}")


def become_subreaper() -> None:
    """Descendants that lose their parent become our children (Linux). Elsewhere the process group must do."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> "list[tuple[int, str]]":
    """Every process below us, as (pid, start time)."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := stat_fields(int(name))):
            parents.setdefault(int(fields[1]), []).append((int(name), fields[19].decode()))
    found: list[tuple[int, str]] = []
    queue = [os.getpid()]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += [pid for pid, _ in children]
    return found


def signal_all(number: int) -> None:
    """Signal every descendant, each through a descriptor that cannot come to mean another process."""
    for pid, began in descendants():
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if start_time(pid) == began:
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            continue
        finally:
            os.close(descriptor)


def usage() -> "tuple[float, float]":
    """Resident MiB and CPU seconds of all descendants together."""
    pages = ticks = 0
    for pid, _ in descendants():
        if fields := stat_fields(pid):
            pages += int(fields[21])
            ticks += sum(map(int, fields[11:15]))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, ticks / os.sysconf("SC_CLK_TCK")


def stat_fields(pid: int) -> "list[bytes] | None":
    """Fields of /proc/PID/stat from the state on, or None where the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat[stat.rindex(b")") + 2 :].split()


def start_time(pid: int) -> "str | None":
    fields = stat_fields(pid)
    return fields[19].decode() if fields else None


def decoded(status: int) -> "dict[str, int | None]":
    code = os.waitstatus_to_exitcode(status)
    return {"code": code if code >= 0 else None, "signal": -code if code < 0 else None}


def kill_grace(order: "dict[str, Any]") -> float:
    """Seconds between SIGTERM and SIGKILL: what the one who asks wrote down (and may shorten), else the order's."""
    try:
        with open("kill", encoding="ascii") as file:
            return float(file.read())
    except (FileNotFoundError, ValueError):
        return float(order["grace_seconds"])


def ring(bell: str) -> None:
    try:
        descriptor = os.open(bell, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return  # nobody listens
    try:
        os.write(descriptor, b"!")
    except OSError:
        return
    finally:
        os.close(descriptor)


def complain(text: str) -> None:
    """To the run folder's runner.log, where that can be written: the disk may be what is wrong."""
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        return


def timestamp() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
