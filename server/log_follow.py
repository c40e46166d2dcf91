"""An agent's output as it grows: over rotations and, for a task, on to its next agent. No byte twice, none left out.

It is shown as a person reads it, or byte for byte.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import agents, kinds, states, transcripts
from .errors import AgentNotFound, NotFound
from .output_stream import Output, Words
from .store import Reader, Row, Store, Transaction

LOOK_SECONDS = 0.2
SETTLED = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Worked:
    """Who works or worked under a name, oldest first. ``is_over``: nobody will write any more."""

    agents: list[Row]
    is_task: bool
    is_over: bool


def worked(tx: Transaction, name: str) -> Worked:
    """The agent of that id, or all of that task. Raises NotFound."""
    task = tx.one("SELECT status FROM specs_task WHERE task_id = ?", (name,))
    if task is not None:
        rows = tx.all("SELECT * FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid", (name,))
        return Worked(rows, is_task=True, is_over=task["status"] in SETTLED and not any(map(_lives, rows)))
    try:
        row = agents.get(tx, name)
    except AgentNotFound:
        hint = "`crewyard status` names the agents at work, `crewyard plan show` the tasks."
        raise NotFound(f"There is no agent or task {name!r}.", hint=hint) from None
    return Worked([row], is_task=False, is_over=not _lives(row))


def print_once(
    store: Reader | Store, name: str, lines: int | None, write: Callable[[bytes], None], *, raw: bool
) -> bool:
    """Write what the last agent has written; returns whether there was anything. Raises NotFound."""
    seen = store.read(worked, name)
    if not seen.agents:
        return False
    with contextlib.closing(_output_of(seen.agents[-1], lines, raw=raw)) as output:
        wrote = output.copy(write)
        return output.finish(write) or wrote


def follow(
    store: Reader | Store,
    name: str,
    lines: int | None,
    write: Callable[[bytes], None],
    said: Callable[[str], None],
    *,
    raw: bool,
) -> None:
    """Write what the last agent wrote and writes, and any that follows it, until nobody will any more.

    Raises NotFound.
    """
    seen = store.read(worked, name)
    place = max(0, len(seen.agents) - 1)
    if not seen.agents:
        said(f"Task {name} has no agent yet." if not seen.is_over else f"Task {name} has had no agent.")
    while True:
        if place < len(seen.agents):
            with contextlib.closing(_output_of(seen.agents[place], lines, raw=raw)) as output:
                seen = _follow_one(store, name, seen.agents[place]["agent_id"], output, write, said)
            place, lines = place + 1, None
            if place < len(seen.agents):
                row = seen.agents[place]
                said(f"Task {name} goes on with {row['agent_id']}, attempt {row['attempt']}.")
                continue
        if seen.is_over:
            return
        time.sleep(LOOK_SECONDS)
        seen = store.read(worked, name)


def _follow_one(
    store: Reader | Store,
    name: str,
    agent_id: str,
    output: Output,
    write: Callable[[bytes], None],
    said: Callable[[str], None],
) -> Worked:
    """Write until that agent has ended; returns how things stand then."""
    while True:
        seen = store.read(worked, name)  # before the output: what has ended by then is all in there
        output.copy(write)
        if output.has_lost:
            said("Some output was rotated away before it could be shown.")
            output.has_lost = False
        if not any(row["agent_id"] == agent_id and _lives(row) for row in seen.agents):
            output.finish(write)
            return seen
        time.sleep(LOOK_SECONDS)


def _output_of(agent: Row, lines: int | None, *, raw: bool) -> Output:
    """What prints words is shown as it comes, whatever they are."""
    folder, kind = Path(agent["run_dir"]), kinds.named(agent["kind"])
    return Output(folder, lines) if raw or not transcripts.are_events(kind) else Words(folder, lines, kind=kind)


def _lives(agent: Row) -> bool:
    return agent["status"] in states.LIVE_AGENT
