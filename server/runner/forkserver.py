"""The parent of a server's runners: forks one for each run folder that comes in, and ends when the server does.

An order is a path with a zero byte behind it, on standard input. The answer on standard output is a line with the new
runner's pid and start time. Nothing else is in this process, no thread above all, so that a fork is a whole runner.
"""

import gc
import os
import signal

from . import agent
from .descendants import become_subreaper, start_time


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # runners that have ended leave no zombie
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A runner takes it when it is ready to; one that comes before that must not be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    gc.collect()
    gc.freeze()  # a collection in a runner would write to, and so copy, what it shares with us
    pending = b""
    while data := os.read(0, 65536):
        *orders, pending = (pending + data).split(b"\0")
        for order in orders:
            pid = os.fork()
            if pid == 0:
                _become_runner(os.fsdecode(order))
            os.write(1, f"{pid} {start_time(pid) or '-'}\n".encode())


def _become_runner(run_dir: str) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        _leave_the_server(run_dir)
        gc.disable()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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
    os.close(nothing)
    os.close(log)
