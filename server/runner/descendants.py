"""Every process below a runner: found, measured, signalled. As child subreaper it is the parent of every orphan.

Where there is no ``/proc`` (macOS, untested) the agent's process group must do, and nothing is measured.
"""

import contextlib
import ctypes
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable

PR_SET_CHILD_SUBREAPER = 36
MOST_PASSES = 100
PROC = "/proc"
HAS_PROC = os.path.exists(f"{PROC}/self/stat")
HAS_CHILDREN = os.path.exists(f"{PROC}/self/task/{os.getpid()}/children")


def become_subreaper() -> None:
    """Descendants that lose their parent become our children (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(but: "Container[int]" = ()) -> "list[tuple[int, str]]":
    """Every process below us, as (pid, start time), without those children in ``but`` and what is below them."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for name in os.listdir(PROC) if HAS_PROC else ():
        if name.isdigit() and (fields := stat_fields(int(name))):
            parents.setdefault(int(fields[1]), []).append((int(name), fields[19].decode()))
    found: list[tuple[int, str]] = []
    queue = [os.getpid()]
    while queue:
        children = [child for child in parents.get(queue.pop(), []) if child[0] not in but]
        found += children
        queue += [pid for pid, _ in children]
    return found


def signal_all(number: int, agent: int) -> None:
    """Signal every descendant; where they cannot be found, the agent's process group."""
    if HAS_PROC:
        _send(number, descendants())
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(agent, number)


def kill_all(but: "Container[int]" = ()) -> None:
    """SIGKILL to every descendant, stopped first: nothing that stands still starts another while it is looked at."""
    stopped: set[tuple[int, str]] = set()
    for _ in range(MOST_PASSES):
        running = set(descendants(but)) - stopped
        if not running:
            break
        _send(signal.SIGSTOP, running)
        stopped |= running
    _send(signal.SIGKILL, descendants(but))


def _send(number: int, whom: "Iterable[tuple[int, str]]") -> None:
    """Each through a descriptor that cannot come to mean another process; one that changed its user is out of reach."""
    for pid, began in whom:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if start_time(pid) == began:
                signal.pidfd_send_signal(descriptor, number)
        except (ProcessLookupError, PermissionError):
            continue
        finally:
            os.close(descriptor)


def usage() -> "tuple[float, float]":
    """Resident MiB and CPU seconds of all descendants together."""
    pages = ticks = 0
    for pid in _below() if HAS_CHILDREN else [pid for pid, _ in descendants()]:
        if fields := stat_fields(pid):
            pages += int(fields[21])
            ticks += sum(map(int, fields[11:15]))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, ticks / os.sysconf("SC_CLK_TCK")


def _below() -> "list[int]":
    """As ``descendants``, at the cost of ours alone, however many others run; one may be missed while another ends.

    With a hundred runners that each look at all processes of a hundred agents now and then, that is 3 % of a core.
    """
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        children = _children(queue.pop())
        found += children
        queue += children
    return found


def _children(pid: int) -> "list[int]":
    """A child is its parent's thread's that started it."""
    threads, found = f"{PROC}/{pid}/task", b""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(threads):
            with contextlib.suppress(OSError), open(f"{threads}/{thread}/children", "rb") as file:
                found += file.read()
    return [int(child) for child in found.split()]


def stat_fields(pid: int) -> "list[bytes] | None":
    """Fields of /proc/PID/stat from the state on, or None where the process is gone."""
    try:
        with open(f"{PROC}/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat[stat.rindex(b")") + 2 :].split()


def start_time(pid: int) -> "str | None":
    fields = stat_fields(pid)
    return fields[19].decode() if fields else None
