"""The figures of an activity summary, counted a second time and another way: instant by instant, from events alone.

Where the summary folds a task's events into spans, this asks for each stretch between two events of any kind what was
true in the middle of it. Waits for a restart and for a slot are one here: no event says when a restart is due.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

ENDED = ("completed", "failed", "cancelled")
ENDS_OF_AGENTS = ("completed", "failed", "killed", "timeout", "lost")
ENDS_OF_MERGES = ("merged", "conflicted", "rejected", "cancelled")


@dataclass
class Life:
    """What happened to one task: moments in ms, each with what it became."""

    states: list[tuple[int, str]] = field(default_factory=list)
    agents: list[tuple[int, int, str, str]] = field(default_factory=list)  # begin, end, how, id
    merges: list[tuple[int, int, int, str]] = field(default_factory=list)  # queued, approved, ended, how
    assigned: list[int] = field(default_factory=list)
    proven: list[int] = field(default_factory=list)

    def state(self, moment: float) -> str:
        return next((state for at, state in reversed(self.states) if at <= moment), "")

    def phase(self, moment: float) -> str:
        if self.state(moment) in ("", *ENDED):
            return ""
        if any(begin <= moment < end for begin, end, _, _ in self.agents):
            return "working"
        merge = next((merge for merge in self.merges if merge[0] <= moment < merge[2]), None)
        if merge is not None:
            return "approval" if moment < merge[1] else "merging"
        given = max((at for at in self.assigned if at <= moment), default=0)
        good = max((end for _, end, how, _ in self.agents if end <= moment and how == "completed"), default=0)
        if good > given and all(end <= good for _, end, _, _ in self.agents if end <= moment):
            return "merging" if any(good <= at <= moment for at in self.proven) else "proving"
        return "dependencies" if self.state(moment) == "pending" else "waiting"


@dataclass
class Recount:
    phases: Counter[str]
    elapsed: int
    states: Counter[str]
    attempts: Counter[str]
    merges: Counter[str]
    work: dict[str, int]
    errors: Counter[str]


def recount(connection: sqlite3.Connection, *, until: int) -> Recount:
    """Everything since the first event. All tasks belong to all dispatches."""
    rows = connection.execute(
        "SELECT at, subject_type, subject_id, kind, to_state, data FROM event ORDER BY event_id"
    ).fetchall()
    lives, windows = _lives(rows, until)
    moments = sorted({ms(row[0]) for row in rows} | {until})
    phases: Counter[str] = Counter()
    elapsed = 0
    for begin, end in pairwise(moments):
        middle = (begin + end) / 2
        told = [_in_hand(life, middle, windows) for life in lives.values()]
        phases.update(dict.fromkeys(told, 0))
        for phase in told:
            phases[phase] += end - begin
        elapsed += (end - begin) * any(phase not in ("", "paused") for phase in told)
    phases.pop("", None)
    return Recount(
        phases,
        elapsed,
        Counter(life.state(until) for life in lives.values()),
        Counter(how for life in lives.values() for *_, how, _ in life.agents),
        Counter(how for life in lives.values() for *_, how in life.merges if how),
        {task_id: sum(end - begin for begin, end, _, _ in life.agents) for task_id, life in lives.items()},
        Counter(json.loads(row[5])["severity"] for row in rows if row[1] == "error" and "severity" in row[5]),
    )


def _in_hand(life: Life, moment: float, windows: Sequence[tuple[int, int, str]]) -> str:
    phase = life.phase(moment)
    if phase not in ("dependencies", "waiting"):
        return phase
    here = {state for begin, end, state in windows if begin <= moment < end}
    freed = max((at for at, state in life.states if at <= moment and state in ("pending", "ready")), default=0)
    is_begun = any(freed <= begin <= moment for begin, _, _, _ in life.agents)
    is_given = life.state(moment) in ("assigned", "in_progress") and is_begun
    return phase if "active" in here or (is_given and not here) else "paused" if here else ""


def _lives(rows: Sequence[Any], until: int) -> tuple[dict[str, Life], list[tuple[int, int, str]]]:
    """Each event by what it is of; the task of each agent, assignment and merge is named by its first event."""
    lives: dict[str, Life] = defaultdict(Life)
    owner: dict[tuple[str, str], str] = {}
    by_subject: dict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
    for at, subject, name, kind, to_state, data in rows:
        owner.setdefault((subject, name), json.loads(data).get("task_id") or name)
        if to_state:
            by_subject[subject, name].append((ms(at), to_state, kind))
    dispatch: list[tuple[int, str]] = []
    for (subject, name), happened in by_subject.items():
        life = lives[owner[subject, name]] if subject in ("task", "assignment", "agent", "merge") else Life()
        if subject == "task":
            life.states = [(at, state) for at, state, _ in happened]
        elif subject == "assignment":
            life.assigned += [at for at, state, _ in happened if state == "assigned"]
            life.proven += [at for at, state, _ in happened if state == "completed"]
        elif subject == "agent":
            end, how = next(((at, state) for at, state, _ in happened if state in ENDS_OF_AGENTS), (until, "running"))
            life.agents.append((happened[0][0], end, how, name))
        elif subject == "merge":
            end, how = next(((at, state) for at, state, _ in happened if state in ENDS_OF_MERGES), (until, ""))
            approved = next((at for at, _, kind in happened if kind == "merge_approved"), 0)
            life.merges.append((happened[0][0], approved, end, how))
        elif subject == "dispatch":
            dispatch += [(at, state) for at, state, _ in happened]
    ends = [*(moment for moment, _ in dispatch[1:]), until]
    windows = [(at, end, state) for (at, state), end in zip(dispatch, ends, strict=True)]
    return dict(lives), [window for window in windows if window[2] in ("active", "paused")]


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
