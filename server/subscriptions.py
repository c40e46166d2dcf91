"""Who wants to hear of which resources, and when they are told (design 8).

While anybody is subscribed, and only then, one task looks at what the subscribed resources show, whenever any process
has committed, and tells of those that show something else than before. What it costs is bounded: it rests ten times as
long as it looked, and longer the more it told, yet never so long that a change is told after a second.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from .errors import CrewyardError, NotFound, ResourceExhaustion
from .yard import Yard

logger = logging.getLogger(__name__)
Tell = Callable[[str], None]

# What is not in the database is looked at this often.
LOOK_SECONDS = 0.5
REST_SECONDS = 0.05
MOST_REST_SECONDS = 0.5
REST_SHARE = 10
# Who is told reads again, which costs more than to be told; a change after a rest is told at once all the same.
TOLD_A_SECOND = 100
MOST = 1_000
GONE = object()  # what a resource shows that is there no more


@dataclass(frozen=True)
class Sight:
    """How to see that a resource shows something else than before.

    ``look(yard, before, **variables)``, with the variables of the URI, returns what compares equal as long as the
    resource shows the same; times that merely pass are not part of it. ``before`` is what it returned last, at first
    None. ``is_committed`` is False where it changes without a commit.
    """

    look: Callable[..., Awaitable[object]]
    is_committed: bool = True


@dataclass(eq=False)
class _Watched:
    """One URI that somebody is subscribed to."""

    sight: Sight
    variables: dict[str, Any]
    tells: dict[Tell, None] = field(default_factory=dict)
    before: object = None

    async def look(self, uri: str, yard: Yard) -> int:
        """Tell all where it shows something else than at the last look; returns how many were told."""
        try:
            now = await self.sight.look(yard, self.before, **self.variables)
        except NotFound:
            if self.before is None:  # it never was there
                raise
            now = GONE
        before, self.before = self.before, now
        if before is None or now == before:
            return 0
        for tell in list(self.tells):
            tell(uri)
        return len(self.tells)


class Subscriptions:
    """Those of one server. Of one event loop."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard
        self._watched: dict[str, _Watched] = {}
        self._looking: asyncio.Task[None] | None = None

    async def add(self, uri: str, sight: Sight, variables: dict[str, Any], tell: Tell) -> None:
        """From now on ``tell(uri)`` at each change. Whoever reads after this returned is told of all that follows.

        Raises what looking raises, and ResourceExhaustion.
        """
        watched = self._watched.setdefault(uri, _Watched(sight, variables))
        if tell not in watched.tells and sum(len(each.tells) for each in self._watched.values()) >= MOST:
            raise ResourceExhaustion(
                f"There are {MOST} subscriptions already, which is the most.",
                hint="Unsubscribe from what you watch no more, or watch crewyard://status in place of the many.",
            )
        watched.tells[tell] = None
        try:
            if watched.before is None:
                await watched.look(uri, self._yard)
        except BaseException:
            self.remove(uri, tell)
            raise
        if self._watched and (self._looking is None or self._looking.done()):
            self._looking = asyncio.get_running_loop().create_task(self._keep_looking())

    def remove(self, uri: str, tell: Tell) -> None:
        """Forget it; the last one to go ends the looking."""
        watched = self._watched.get(uri)
        if watched is None:
            return
        watched.tells.pop(tell, None)
        if not watched.tells:
            del self._watched[uri]
        if not self._watched and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _keep_looking(self) -> None:
        changes = self._yard.changes
        async with changes.heard():
            while True:
                changed = changes.next()
                await anyio.sleep(await self._look(all_of_them=True))
                while not changed.is_set():
                    with anyio.move_on_after(LOOK_SECONDS):
                        await changed.wait()
                    if not changed.is_set():
                        await self._look(all_of_them=False)

    async def _look(self, *, all_of_them: bool) -> float:
        """Look around once and tell; returns how long to rest."""
        began = time.monotonic()
        told = 0
        for uri, watched in list(self._watched.items()):
            if all_of_them or not watched.sight.is_committed:
                told += await self._look_at(uri, watched)
        return rest_seconds(time.monotonic() - began, told)

    async def _look_at(self, uri: str, watched: _Watched) -> int:
        try:
            return await watched.look(uri, self._yard)
        except (CrewyardError, OSError) as error:
            logger.warning("%s cannot be looked at: %s", uri, error)
            return 0


def rest_seconds(looked: float, told: int) -> float:
    """How long to rest after a look that took so long and told so many."""
    return min(max(REST_SECONDS, REST_SHARE * looked, told / TOLD_A_SECOND), MOST_REST_SECONDS)
