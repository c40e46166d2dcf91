"""What was seen of the machine at one moment, and how full each of its resources is. Pure (R-149, R-151, C-10)."""

from collections.abc import Iterable
from dataclasses import dataclass

# From each share on, and up to the next, the level is this.
LEVELS = ((95.0, "severe"), (80.0, "critical"), (70.0, "warning"), (0.0, "normal"))
WORST_FIRST = tuple(name for _, name in LEVELS)


@dataclass(frozen=True)
class Space:
    """Memory, swap or a file system, in MiB. ``available`` is what a new program, or a user, could still take."""

    total: float
    available: float
    used: float
    percent: float


@dataclass(frozen=True)
class Machine:
    """CPU in percent of all cores together, and of each core; ``disk`` is that which the worktrees lie on."""

    cpu_percent: float
    per_core: tuple[float, ...]
    load_average: tuple[float, float, float]
    memory: Space
    swap: Space
    disk: Space

    @property
    def percents(self) -> dict[str, float]:
        """How full each resource is."""
        return {
            "cpu": self.cpu_percent,
            "memory": self.memory.percent,
            "disk": self.disk.percent,
            "swap": self.swap.percent,
        }


def level(percent: float) -> str:
    """normal, warning, critical or severe. Each begins at its border."""
    return next((name for least, name in LEVELS if percent >= least), "normal")


def worst(levels: Iterable[str]) -> str:
    """The worst of these levels; normal where there is none."""
    return min(levels, key=WORST_FIRST.index, default="normal")
