"""How many workers a queue wants: a pure decision over what the caller has counted (R-243 to R-247, C-31, C-32, C-42).

It does not swing: what makes a queue grow lies far above what makes it shrink, it rests after each change, nobody goes
whose going would soon call for somebody else, and a queue that had to grow again after it shrank does so ever later.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ..workflow_sections import Stage, Workflows

MINUTE = 60.0
DAY = 86_400.0
REST_DOWN = 3.0  # so many times longer before it shrinks
EASED = 0.5
LATER = 4.0  # and again so many times for each turn: an idle worker costs nothing, since it has no process


@dataclass(frozen=True)
class Queue:
    """A workflow at one moment. ``average_wait`` and ``rested`` (since it was scaled last) are seconds, ``turns`` how
    often it grew within a day after it had shrunk, ``utilisation`` percent of its workers' time over the window, None
    where there was none.

    ``workers`` are all who are there, ``extra`` and ``offline`` those of them that an emergency brought, or that are
    offline.
    """

    waiting: int
    average_wait: float
    workers: int
    idle: int
    utilisation: float | None
    rested: float = float("inf")
    turns: int = 0
    extra: int = 0
    offline: int = 0
    is_peak: bool = False
    slow: str = ""  # how much longer work takes than it did, where it does


@dataclass(frozen=True)
class Verdict:
    """How many workers more, or below 0 less, and why. ``refused`` is what keeps it from growing as it wants to;
    ``rests``: it is looked at again when it has rested."""

    change: int = 0
    why: str = ""
    refused: str = ""
    rests: bool = False


@dataclass(frozen=True)
class Wish:
    """Why a queue wants to grow. ``is_urgent``: administrators should know where it cannot."""

    why: str
    is_urgent: bool = True


def turns(changes: Sequence[int]) -> int:
    """How often it grew after it had shrunk; ``changes`` are workers more or, below 0, less, the oldest first."""
    return sum(1 for before, after in itertools.pairwise(changes) if before < 0 < after)


def least(stage: Stage, *, is_peak: bool) -> int:
    """The fewest workers that it has now: one more ahead of peak hours (R-245)."""
    return min(stage.min_workers + is_peak, stage.max_workers)


def decide(queue: Queue, stage: Stage, rules: Workflows, hindrance: str = "") -> Verdict:
    """``hindrance`` is why the machine takes no more workers; it wins over every wish to grow (C-42)."""
    over = queue.workers - queue.extra - stage.max_workers
    if over > 0:
        return Verdict(-min(over, queue.idle), f"max_workers is {stage.max_workers}")
    wish = wishes(queue, rules)
    if wish is not None and (queue.workers >= stage.max_workers or queue.waiting > rules.overflow_depth):
        return _to_the_brim(queue, stage, wish, hindrance)
    missing = least(stage, is_peak=queue.is_peak) - queue.workers
    if missing > 0:
        why = "a peak hour is near" if queue.is_peak else "the least that the workflow has"
        return _grow(missing, why, hindrance)
    if wish is not None:
        rests = queue.rested < rules.cool_down_seconds
        return Verdict(why=wish.why, rests=True) if rests else _grow(1, wish.why, hindrance)
    return _shrink(queue, stage, rules)


def wishes(queue: Queue, rules: Workflows) -> Wish | None:
    """Why it wants another worker, if it does."""
    if queue.waiting > rules.scale_up_depth:
        return Wish(f"{queue.waiting} wait, more than {rules.scale_up_depth} (scale_up_depth)")
    if not queue.waiting:
        return None
    if queue.average_wait > rules.scale_up_wait_minutes * MINUTE:
        return Wish(
            f"what waits has waited {queue.average_wait / MINUTE:.0f} minutes on the average, more than "
            f"{rules.scale_up_wait_minutes:g} (scale_up_wait_minutes)"
        )
    if queue.utilisation is not None and queue.utilisation > rules.scale_up_utilisation:
        return Wish(
            f"its workers are {queue.utilisation:.0f} % busy while {queue.waiting} wait; scale_up_utilisation is "
            f"{rules.scale_up_utilisation:g}",
            is_urgent=False,
        )
    return Wish(queue.slow, is_urgent=False) if queue.slow else None


def is_eased(queue: Queue, rules: Workflows) -> bool:
    """Whether no more waits, and no longer, than half of what calls for another worker."""
    waits_shortly = queue.average_wait <= EASED * rules.scale_up_wait_minutes * MINUTE
    return waits_shortly and queue.waiting <= EASED * rules.scale_up_depth


def _to_the_brim(queue: Queue, stage: Stage, wish: Wish, hindrance: str) -> Verdict:
    """It overflows, and grows at once as far as it may; or it has got there."""
    room = stage.max_workers - queue.workers
    if room > 0:
        return _grow(room, wish.why, hindrance)
    return Verdict(why=wish.why, refused=f"max_workers is {stage.max_workers}" if wish.is_urgent else "")


def _grow(by: int, why: str, hindrance: str) -> Verdict:
    return Verdict(why=why, refused=hindrance) if hindrance else Verdict(by, why)


def _shrink(queue: Queue, stage: Stage, rules: Workflows) -> Verdict:
    """Only idle ones go, one at a time, never below the least."""
    is_calm = (
        queue.utilisation is not None
        and queue.utilisation < rules.scale_down_utilisation
        and queue.waiting < rules.scale_down_depth
        and queue.average_wait <= rules.scale_down_wait_minutes * MINUTE
    )
    spare = queue.workers - least(stage, is_peak=queue.is_peak)
    if not is_calm or spare <= 0 or not queue.idle or queue.utilisation is None:
        return Verdict()
    why = f"its workers are {queue.utilisation:.0f} % busy; scale_down_utilisation is {rules.scale_down_utilisation:g}"
    rest_of_them = queue.workers - 1
    if rest_of_them and queue.utilisation * queue.workers / rest_of_them >= rules.scale_up_utilisation:
        return Verdict()
    if queue.rested < min(DAY, REST_DOWN * rules.cool_down_seconds * LATER**queue.turns):
        return Verdict(why=why, rests=True)
    return Verdict(-1, why)
