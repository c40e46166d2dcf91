"""Starts runners: of agents, and of checks. All are forked from one small process that ends with this one."""

import logging
import marshal
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import journals, process
from .errors import SpawnFailed
from .process import Identity

log = logging.getLogger(__name__)

ORDER = "launch.marshal"
OUTPUT_LIMIT_BYTES = 10 * 2**20
NEVER = 1e9
TRIES = 5
ANSWER_SECONDS = 5.0
GRACE_SECONDS = 2.0
LAST_WORDS_SECONDS = 5.0


@dataclass(frozen=True)
class Finished:
    """How a command ended; ``code`` is negative for a signal, None where it ran out of time."""

    code: int | None
    seconds: float


class Runners:
    """The fork server of one process and repository, started when it is first needed. Safe to share between threads."""

    def __init__(self, runs: Path) -> None:
        """``runs`` is the folder of run folders; it stands in the fork server's environment, as the mark of ours."""
        self._runs = runs
        self._server: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self, run_dir: Path) -> Identity | None:
        """Start a runner on the order in ``run_dir``; None where it has ended already. Raises SpawnFailed.

        Asking again for the same folder starts nothing twice: the runner that claims it first keeps it.
        """
        with self._lock:
            for _ in range(TRIES):
                if self._server is None:
                    self._server = process.start_fork_server(self._runs)
                answer = self._ask(self._server, run_dir)
                if answer:
                    pid, began = answer.decode().split()
                    return None if began == "-" else Identity(int(pid), began, process.boot_id())
                self._end_server()  # somebody killed it; what it started goes on
                claim = journals.runner_of(run_dir)
                if claim is not None:
                    return Identity(*claim, process.boot_id())
        raise SpawnFailed("The parent of the runners cannot be started.", hint=f"See {self._runs}/forkserver.log.")

    def close(self) -> None:
        """Returns when the fork server has ended; the runners go on. May be called twice."""
        with self._lock:
            self._end_server()

    def check(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        timeout_seconds: float,
        environment: Mapping[str, str],
        stdin: Path | None = None,
    ) -> Finished:
        """Run a check to its end, its output in ``log``; nothing that it started outlives it. Raises SpawnFailed."""
        end_check(log)  # one of the same name may have outlived the server that started it
        began = time.monotonic()
        run_dir = _run_dir(log)
        shutil.rmtree(run_dir, ignore_errors=True)
        run_dir.mkdir(mode=0o700, parents=True)
        order = {
            "argv": list(command),
            "cwd": str(cwd),
            "env": {**environment, process.CHECK_VARIABLE: str(log)},
            "bell": os.devnull,
            "output": str(log),
            "output_limit_bytes": OUTPUT_LIMIT_BYTES,
            "timeout_seconds": timeout_seconds,
            "memory_limit_mb": None,
            "beat_seconds": NEVER,
            "grace_seconds": GRACE_SECONDS,
            "stdin": str(stdin or os.devnull),
        }
        write_order(run_dir, order)
        who = self.start(run_dir)
        if who is not None:
            process.wait_until_gone(who, NEVER)
        try:
            return Finished(_code(journals.Reader().read(run_dir), command), time.monotonic() - began)
        finally:
            end_check(log)
            shutil.rmtree(run_dir, ignore_errors=True)

    def _ask(self, server: "subprocess.Popen[bytes]", run_dir: Path) -> bytes:
        """The fork server's answer, empty where it is gone."""
        if server.stdin is None or server.stdout is None:
            return b""
        try:
            server.stdin.write(os.fsencode(run_dir) + b"\0")
            server.stdin.flush()
        except BrokenPipeError:
            return b""
        if not select.select([server.stdout], [], [], ANSWER_SECONDS)[0]:
            log.warning("the parent of the runners does not answer; another one is started")
            server.kill()
            return b""
        answer: bytes = server.stdout.readline()
        return answer

    def _end_server(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        try:
            server.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def write_order(run_dir: Path, order: dict[str, Any]) -> None:
    """Lay down what the runner of ``run_dir`` is to do, for its owner's eyes only: it may hold a token."""
    descriptor = os.open(run_dir / ORDER, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        marshal.dump(order, file)


def ask_to_end(run_dir: Path, who: Identity, grace_seconds: float) -> None:
    """Have a runner end what it keeps, after that grace. May be asked again, with less of it."""
    wish, grace = run_dir / "kill", str(grace_seconds)
    if not wish.exists() or wish.read_text(encoding="ascii") != grace:
        partial = run_dir / "kill.new"
        partial.write_text(grace, encoding="ascii")
        partial.replace(wish)
    # Each time: whoever wrote the wish may have died before it came to that. A runner that was stopped goes on for it.
    process.send(who, signal.SIGTERM)
    process.send(who, signal.SIGCONT)


def end_check(log: Path) -> None:
    """Have the check that writes to ``log`` ended, if one does, with all that it started."""
    run_dir = _run_dir(log)
    claim = journals.runner_of(run_dir)
    if claim is not None:
        who = Identity(*claim, process.boot_id())
        if process.is_alive(who):
            ask_to_end(run_dir, who, 0.0)
            process.wait_until_gone(who, LAST_WORDS_SECONDS)
    process.end_check(log, journals.group_of(run_dir))


def _run_dir(log: Path) -> Path:
    return log.with_suffix(".run")


def _code(journal: journals.Journal, command: Sequence[str]) -> int | None:
    """The check's exit code as ``Finished`` has it. Raises SpawnFailed where it did not start."""
    if journal.not_started is not None:
        raise SpawnFailed(f"The check {command[0]!r} cannot be started: {journal.not_started['message']}.")
    ended = journal.ended
    if ended is None:
        return -signal.SIGKILL
    if ended["reason"] == "timeout":
        return None
    return int(ended["code"]) if ended["signal"] is None else -int(ended["signal"])
