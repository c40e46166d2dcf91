"""Which worker gets which item: a pure decision over what the caller has read (R-237 to R-241)."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..workflow_sections import Routing


@dataclass(frozen=True)
class Hand:
    """A worker that is idle, and what is known of it.

    ``done`` and ``failed`` count what it finished by complexity (G-06); ``recent_seconds`` is how long it was busy of
    late. ``last_assigned_at`` is empty for one that never had anything.
    """

    worker_id: str
    specialities: tuple[str, ...] = ()
    location: str = ""
    recent_seconds: float = 0.0
    last_assigned_at: str = ""
    done: tuple[tuple[str, int], ...] = ()
    failed: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Need:
    """An item that waits, in its queue's order. ``wanted`` is the worker that it waits for."""

    item_id: int
    kind: str = ""
    complexity: str = "standard"
    location: str = ""
    wanted: str | None = None


@dataclass(frozen=True)
class Match:
    item_id: int
    worker_id: str
    why: str


def match(needs: Sequence[Need], hands: Sequence[Hand], routing: Routing, routes: dict[str, str]) -> list[Match]:
    """Give each need, in its order, the hand that suits it best, while there are hands.

    What waits for one worker by name gets that one or goes on waiting, and holds nobody else up.
    """
    free = {hand.worker_id: hand for hand in hands}
    found = []
    for need in needs:
        if not free:
            break
        if need.wanted is not None:
            if need.wanted in free:
                found.append(Match(need.item_id, need.wanted, "it was assigned by hand"))
                del free[need.wanted]
            continue
        routed = routes.get(need.kind) if need.kind else None
        if routed in free:
            chosen, why = free[routed], f"projects of kind {need.kind} go to it"
        else:
            chosen, why = best(need, list(free.values()), routing)
        found.append(Match(need.item_id, chosen.worker_id, why))
        del free[chosen.worker_id]
    return found


def best(need: Need, hands: Sequence[Hand], routing: Routing) -> tuple[Hand, str]:
    """The hand that the strategy prefers, and why. Ties go to the lightest load, then to the longest idle."""
    match routing:
        case "specialised":
            chosen = min(hands, key=lambda hand: (-_skill(need, hand), *_load(hand)))
            return chosen, f"of those idle it suits a {need.complexity} project best"
        case "nearest":
            chosen = min(hands, key=lambda hand: (bool(need.location) and hand.location != need.location, *_load(hand)))
            is_near = need.location and chosen.location == need.location
            return chosen, f"it is at {need.location}" if is_near else "it has the lightest load"
        case "round_robin":
            return min(hands, key=lambda hand: (hand.last_assigned_at, hand.worker_id)), "it is its turn"
        case _:
            return min(hands, key=_load), "it has the lightest load"


def _load(hand: Hand) -> tuple[float, str, str]:
    return hand.recent_seconds, hand.last_assigned_at, hand.worker_id


def _skill(need: Need, hand: Hand) -> float:
    """What it is meant for counts most, then what it has shown: finished items of this complexity, less the failed."""
    declared = sum(word in hand.specialities for word in (need.kind, need.complexity) if word)
    done, failed = dict(hand.done).get(need.complexity, 0), dict(hand.failed).get(need.complexity, 0)
    shown = done / (done + failed) * min(done, 10) / 10 if done else -min(failed, 10) / 10
    return declared + shown
