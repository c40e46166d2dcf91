"""``crewyard start``: a server over HTTP, with its supervisor, in the background (R-298, R-299)."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from . import clock, daemon, holds, overview, process, settings
from .daemon import Daemon
from .errors import InvalidInput, StartupTimeout
from .overview import Overview
from .paths import Paths
from .repository import Repository
from .settings import Settings
from .store import Store
from .wakeup import Bell

ACTOR = "start"
READY_SECONDS = 60.0
END_SECONDS = 5.0
LAST_LINES = 20


@dataclass(frozen=True)
class Started:
    """A daemon that runs; ``is_new`` where this call started it. ``seen`` is what it finds to do."""

    daemon: Daemon
    is_new: bool
    log: Path
    only: list[str] | None
    seen: Overview


def start(start: Path, host: str, port: int, only: Collection[str] | None, waits: Callable[[], None]) -> Started:
    """Start the daemon, or find it running; returns when it is ready. ``only`` these agent types are launched.

    ``waits`` is called where somebody stops the daemon meanwhile. Raises a CrewyardError, the daemon's own where it
    could not begin; then nothing of it is left but its log.
    """
    repository = Repository.discover(start)
    configured = settings.load(repository.root)
    for name in only or ():
        configured.agent(name)
    paths = Paths(repository.root, configured)
    repository.exclude(paths.excludes())
    with daemon.changing(paths, alone=True, waits=waits):
        found = daemon.running(paths)
        is_new = found is None
        if found is None:
            found = _launch(paths, host, port, only)
        else:
            let_in(paths, configured, only)
    chosen = None if only is None else sorted(only)
    return Started(found, is_new, paths.daemon_log, chosen, _overview(paths))


def let_in(paths: Paths, configured: Settings, only: Collection[str] | None) -> None:
    """Lift the stop, and say which agent types are launched."""
    store = Store(paths.database)
    try:
        known = {*configured.agents, *configured.built_in}
        store.run(holds.start_only, only, known, now=clock.now(), actor=ACTOR)
    finally:
        store.close()
    Bell(paths.bell).ring()


def _launch(paths: Paths, host: str, port: int, only: Collection[str] | None) -> Daemon:
    log = paths.daemon_log
    if log.exists():
        log.replace(log.with_suffix(".log.1"))  # the last life's
    ours, theirs = os.pipe()
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    command = [sys.executable, "-P", "-m", "crewyard.server.cli", "serve", "--repo", str(paths.root)]
    command += ["--http", address, "--as-daemon", str(theirs)]
    command += [] if only is None else ["--agents", ",".join(sorted(only))]
    try:
        child = process.start_detached(command, log=log, inherits=theirs)
    finally:
        os.close(theirs)
    ready = False
    try:
        word = _listen(ours, READY_SECONDS)
        found = daemon.running(paths) if word == b"{}" else None
        if found is None:
            raise _why(word, log)
        ready = True
        return found
    finally:
        os.close(ours)
        if not ready:
            _end(child)


def _listen(descriptor: int, seconds: float) -> bytes:
    """All that comes until the other side closes it. Raises StartupTimeout."""
    deadline = time.monotonic() + seconds
    heard = b""
    while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
        more = os.read(descriptor, 65536)
        if not more:
            return heard
        heard += more
    raise StartupTimeout(f"The daemon was not ready within {seconds:g} s; it was ended.")


def _why(word: bytes, log: Path) -> InvalidInput:
    try:
        told = json.loads(word)
        return InvalidInput(told["message"], hint=told["hint"], cause=told["code"])
    except (ValueError, KeyError):
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return InvalidInput("The daemon ended before it was ready; its last words:\n" + "\n".join(last))


def _end(child: process.Child) -> None:
    """Where it gave a reason it ends by itself; in any case it is gone when this returns."""
    who = process.identify(child.pid)
    if who is not None:
        process.send(who, signal.SIGTERM)
        if not process.wait_until_gone(who, END_SECONDS):
            process.send(who, signal.SIGKILL)
    child.wait()


def _overview(paths: Paths) -> Overview:
    store = Store(paths.database)
    try:
        return store.read(overview.overview, now=clock.now(), uptime=clock.uptime())
    finally:
        store.close()
