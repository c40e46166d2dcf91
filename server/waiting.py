"""Waiting for the database to hold something, without a second's sleep (design 7).

``PRAGMA data_version`` changes with every commit of another connection, this process's writer included; asking for it
takes a few microseconds. What comes with time and not with a commit (a lease that runs out) is looked at every
``RECHECK_SECONDS``.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .async_store import AsyncStore
from .store import Transaction

T = TypeVar("T")
POLL_SECONDS = 0.02
RECHECK_SECONDS = 0.5


async def until(store: AsyncStore, look: Callable[[], Awaitable[T | None]], *, timeout_seconds: float) -> T | None:
    """What ``look`` finds, as soon as it finds something; None after ``timeout_seconds``."""
    end = time.monotonic() + timeout_seconds
    version = await store.read(data_version)
    found = await look()
    looked = time.monotonic()
    while found is None and time.monotonic() < end:
        await anyio.sleep(min(POLL_SECONDS, max(0.0, end - time.monotonic())))
        present = await store.read(data_version)
        if present == version and time.monotonic() - looked < RECHECK_SECONDS:
            continue
        version, looked = present, time.monotonic()
        found = await look()
    return found


def data_version(tx: Transaction) -> int:
    """A number that changes when another connection has committed."""
    return int(tx.value("PRAGMA data_version"))
