"""How a live agent stands, from what was seen of it. Pure (R-168 to R-170, C-09 to C-11).

Alive, beating and making progress are three things: whether its process runs, when its last sign of life came, and when
it last moved its work on. Only the second makes it stalled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .sections import Health

MEMORY_SHARE = 0.8


@dataclass(frozen=True)
class Measured:
    """What was measured of an agent's processes at one moment; None where none of them ran."""

    process_alive: bool
    runner_alive: bool
    cpu_percent: float | None = None
    memory_mb: float | None = None
    processes: int = 0
    threads: int = 0


@dataclass(frozen=True)
class Seen:
    """What was seen of one agent. ``waits`` for an answer of a person: its silence is no fault."""

    process_alive: bool
    silent_seconds: float
    cpu_percent: float | None = None
    memory_mb: float | None = None
    memory_limit_mb: int | None = None
    waits: bool = False


@dataclass(frozen=True)
class Judgement:
    """``health`` is healthy, warning, stalled or dead; ``reasons`` say what is not as it should be.

    Of an agent that has ended it is completed or failed (``checkups``).
    """

    health: str
    reasons: tuple[str, ...] = ()
    is_critical: bool = False


def judge(seen: Seen, limits: Health) -> Judgement:
    """Bands are closed below and open above: exactly 120 s of silence, or 80 % of the CPU, is a warning already.

    Of memory the border itself is still well (C-11).
    """
    if not seen.process_alive:
        return Judgement("dead", ("its process does not run",), is_critical=True)
    loads, critical = _loads(seen, limits)
    silent = f"no sign of life for {seen.silent_seconds:.0f} s"
    if seen.waits:
        return Judgement("warning", ("it waits for an answer to its question", *loads), critical)
    if seen.silent_seconds >= limits.stale_after_seconds:
        return Judgement("stalled", (silent, *loads), is_critical=True)
    reasons = (silent, *loads) if seen.silent_seconds >= limits.warn_after_seconds else loads
    return Judgement("warning" if reasons else "healthy", reasons, critical)


def of_crew(judgements: Sequence[Judgement]) -> str:
    """``healthy``, ``degraded`` where any agent is not, ``critical`` where one is stalled, dead or far too large."""
    if any(judgement.is_critical for judgement in judgements):
        return "critical"
    well = ("healthy", "completed")
    return "healthy" if all(judgement.health in well for judgement in judgements) else "degraded"


def load_level(seen: Seen, limits: Health) -> str:
    """normal, warning or critical, by what an agent uses alone (C-10, C-11)."""
    reasons, critical = _loads(seen, limits)
    return "critical" if critical else "warning" if reasons else "normal"


def _loads(seen: Seen, limits: Health) -> tuple[tuple[str, ...], bool]:
    """What it uses too much of, and whether that is critical."""
    reasons, critical = [], False
    if seen.cpu_percent is not None and seen.cpu_percent >= limits.cpu_warn_percent:
        reasons.append(f"it uses {seen.cpu_percent:.0f} % of the CPU")
        critical = seen.cpu_percent >= limits.cpu_critical_percent
    limit = seen.memory_limit_mb or 0
    warn = max(limits.memory_warn_mb, MEMORY_SHARE * limit)
    if seen.memory_mb is not None and seen.memory_mb > warn:
        reasons.append(f"it uses {seen.memory_mb:.0f} MiB of memory")
        critical = critical or seen.memory_mb > max(limits.memory_critical_mb, limit)
    return tuple(reasons), critical
