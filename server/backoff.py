"""What a failed attempt leads to: another one after a delay, or the end. Pure (R-116 to R-119, C-01).

Which failures are worth it, and how often, is the table of ``failures``.
"""

from dataclasses import dataclass

from . import failures


@dataclass(frozen=True)
class Policy:
    """How failed attempts at a task are followed up. Delays and ``healthy_after`` in seconds."""

    max_restarts: int
    base: float
    cap: float
    healthy_after: float = float("inf")
    max_launches: int = 1_000_000


@dataclass(frozen=True)
class Verdict:
    """``delay_seconds`` until the next attempt counts from the exit; None means that there is none.

    ``attempt`` is the number of that restart, counted since the last healthy time.
    """

    delay_seconds: float | None
    attempt: int


def delay(attempt: int, base: float, cap: float) -> float:
    """Seconds before restart number ``attempt`` (1, 2, …): ``min(cap, base × 2^(n-1))``."""
    return float(min(cap, base * 2 ** min(attempt - 1, 62)))


def after_failure(
    code: str, restarts_so_far: int, policy: Policy, *, lasted: float = 0.0, launches: int = 1
) -> Verdict:
    """Whether and when an attempt that failed with ``code`` after ``lasted`` seconds is followed by another.

    A healthy time takes back the restarts before it (G-04); ``launches`` of the task in all stay bounded, so that
    nothing crashes for ever however long each attempt holds out.
    """
    before = 0 if lasted >= policy.healthy_after else restarts_so_far
    failure = failures.of(code)
    limit = policy.max_restarts if failure.restarts is None else min(policy.max_restarts, failure.restarts)
    if not failure.retryable or before >= limit or launches >= policy.max_launches:
        return Verdict(None, before)
    wait = delay(before + 1, policy.base, policy.cap) * failure.patience
    return Verdict(min(wait, max(policy.cap, policy.base)), before + 1)
