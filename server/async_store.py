"""The database for coroutines. Apart from ``store``, so that what needs no event loop does not import one."""

import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import aiosqlite

from .announcements import Announcer
from .errors import DatabaseBusy
from .store import Durability, Transaction, Unit, connect, in_transaction, tell, unsynced
from .turns import Turns

P = ParamSpec("P")
T = TypeVar("T")


class AsyncStore:
    """The same database for coroutines: each unit is one hop to aiosqlite's thread."""

    def __init__(
        self,
        path: Path,
        *,
        after_commit: Callable[[Collection[str]], None] = lambda _: None,
        durability: Durability = "full",
    ) -> None:
        self.path = path
        self._after_commit = after_commit
        self._durability = durability
        self._announcer = Announcer(path)
        self._writer = _Thread(partial(connect, path, durability=durability), iter_chunk_size=64)
        self._reader = _Thread(partial(connect, path, query_only=True), iter_chunk_size=64)
        self._own: sqlite3.Connection | None = None
        self._turns = Turns(path)

    async def open(self) -> None:
        try:
            await self._writer
            await self._reader
            self._own = await self._reader.hop(lambda _: connect(self.path, query_only=True))
            self._own.execute("PRAGMA busy_timeout = 0")
        except BaseException:
            await self.close()
            raise

    async def run(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``Store.run``."""
        return await self._writer.hop(lambda connection: self._write(connection, unit, args, kwargs))

    async def run_again_if_lost(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``Store.run_again_if_lost``."""

        def write(connection: sqlite3.Connection) -> T:
            with unsynced(connection, self.path, self._durability):
                return self._write(connection, unit, args, kwargs)

        return await self._writer.hop(write)

    def _write(
        self, connection: sqlite3.Connection, unit: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        tx = Transaction(connection)
        result = in_transaction(tx, self.path, self._turns, unit, args, kwargs)
        # Here and not after the hop: the commit of a unit whose coroutine was cancelled is announced as well.
        tell(tx, self._announcer, self._after_commit)
        return result

    async def read(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``Store.read``."""
        return await self._reader.hop(
            lambda connection: in_transaction(Transaction(connection), self.path, None, unit, args, kwargs)
        )

    async def glance(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``read``, for what takes a tenth of the time of handing it to a thread; it waits for nobody here."""
        if self._own is not None:
            with suppress(DatabaseBusy):
                return in_transaction(Transaction(self._own), self.path, None, unit, args, kwargs)
        return await self.read(unit, *args, **kwargs)

    async def close(self) -> None:
        """Ends both threads, also where the caller is cancelled meanwhile: none of them would end by itself."""
        try:
            await self._writer.close()
        finally:
            try:
                await self._reader.close()
            finally:
                self._turns.close()
                if self._own is not None:
                    self._own.close()


class _Thread(aiosqlite.Connection):
    async def hop(self, call: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(call, self._conn)  # type: ignore[no-untyped-call]
        return result
