"""What wakes the supervisor: the bell, the end of a runner, and whatever is due next. It sleeps through nothing."""

import os
import select
from dataclasses import dataclass, field

from . import agent_processes, agents, assignments, clock, dispatches, holds, merges, process
from .crew import Crew


@dataclass
class Lookout:
    """Waits on the runners of live agents, each opened once, beside the bell."""

    _watched: dict[str, int] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)

    def wait(self, crew: Crew, seconds: float) -> None:
        """Until the bell rings, a runner ends, something is due by the database, or ``seconds`` have passed."""
        poller = select.poll()
        poller.register(crew.bell.listen(), select.POLLIN)
        watched = self._runners(crew)
        for descriptor in watched:
            poller.register(descriptor, select.POLLIN)
        ready = poller.poll(1000 * (0.0 if self._gone else min([seconds, *_seconds_to_due(crew)])))
        self._gone |= {watched[descriptor] for descriptor, _ in ready if descriptor in watched}

    def gone(self) -> set[str]:
        """The agents whose runner was seen to have ended since this was last asked."""
        seen, self._gone = self._gone, set()
        return seen

    def close(self) -> None:
        for descriptor in self._watched.values():
            os.close(descriptor)
        self._watched.clear()

    def _runners(self, crew: Crew) -> dict[int, str]:
        """The live agents by the descriptor of their runner."""
        live = {row["agent_id"]: row for row in crew.store.read(agents.live)}
        for agent_id in set(self._watched) - set(live):
            os.close(self._watched.pop(agent_id))
        for agent_id, row in live.items():
            if agent_id not in self._watched and (who := agent_processes.runner_identity(row)) is not None:
                descriptor = process.watch(who)
                if descriptor is not None:
                    self._watched[agent_id] = descriptor
                elif process.HAS_PIDFDS:  # it has ended already
                    self._gone.add(agent_id)
        return {descriptor: agent_id for agent_id, descriptor in self._watched.items()}


def _seconds_to_due(crew: Crew) -> list[float]:
    """How long until each thing that the database has a time for."""
    now, store = clock.now(), crew.store
    due = [
        store.read(assignments.next_due, now=now),
        store.read(merges.next_due, now=now),
        store.read(dispatches.handover_ends, now),
        store.read(holds.next_end, now),
        store.read(holds.next_passed_trial, crew.settings.launch.failed_start_seconds),
    ]
    return [max(0.0, clock.seconds_between(now, text)) for text in due if text is not None]
