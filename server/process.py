"""The one door to processes: who they are, whether they live, starting, signalling and ending them.

Identity is (pid, start time, boot id). Nothing is signalled by a bare pid or by name: a process is opened by a pidfd,
its start time is compared, and the signal goes through that descriptor, so that a pid used anew is never hit.
"""

import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .errors import SpawnFailed
from .runner import group

RUNNER = Path(__file__).parent / "runner" / "__main__.py"
RUNS_VARIABLE = "CREWYARD_RUNS"
# Each holds a path of one run in one repository: no two processes of different runs share its value.
AGENT_VARIABLE = "CREWYARD_PROMPT_FILE"
CHECK_VARIABLE = "CREWYARD_CHECK_LOG"
HAS_PIDFDS = hasattr(os, "pidfd_open")  # not on macOS


@dataclass(frozen=True)
class Identity:
    """One process and no other, on this boot of this machine."""

    pid: int
    start_time: str
    boot_id: str


Child = subprocess.Popen[bytes]


@cache
def boot_id() -> str:
    """Differs after each boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:  # macOS, untested
        import psutil

        return str(int(psutil.boot_time()))


def start_time(pid: int) -> str | None:
    """When the process began, as text that only it can have; None where it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _start_time_elsewhere(pid)
    # The name in brackets may hold anything; the fields behind it do not.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def identify(pid: int) -> Identity | None:
    """The process that has ``pid`` now."""
    began = start_time(pid)
    return None if began is None else Identity(pid, began, boot_id())


def myself() -> Identity:
    found = identify(os.getpid())
    if found is None:
        raise SpawnFailed("This process cannot be found in the process table.")
    return found


def is_alive(who: Identity) -> bool:
    """Whether that very process still runs."""
    return who.boot_id == boot_id() and start_time(who.pid) == who.start_time


def age_of(who: Identity) -> float | None:
    """Seconds since that very process began; None where it has ended."""
    if not is_alive(who):
        return None
    if not hasattr(time, "CLOCK_BOOTTIME"):  # macOS, untested
        return max(0.0, time.time() - float(who.start_time))
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(who.start_time) / os.sysconf("SC_CLK_TCK"))


def send(who: Identity, number: signal.Signals) -> bool:
    """Signal that very process; returns whether it was there."""
    if not HAS_PIDFDS:  # macOS, untested: a small race is left
        if not is_alive(who):
            return False
        os.kill(who.pid, number)
        return True
    descriptor = watch(who)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except (ProcessLookupError, PermissionError):  # gone, or another user's by now
        return False
    finally:
        os.close(descriptor)
    return True


def watch(who: Identity) -> int | None:
    """A descriptor that becomes readable when the process ends; None where it has, or where there are no pidfds."""
    if not HAS_PIDFDS or who.boot_id != boot_id():
        return None
    try:
        descriptor = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return None
    if start_time(who.pid) != who.start_time:
        os.close(descriptor)
        return None
    return descriptor


def wait_until_gone(who: Identity, seconds: float) -> bool:
    """Wait at most that long for the process to end; returns whether it did."""
    descriptor = watch(who)
    if descriptor is None:
        return not is_alive(who)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def start_fork_server(runs: Path) -> "subprocess.Popen[bytes]":
    """Start the parent of runners, in a session of its own; it ends when its standard input is closed.

    By path and without site-packages: it needs the standard library only. Its environment holds nothing of ours but the
    folder of the runs: what a runner's agent gets stands in its order.
    """
    for folder in (runs.parent, runs):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    log_file = os.open(runs / "forkserver.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(log_file, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(RUNNER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={RUNS_VARIABLE: str(runs)},
        )


def start_detached(command: Sequence[str], *, log: Path, inherits: int) -> Child:
    """Start a program that is to outlive us, in a session of its own.

    It writes to ``log``, which its owner alone may read; ``inherits`` is the one descriptor of ours that it gets.
    """
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[inherits],
            start_new_session=True,
            cwd="/",
        )


def answer_of(command: Sequence[str], environment: Mapping[str, str], seconds: float) -> str | None:
    """What a program prints and ends with 0; None where it does not, or not in that time. It reads nothing."""
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            cwd="/",
        )
    except OSError:
        return None
    try:
        said, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    return said.decode(errors="replace") if child.returncode == 0 else None


def users_of(path: Path) -> list[tuple[Identity, str]]:
    """The processes, we ourselves left out, that have the file open, each with its command line."""
    import psutil

    found = []
    for each in psutil.process_iter():
        try:
            if each.pid != os.getpid() and any(file.path == str(path) for file in each.open_files()):
                who = identify(each.pid)
                if who is not None:
                    found.append((who, shlex.join(each.cmdline())))
        except psutil.Error:
            continue
    return found


def end_agent(prompt_file: Path, own_group: Path | None) -> None:
    """Kill all that is left of the agent with that prompt, for when its runner is gone."""
    _end_left(f"{AGENT_VARIABLE}={prompt_file}", own_group)


def end_check(log: Path, own_group: Path | None) -> None:
    """As ``end_agent``, for what is left of the check that writes to ``log``."""
    _end_left(f"{CHECK_VARIABLE}={log}", own_group)


def _end_left(mark: str, own_group: Path | None) -> None:
    """Kill what lies in the control group that a runner of ours made, and what carries ``mark`` in its environment."""
    if own_group is not None and group.is_one(str(own_group)):
        group.Group(str(own_group), str(own_group.parent)).remove()
    while found := [who for who in _marked(mark.encode()) if send(who, signal.SIGKILL)]:
        for who in found:
            wait_until_gone(who, 1.0)


def agents_by_prompt_file(runs: Path) -> dict[Path, int]:
    """How many processes carry the prompt file of each agent whose run folder lies in ``runs``."""
    import psutil

    prefix = f"{AGENT_VARIABLE}={runs}/".encode()
    found: dict[Path, int] = {}
    for pid in psutil.pids():
        for variable in _environment(pid):
            if variable.startswith(prefix):
                path = Path(os.fsdecode(variable.partition(b"=")[2]))
                found[path] = found.get(path, 0) + 1
    return found


def wait_for_marked(mark: str, seconds: float, unless: Callable[[], bool]) -> bool:
    """Wait until no process but ours carries ``mark`` (NAME=VALUE) in its environment; returns whether none does.

    Not longer than ``seconds``, nor once ``unless`` is true.
    """
    deadline = time.monotonic() + seconds
    while found := next(_marked(mark.encode()), None):
        wait_until_gone(found, min(0.1, max(0.0, deadline - time.monotonic())))
        if time.monotonic() >= deadline or unless():
            return False
    return True


def _marked(wanted: bytes) -> Iterator[Identity]:
    import psutil

    for pid in psutil.pids():
        if pid != os.getpid() and wanted in _environment(pid):
            who = identify(pid)
            if who is not None:
                yield who


def is_git_at_work(checkout: Path, ours: str) -> bool:
    """Whether a git that may change something works in ``checkout``; one that has ``ours`` in its environment may not.

    Another user's, of which nobody can tell where it works, counts.
    """
    import psutil

    for each in psutil.process_iter():
        try:
            if each.name() != "git" or "cat-file" in each.cmdline() or ours in each.environ():
                continue
            here = Path(each.cwd())
        except psutil.AccessDenied:
            return True
        except psutil.NoSuchProcess:  # it has just ended
            continue
        if next((at for at in (here, *here.parents) if (at / ".git").exists()), None) == checkout:
            return True
    return False


def _environment(pid: int) -> list[bytes]:
    """The variables that the process was started with; none where it is gone or another user's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _start_time_elsewhere(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.NoSuchProcess:
        return None
