"""When a failed attempt is followed by another (R-116 to R-119, C-01)."""

import pytest

from crewyard.server import backoff
from crewyard.server.settings import Crew, Settings

TASK = {"max_restarts": 3, "base": 2.0, "cap": 120.0}


def test_the_delays_double_and_the_fourth_failure_is_the_last() -> None:
    verdicts = [backoff.after_failure("agent_failed", done, **TASK) for done in range(4)]
    assert [verdict.delay_seconds for verdict in verdicts] == [2.0, 4.0, 8.0, None]


@pytest.mark.parametrize("profile", ["task", "team"])
def test_each_profile_has_the_documents_delays(profile: str) -> None:
    base, cap = Settings(crew=Crew(profile=profile)).backoff
    expected = {"task": [2, 4, 8, 16, 32, 64, 120, 120], "team": [60, 120, 240, 240, 240, 240, 240, 240]}
    assert [backoff.delay(n, base, cap) for n in range(1, 9)] == expected[profile]


def test_a_delay_of_a_huge_attempt_is_the_cap() -> None:
    assert backoff.delay(100_000, 2.0, 120.0) == 120.0


@pytest.mark.parametrize("code", sorted(backoff.PERMANENT))
def test_what_trying_again_does_not_mend_is_not_tried_again(code: str) -> None:
    assert backoff.after_failure(code, 0, **TASK).delay_seconds is None
