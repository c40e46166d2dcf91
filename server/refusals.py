"""Records who was refused what; bounded, so that whoever asks without end does not fill the database."""

import logging
import time
from dataclasses import dataclass

from . import clock, identity
from .errors import StoreError
from .yard import Yard

logger = logging.getLogger(__name__)

APART_SECONDS = 1.0
MOST_KINDS = 1_000


@dataclass
class _Kind:
    """The same thing refused to the same caller: when that was last recorded, and how often it came since."""

    recorded_at: float
    since: int = 0


class Refusals:
    """Of one server. The same refusal of the same caller is recorded once a second at most, with how often it came."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard
        self._kinds: dict[tuple[str, str], _Kind] = {}

    async def note(self, name: str, asked: str) -> None:
        """``asked`` names what was asked for, and holds nothing that was given with it."""
        now = time.monotonic()
        known = self._kinds.get((name, asked))
        if known is not None and now - known.recorded_at < APART_SECONDS:
            known.since += 1
            return
        times = 1 if known is None else 1 + known.since
        if len(self._kinds) >= MOST_KINDS:
            self._kinds.clear()
        self._kinds[name, asked] = _Kind(now)
        try:
            await self._yard.store.run(identity.refused, name, asked, times, now=clock.now())
        except StoreError as error:
            logger.warning("a refusal was not recorded: %s", error)
