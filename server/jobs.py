"""Slow acts (git, checks) off the supervisor's thread, one at a time for each subject."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from .errors import DatabaseBusy, LeaseLost

log = logging.getLogger(__name__)

WORKERS = 8
RETRY_SECONDS = 5.0


class Jobs:
    """Runs calls on a few threads. A subject that is at work, or that failed a moment ago, is not started again."""

    def __init__(self, done: Callable[[], None]) -> None:
        """``done`` is called, on the job's thread, when a job has ended."""
        self._done = done
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="crewyard-job")
        self._busy: set[str] = set()
        self._failed: dict[str, float] = {}
        self._lock = Lock()

    def start(self, subject: str, call: Callable[[], None]) -> bool:
        """Start ``call`` for ``subject``; returns whether it was started."""
        with self._lock:
            if subject in self._busy or self._failed.get(subject, 0.0) > time.monotonic():
                return False
            self._busy.add(subject)
        self._pool.submit(self._run, subject, call)
        return True

    def is_busy(self, subject: str) -> bool:
        with self._lock:
            return subject in self._busy

    def is_idle(self) -> bool:
        """Whether no job is at work."""
        with self._lock:
            return not self._busy

    def seconds_to_retry(self) -> float | None:
        """Time until the first failed subject may be started again."""
        with self._lock:
            waits = [until - time.monotonic() for until in self._failed.values()]
        return min((wait for wait in waits if wait > 0), default=None)

    def close(self) -> None:
        """Wait for the jobs at work; those not yet begun are dropped (the database still asks for them)."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, subject: str, call: Callable[[], None]) -> None:
        failed = False
        try:
            call()
        except LeaseLost:
            log.info("%s: another server's supervisor acts now", subject)
        except DatabaseBusy as error:
            failed = True
            log.warning("%s: %s Tried again in %g s.", subject, error.message, RETRY_SECONDS)
        except Exception:  # a fault in one step must not stop the others (design 1)
            failed = True
            log.exception("%s failed; tried again in %g s", subject, RETRY_SECONDS)
        finally:
            with self._lock:
                self._busy.discard(subject)
                self._failed.pop(subject, None)
                if failed:
                    self._failed[subject] = time.monotonic() + RETRY_SECONDS
            self._done()
