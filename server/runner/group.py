"""A control group (cgroup v2) of one agent's own, where one can be made: what is in it cannot get out and cannot hide.

It ends everything in one write, a daemon without parent, session or environment included, also when the runner itself
was killed. Where the memory controller is delegated to us the kernel keeps the limit; elsewhere it is measured
(``limits``), and where no group can be made the subreaper's sweep must do.
"""

import contextlib
import os
import time

from .descendants import start_time

PREFIX = "crewyard-"
NAME_WORDS = 3  # crewyard-PID-START
MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
LOOK_SECONDS = 0.005
REMOVE_SECONDS = 1.0


class Group:
    """``folder`` is the group's, ``home`` the one that the runner itself lives in."""

    def __init__(self, folder: str, home: str) -> None:
        self.folder = folder
        self.home = home
        self.limits_memory = False

    def limit_memory(self, megabytes: "int | None") -> None:
        """Let the kernel keep the limit, all at once when it is reached, where it can."""
        if megabytes and os.path.exists(f"{self.folder}/memory.max"):
            _write(f"{self.folder}/memory.oom.group", "1")
            self.limits_memory = _write(f"{self.folder}/memory.max", str(megabytes * 2**20))

    def enter(self) -> bool:
        """Whatever is started from now on is born in the group."""
        return _write(f"{self.folder}/cgroup.procs", "0")

    def leave(self) -> bool:
        return _write(f"{self.home}/cgroup.procs", "0")

    def ran_out_of_memory(self) -> bool:
        try:
            with open(f"{self.folder}/memory.events", encoding="ascii") as file:
                return any(line.split() > ["oom_kill", "0"] for line in file if line.startswith("oom_kill "))
        except OSError:
            return False

    def kill(self) -> bool:
        """SIGKILL to everything in it; returns whether that could be said."""
        return _write(f"{self.folder}/cgroup.kill", "1")

    def remove(self) -> None:
        """Kill what is in it and take it away; one that stays busy is left empty."""
        deadline = time.monotonic() + REMOVE_SECONDS
        self.kill()
        while not self._remove_once() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)

    def _remove_once(self) -> bool:
        """Groups within it first: an agent may have run a crew of its own."""
        for folder, _, _ in os.walk(self.folder, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                continue
        return not os.path.exists(self.folder)


def is_one(folder: str) -> bool:
    """Whether that is the place and name of a group that a runner makes."""
    return os.path.basename(folder).startswith(PREFIX) and folder.startswith(MOUNTS[0] + "/")


def make(name: str) -> "Group | None":
    """A new group, entered already; None where there is no cgroup v2 that we may write to.

    It lies beside our own where the memory controller is handed on there (a group with processes in it hands nothing
    on), else below our own.
    """
    home = _home()
    if home is None:
        return None
    beside = os.path.dirname(home)
    places = [beside, home] if "memory" in _read(f"{beside}/cgroup.subtree_control").split() else [home]
    for place in places:
        made = Group(f"{place}/{PREFIX}{name}", home)
        if not os.access(f"{place}/cgroup.procs", os.W_OK):
            continue
        try:
            os.mkdir(made.folder)
        except OSError:
            continue
        if os.path.exists(f"{made.folder}/cgroup.kill") and made.enter():
            return made
        os.rmdir(made.folder)
    return None


def clear_leftovers() -> None:
    """Take away the empty groups of runners that were killed: each is named by its runner's pid and start time."""
    home = _home()
    for place in {home, os.path.dirname(home)} if home else ():
        for name in os.listdir(place):
            words = name.split("-")
            if name.startswith(PREFIX) and len(words) == NAME_WORDS and words[1].isdigit():
                gone = start_time(int(words[1])) != words[2]
                if gone and not _read(f"{place}/{name}/cgroup.procs"):
                    with contextlib.suppress(OSError):
                        os.rmdir(f"{place}/{name}")


def _home() -> "str | None":
    """Our own group's folder, where processes may be put back into it."""
    own = next((line[3:] for line in _read("/proc/self/cgroup").splitlines() if line.startswith("0::")), None)
    if own is None:
        return None
    for mount in MOUNTS:
        folder = (mount + own).rstrip("/")
        if os.path.exists(f"{mount}/cgroup.controllers") and os.access(f"{folder}/cgroup.procs", os.W_OK):
            return folder
    return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> bool:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return True
    except OSError:
        return False
