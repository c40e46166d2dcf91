"""The parent of a server's runners: forks one for each run folder that comes in, and ends when the server does.

An order is a path with a zero byte behind it, on standard input. The answer on standard output is a line with the new
runner's pid and start time. Nothing else is in this process, no thread above all, so that a fork is a whole runner.

What a runner that was killed leaves behind falls to this process, as the next subreaper above, and is ended at once.
"""

import gc
import os
import select
import signal

from . import agent
from .descendants import become_subreaper, descendants, kill_all, start_time

PLENTY = 65536


class ForkServer:
    """``runners`` are those that were started here and live."""

    def __init__(self) -> None:
        self.runners: set[int] = set()
        self.pending = b""

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
            pid = os.fork()
            if pid == 0:
                _become_runner(os.fsdecode(order))
            self.runners.add(pid)
            os.write(1, f"{pid} {start_time(pid) or '-'}\n".encode())

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
    gc.collect()
    gc.freeze()  # a collection in a runner would write to, and so copy, what it shares with us
    ForkServer().serve()


def _become_runner(run_dir: str) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        _leave_the_server(run_dir)
        gc.disable()
        become_subreaper()
        code = agent.main(run_dir)
    except BaseException:  # noqa: BLE001  (to the run folder's runner.log, which standard error is by now)
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _leave_the_server(run_dir: str) -> None:
    """Nothing of the server's is held open: it must see our parent's end as the end of its pipes."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(os.path.join(run_dir, "runner.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    os.closerange(3, PLENTY)
