"""What a failed attempt leads to: another one after a delay, or the end. Pure (R-116 to R-119, C-01)."""

from dataclasses import dataclass

# Trying again does not mend these.
PERMANENT = frozenset({"spawn_failed", "non_retryable_error"})


@dataclass(frozen=True)
class Verdict:
    """``delay_seconds`` until the next attempt counts from the exit; None means that there is none."""

    delay_seconds: float | None
    attempt: int


def delay(attempt: int, base: float, cap: float) -> float:
    """Seconds before restart number ``attempt`` (1, 2, …): ``min(cap, base × 2^(n-1))``."""
    return float(min(cap, base * 2 ** min(attempt - 1, 62)))


def after_failure(code: str, restarts_so_far: int, *, max_restarts: int, base: float, cap: float) -> Verdict:
    """Whether and when an attempt that failed with ``code`` is followed by another."""
    attempt = restarts_so_far + 1
    if code in PERMANENT or restarts_so_far >= max_restarts:
        return Verdict(None, restarts_so_far)
    return Verdict(delay(attempt, base, cap), attempt)
