"""How a live agent stands, at the exact borders of each band (R-168 to R-170, C-09 to C-11)."""

from typing import Any

import pytest

from crewyard.server.health import Judgement, Seen, judge, of_crew
from crewyard.server.sections import Health

LIMITS = Health()


def seen(**facts: Any) -> Seen:
    return Seen(**{"process_alive": True, "silent_seconds": 0.0, **facts})


@pytest.mark.parametrize(
    ("silent", "health", "critical"),
    [
        (0.0, "healthy", False),
        (119.999, "healthy", False),
        (120.0, "warning", False),
        (299.999, "warning", False),
        (300.0, "stalled", True),
        (1e9, "stalled", True),
    ],
)
def test_r168_silence(silent: float, health: str, critical: bool) -> None:
    judged = judge(seen(silent_seconds=silent), LIMITS)
    assert (judged.health, judged.is_critical) == (health, critical)
    assert bool(judged.reasons) is (health != "healthy")


@pytest.mark.parametrize(
    ("cpu", "health", "critical"),
    [
        (None, "healthy", False),
        (79.9, "healthy", False),
        (80.0, "warning", False),
        (94.9, "warning", False),
        (95.0, "warning", True),
        (100.0, "warning", True),
    ],
)
def test_r169_use_of_the_cpu_in_bands_closed_below(cpu: float | None, health: str, critical: bool) -> None:
    judged = judge(seen(cpu_percent=cpu), LIMITS)
    assert (judged.health, judged.is_critical) == (health, critical)


@pytest.mark.parametrize(
    ("memory", "limit", "health", "critical"),
    [
        (None, None, "healthy", False),
        (256.0, None, "healthy", False),  # the documents' own sample has 256 as normal
        (256.1, None, "warning", False),
        (2048.0, None, "warning", False),
        (2048.1, None, "warning", True),
        (409.6, 512, "healthy", False),
        (409.7, 512, "warning", False),
        (513.0, 512, "warning", False),  # the runner ends it there; the crew's own border is 2 GiB
        (256.1, 300, "warning", False),  # 80 % of 300 lies below the setting
        (3000.0, 4096, "healthy", False),
        (3277.0, 4096, "warning", False),
        (4096.1, 4096, "warning", True),
    ],
)
def test_r170_memory_is_too_much_strictly_above_its_border(
    memory: float | None, limit: int | None, health: str, critical: bool
) -> None:
    judged = judge(seen(memory_mb=memory, memory_limit_mb=limit), LIMITS)
    assert (judged.health, judged.is_critical) == (health, critical)


def test_who_waits_for_an_answer_may_be_silent() -> None:
    judged = judge(seen(silent_seconds=10_000.0, waits=True), LIMITS)
    assert (judged.health, judged.reasons) == ("warning", ("it waits for an answer to its question",))


def test_a_process_that_does_not_run_is_dead_whatever_else_was_seen() -> None:
    judged = judge(seen(process_alive=False, waits=True), LIMITS)
    assert (judged.health, judged.is_critical) == ("dead", True)


def test_every_reason_is_told() -> None:
    judged = judge(seen(silent_seconds=130.0, cpu_percent=90.0, memory_mb=300.0), LIMITS)
    assert judged.reasons == (
        "no sign of life for 130 s",
        "it uses 90 % of the CPU",
        "it uses 300 MiB of memory",
    )


@pytest.mark.parametrize(
    ("each", "crew"),
    [
        ([], "healthy"),
        ([Judgement("healthy"), Judgement("completed")], "healthy"),
        ([Judgement("healthy"), Judgement("warning")], "degraded"),
        ([Judgement("failed")], "degraded"),
        ([Judgement("warning", is_critical=True)], "critical"),
        ([Judgement("healthy"), Judgement("stalled", is_critical=True)], "critical"),
    ],
)
def test_the_crew_stands_as_its_worst_agent_does(each: list[Judgement], crew: str) -> None:
    assert of_crew(each) == crew
