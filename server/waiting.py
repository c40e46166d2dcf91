"""Waiting on a thread for the database to change, without a busy loop; ``changes`` does so for coroutines.

Woken by whoever commits (``announcements``); what nobody announced is found by ``PRAGMA data_version``, twice a second.
"""

import logging
import os
import select
import stat
import time
from types import TracebackType
from typing import Self

from .announcements import LOOK_SECONDS, Listener
from .store import Store, data_version

logger = logging.getLogger(__name__)


class Waiting:
    """Of one thread. What was committed after it was made is not missed. A context manager."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._poll = select.poll()
        self._listener: Listener | None = None
        try:
            self._listener = Listener(store.path)
            self._poll.register(self._listener.fileno(), select.POLLIN)
        except OSError as error:  # as in a folder that is only to be read
            logger.info("no process can wake this one, which looks twice a second instead: %s", error)
        self._version = store.read(data_version)

    def watch_reader(self, descriptor: int) -> None:
        """Let ``until_changed`` end where nobody reads any more what is written to this pipe."""
        self._poll.register(descriptor, 0)  # an error is told unasked

    def until_changed(self, seconds: float = float("inf")) -> bool:
        """Whether some process has committed before ``seconds`` were over. Raises BrokenPipeError."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for descriptor, event in self._poll.poll(1000 * min(left, LOOK_SECONDS)):
                if self._listener is None or descriptor != self._listener.fileno():
                    raise BrokenPipeError(f"descriptor {descriptor}: {event}")
                self._listener.drain()
            before, self._version = self._version, self._store.read(data_version)
            if self._version != before:
                return True
        return False

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_pipe(descriptor: int) -> bool:
    """Whether what is written there goes to another process."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
