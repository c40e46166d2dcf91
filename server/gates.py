"""Whether the machine can take another agent, and if not, why. Pure (R-100, G-19, C-10)."""

from dataclasses import dataclass

from .sections import Launch

SMALL_SHARE = 0.05
SMALL_MACHINE = 4
AMPLE = 10  # so many times what is wanted is room for agents, however small a share of a large machine it is


@dataclass(frozen=True)
class Load:
    """The machine at one moment; ``disk_*`` of the file system that the worktrees lie on."""

    cpu_percent: float
    free_memory_mb: float
    free_disk_mb: float
    disk_mb: float
    memory_mb: float = float("inf")
    memory_percent: float = 0.0
    disk_percent: float = 0.0


@dataclass(frozen=True)
class Refusal:
    """``reason`` is one of ``holds.REASONS``; ``message`` has the figures."""

    reason: str
    message: str


def refusals(load: Load, limits: Launch, *, agents_at_work: int) -> list[Refusal]:
    """What the machine is short of, first what cannot be waited out by launching less.

    A busy CPU holds only further agents: with none at work one starts however busy the machine is.
    """
    found = [_memory(load, limits), _disk(load, limits), _cpu(load, limits) if agents_at_work else None]
    return [each for each in found if each is not None]


def all_shut(load: Load, limits: Launch, *, agents_at_work: int, launched_in_last_minute: int) -> list[Refusal]:
    """Everything for which the next agent is not launched; none where it may be (R-148)."""
    rate = of_rate(launched_in_last_minute, limits)
    return refusals(load, limits, agents_at_work=agents_at_work) + ([rate] if rate is not None else [])


def of_machine(load: Load, limits: Launch, *, agents_at_work: int) -> Refusal | None:
    """The first of ``refusals``."""
    return next(iter(refusals(load, limits, agents_at_work=agents_at_work)), None)


def _memory(load: Load, limits: Launch) -> Refusal | None:
    wanted_mb = _wanted_memory(limits, load)
    if load.free_memory_mb < wanted_mb:
        return Refusal(
            "memory",
            f"{load.free_memory_mb:.0f} MiB of memory are free; {wanted_mb:.0f} are wanted (launch.min_free_memory_mb)",
        )
    if load.free_memory_mb >= AMPLE * wanted_mb and "max_memory_percent" not in limits.model_fields_set:
        return None
    return _too_full("memory", "memory", load.memory_percent, limits.max_memory_percent)


def _disk(load: Load, limits: Launch) -> Refusal | None:
    wanted_mb = min(limits.min_free_disk_mb, SMALL_SHARE * load.disk_mb)
    if load.free_disk_mb < wanted_mb:
        return Refusal(
            "disk", f"{load.free_disk_mb:.0f} MiB of disk are free where the worktrees lie; {wanted_mb:.0f} are wanted"
        )
    if load.free_disk_mb >= AMPLE * wanted_mb and "max_disk_percent" not in limits.model_fields_set:
        return None
    return _too_full("disk", "the disk that the worktrees lie on", load.disk_percent, limits.max_disk_percent)


def _too_full(reason: str, what: str, percent: float, most: float) -> Refusal | None:
    if percent <= most:
        return None
    return Refusal(reason, f"{percent:.0f} % of {what} is used; launch.max_{reason}_percent is {most:g}")


def _cpu(load: Load, limits: Launch) -> Refusal | None:
    if load.cpu_percent <= limits.max_cpu_percent:
        return None
    return Refusal(
        "cpu", f"the machine is {load.cpu_percent:.0f} % busy; launch.max_cpu_percent is {limits.max_cpu_percent:g}"
    )


def _wanted_memory(limits: Launch, load: Load) -> float:
    """A small machine could never have free what is wanted of others by default: of it a share."""
    wanted_mb = limits.min_free_memory_mb
    if "min_free_memory_mb" in limits.model_fields_set or load.memory_mb >= SMALL_MACHINE * wanted_mb:
        return wanted_mb
    return SMALL_SHARE * load.memory_mb


def of_rate(launched_in_last_minute: int, limits: Launch) -> Refusal | None:
    if launched_in_last_minute < limits.max_per_minute:
        return None
    return Refusal(
        "launch_rate",
        f"{launched_in_last_minute} agents were launched in the last minute; launch.max_per_minute is "
        f"{limits.max_per_minute}",
    )
