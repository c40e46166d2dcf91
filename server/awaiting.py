"""Waiting until the database shows what became of a wish."""

import time
from collections.abc import Callable
from typing import TypeVar

from .crew import Crew
from .errors import StartupTimeout
from .store import Transaction

T = TypeVar("T")

LOOK_SECONDS = 0.02
WAIT_SECONDS = 30.0


def awaited(crew: Crew, look: Callable[[Transaction], T | None], found: Callable[[T], bool] = lambda _: True) -> T:
    """What ``look`` reads, once ``found`` says so. Raises StartupTimeout where no supervisor got to it."""
    crew.bell.ring()
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        seen = crew.store.read(look)
        if seen is not None and found(seen):
            return seen
        if time.monotonic() >= deadline:
            raise StartupTimeout(
                f"The supervisor has not done it within {WAIT_SECONDS:g} s; it is still recorded.",
                hint="The resource crewyard://status shows who supervises.",
            )
        time.sleep(LOOK_SECONDS)
