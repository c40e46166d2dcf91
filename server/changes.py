"""Waiting for the database to hold something, without a busy loop (design 7).

One listener a process, however many wait, none while nobody does. It is woken by whoever commits (``announcements``)
and, once in ``LOOK_SECONDS``, looks at ``PRAGMA data_version`` for what nobody announced.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from .announcements import LOOK_SECONDS, Listener
from .async_store import AsyncStore
from .errors import CrewyardError
from .store import data_version

logger = logging.getLogger(__name__)
T = TypeVar("T")
# A burst of commits wakes those who wait at once and then once in this time.
GAP_SECONDS = 0.005


class Changes:
    """Wakes the coroutines of one process when any process has committed. Of one event loop."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._next = anyio.Event()
        self._users = 0
        self._woken_at = float("-inf")
        self._is_due = False
        self._listener: Listener | None = None

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        """Listen while the block lasts."""
        if self._users == 0:
            self._listen()
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                self._leave()

    def next(self) -> anyio.Event:
        """Set at the next commit. Ask for it before you look, so that none is missed in between."""
        return self._next

    async def until(
        self,
        look: Callable[[], Awaitable[T | None]],
        *,
        timeout_seconds: float,
        due: Callable[[], Awaitable[float | None]] | None = None,
    ) -> T | None:
        """What ``look`` finds, as soon as it finds something; None after ``timeout_seconds``.

        ``due`` tells in how many seconds there may be something that came with time and not with a commit.
        """
        if timeout_seconds <= 0:
            return await look()
        end = time.monotonic() + timeout_seconds
        async with self.heard():
            while True:
                changed = self.next()
                found = await look()
                left = end - time.monotonic()
                if found is not None or left <= 0:
                    return found
                soon = await due() if due is not None else None
                with anyio.move_on_after(left if soon is None else min(left, max(soon, GAP_SECONDS))):
                    await changed.wait()

    def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            self._listener = Listener(self._store.path)
            self._loop.add_reader(self._listener.fileno(), self._announced)
        except OSError as error:  # as where no descriptor is left
            logger.warning("no process can wake this one, which looks twice a second instead: %s", error)
            self._listener = None
        self._watching = self._loop.create_task(self._watch())

    def _leave(self) -> None:
        self._watching.cancel()
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    async def _watch(self) -> None:
        """Notice what nobody announced."""
        version: int | None = None
        while True:
            try:
                present = await self._store.read(data_version)
                if present != version:  # at first as well: who waits may have looked before this did
                    self._wake()
                version = present
            except CrewyardError as error:
                logger.warning("%s", error)
            await anyio.sleep(LOOK_SECONDS)

    def _announced(self) -> None:
        if self._listener is not None:
            self._listener.drain()
        if self._is_due:
            return
        wait = self._woken_at + GAP_SECONDS - self._loop.time()
        if wait <= 0:
            self._wake()
        else:
            self._is_due = True
            self._loop.call_later(wait, self._wake)

    def _wake(self) -> None:
        self._is_due = False
        self._woken_at = self._loop.time()
        woken, self._next = self._next, anyio.Event()
        woken.set()
