"""When a failed attempt is followed by another (R-116 to R-119, C-01)."""

import pytest

from crewyard.server import backoff, failures
from crewyard.server.settings import Crew, Settings

TASK = backoff.Policy(max_restarts=3, base=2.0, cap=120.0, healthy_after=600.0, max_launches=20)


def test_r117_the_delays_double_and_the_fourth_failure_is_the_last() -> None:
    verdicts = [backoff.after_failure("agent_failed", done, TASK) for done in range(4)]
    assert [verdict.delay_seconds for verdict in verdicts] == [2.0, 4.0, 8.0, None]


@pytest.mark.parametrize("profile", ["task", "team"])
def test_each_profile_has_the_documents_delays(profile: str) -> None:
    base, cap = Settings(crew=Crew(profile=profile)).backoff
    expected = {"task": [2, 4, 8, 16, 32, 64, 120, 120], "team": [60, 120, 240, 240, 240, 240, 240, 240]}
    assert [backoff.delay(n, base, cap) for n in range(1, 9)] == expected[profile]


def test_a_delay_of_a_huge_attempt_is_the_cap() -> None:
    assert backoff.delay(100_000, 2.0, 120.0) == 120.0


@pytest.mark.parametrize("code", sorted(code for code, kind in failures.BY_CODE.items() if not kind.retryable))
def test_r118_what_trying_again_does_not_mend_is_not_tried_again(code: str) -> None:
    assert backoff.after_failure(code, 0, TASK).delay_seconds is None


@pytest.mark.parametrize("code", ["agent_timeout", "resource_exhaustion"])
def test_r118_what_is_slow_or_large_is_tried_twice_more_only(code: str) -> None:
    verdicts = [backoff.after_failure(code, done, TASK) for done in range(3)]
    assert [verdict.delay_seconds is None for verdict in verdicts] == [False, False, True]


def test_what_needs_room_waits_longer_for_it() -> None:
    crash, full = (backoff.after_failure(code, 0, TASK) for code in ("agent_failed", "resource_exhaustion"))
    assert (crash.delay_seconds, full.delay_seconds) == (2.0, 8.0)


def test_a_healthy_time_takes_back_the_restarts_before_it() -> None:
    verdict = backoff.after_failure("agent_failed", 3, TASK, lasted=600.0)
    assert (verdict.delay_seconds, verdict.attempt) == (2.0, 1)
    assert backoff.after_failure("agent_failed", 3, TASK, lasted=599.9).delay_seconds is None


def test_not_even_healthy_times_launch_a_task_for_ever() -> None:
    assert backoff.after_failure("agent_failed", 0, TASK, lasted=700.0, launches=20).delay_seconds is None
