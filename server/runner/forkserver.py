"""The parent of a server's runners: forks one for each run folder that comes in, and ends when the server does.

An order is a path with a zero byte behind it, on standard input. The answer on standard output is a line with the
runner's pid and start time. Nothing else is in this process, no thread above all, so that a fork is a whole runner.

One runner stands ready at any time, in a control group of its own: to enter one takes the kernel 8 ms and more. What a
runner that was killed leaves behind falls to this process, as the next subreaper above, and is ended at once.
"""

import gc
import os
import select
import signal

from . import agent, group
from .descendants import become_subreaper, descendants, kill_all, start_time

PLENTY = 65536


class ForkServer:
    """``runners`` are those that were forked here and live, the one that stands ready included."""

    def __init__(self) -> None:
        self.runners: set[int] = set()
        self.pending = b""
        self._make_ready()

    def serve(self) -> None:
        """Until standard input is closed."""
        wake, wake_writer = os.pipe()
        for end in (wake, wake_writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poller = select.poll()
        for descriptor in (0, wake):
            poller.register(descriptor, select.POLLIN)
        while True:
            ready = dict(poller.poll())
            if wake in ready:
                os.read(wake, PLENTY)
                self._reap()
            if 0 in ready:
                data = os.read(0, PLENTY)
                if not data:
                    return
                self._take(data)

    def _take(self, data: bytes) -> None:
        *orders, self.pending = (self.pending + data).split(b"\0")
        for order in orders:
            while not self._hand_over(order):  # somebody killed the one that stood ready
                self._make_ready()
            os.write(1, f"{self.ready} {start_time(self.ready) or '-'}\n".encode())
            self._make_ready()

    def _hand_over(self, order: bytes) -> bool:
        try:
            os.write(self.door, order + b"\0")
        except BrokenPipeError:
            return False
        finally:
            os.close(self.door)
        return True

    def _make_ready(self) -> None:
        """Fork the next runner; it waits behind ``door`` for its run folder."""
        behind, self.door = os.pipe()
        self.ready = os.fork()
        if self.ready == 0:
            _become_runner(behind)
        os.close(behind)
        self.runners.add(self.ready)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                break
            self.runners.discard(pid)
        if descendants(but=self.runners):
            kill_all(but=self.runners)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A runner takes it when it is ready to; one that comes before that must not be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    become_subreaper()
    group.clear_leftovers()
    gc.collect()
    gc.freeze()  # a collection in a runner would write to, and so copy, what it shares with us
    ForkServer().serve()


def _become_runner(door: int) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        _leave_the_server(door)
        gc.disable()
        become_subreaper()
        own = group.make(f"{os.getpid()}-{start_time(os.getpid())}")
        run_dir = _come_in(door)
        if run_dir:
            _log_to(os.path.join(run_dir, "runner.log"))
            code = agent.main(run_dir, own)
        else:
            code = 0
            if own is not None and own.leave():
                own.remove()
    except BaseException:  # noqa: BLE001  (to the run folder's runner.log, which standard error is by now)
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _leave_the_server(door: int) -> None:
    """Nothing of the server's is held open: it must see our parent's end as the end of its pipes."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for target in (0, 1):
        os.dup2(nothing, target)
    os.closerange(3, door)
    os.closerange(door + 1, PLENTY)


def _come_in(door: int) -> str:
    """The run folder, once it is known; empty where the parent ended without another order."""
    path = b""
    while not path.endswith(b"\0"):
        data = os.read(door, PLENTY)
        if not data:
            return ""
        path += data
    os.close(door)
    return os.fsdecode(path[:-1])


def _log_to(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 2)
    os.close(log)
