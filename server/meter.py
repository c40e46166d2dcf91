"""Takes samples of the machine and of agents' processes, and notices what the machine is short of (R-148, R-152)."""

import collections
from dataclasses import dataclass, field

from . import agent_processes, agents, clock, host, samples, shortages
from .crew import ACTOR, Crew
from .machine import Machine
from .usage import Sampler

# A peak is no shortage, and a moment's rest is no end of one.
ONSET_LOOKS, RELIEF_LOOKS = 2, 4


@dataclass
class Meter:
    """Remembers how many times in a row it saw each resource short (above 0) or in order again (below 0)."""

    _sampler: Sampler = field(default_factory=Sampler)
    _row: collections.Counter[str] = field(default_factory=collections.Counter)

    def look(self, crew: Crew) -> None:
        """One sample, and at most one span of old ones thinned."""
        seen, live = crew.machine.glance(), crew.store.read(agents.live)
        used = self._sampler.glance({row["agent_id"]: agent_processes.tree_of(row) for row in live})
        now = clock.now()
        figures = {name: (each.cpu_percent, each.memory_mb) for name, each in used.items()}
        crew.note(samples.record, seen, figures, now=now)
        span = crew.store.read(samples.overdue, crew.settings.monitoring, now=now)
        if span is not None:
            crew.note(samples.thin, span)
        self._notice(crew, seen, len(live))

    def _notice(self, crew: Crew, seen: Machine, at_work: int) -> None:
        found = {
            each.resource: each
            for each in shortages.find(seen, host.load_of(seen), crew.settings.launch, agents_at_work=at_work)
        }
        lasting = crew.store.read(shortages.lasting)
        for name, percent in seen.percents.items():
            before = self._row[name]
            self._row[name] = max(1, before + 1) if name in found else min(-1, before - 1)
            if name not in lasting and self._row[name] >= ONSET_LOOKS:
                crew.write(shortages.begin, found[name], now=clock.now(), actor=ACTOR)
            if name in lasting and self._row[name] <= -RELIEF_LOOKS:
                crew.write(shortages.end, name, percent, now=clock.now(), actor=ACTOR)
