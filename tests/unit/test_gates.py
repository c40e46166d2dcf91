"""Whether the machine can take another agent (R-100, G-19, C-10)."""

from typing import Any

import pytest

from crewyard.server import gates
from crewyard.server.sections import Launch

LIMITS = Launch()
IDLE = {"cpu_percent": 5.0, "free_memory_mb": 8_000.0, "free_disk_mb": 50_000.0, "disk_mb": 100_000.0}


def reason(at_work: int = 1, limits: Launch = LIMITS, **load: Any) -> str | None:
    refusal = gates.of_machine(gates.Load(**{**IDLE, **load}), limits, agents_at_work=at_work)
    return None if refusal is None else refusal.reason


def test_a_machine_with_room_refuses_nothing() -> None:
    assert reason() is None


@pytest.mark.parametrize(("free", "refusal"), [(500.0, None), (499.9, "memory")])
def test_memory(free: float, refusal: str | None) -> None:
    assert reason(free_memory_mb=free) == refusal
    assert reason(at_work=0, free_memory_mb=free) == refusal, "the first agent needs memory too"


@pytest.mark.parametrize(
    ("free", "size", "refusal"),
    [
        (500.0, 100_000.0, None),
        (499.9, 100_000.0, "disk"),
        (50.0, 1_000.0, None),  # 5 % of a small disk is enough
        (49.9, 1_000.0, "disk"),
    ],
)
def test_disk(free: float, size: float, refusal: str | None) -> None:
    assert reason(free_disk_mb=free, disk_mb=size) == refusal


@pytest.mark.parametrize(("cpu", "refusal"), [(95.0, None), (95.1, "cpu")])
def test_a_busy_cpu_holds_further_agents_and_never_the_first(cpu: float, refusal: str | None) -> None:
    assert reason(cpu_percent=cpu) == refusal
    assert reason(at_work=0, cpu_percent=cpu) is None


def test_what_cannot_be_waited_out_by_launching_less_is_named_first() -> None:
    assert reason(cpu_percent=100.0, free_memory_mb=1.0, free_disk_mb=1.0) == "memory"


def test_gates_can_be_switched_off() -> None:
    off = Launch(min_free_memory_mb=0, min_free_disk_mb=0, max_cpu_percent=100.0)
    assert reason(limits=off, cpu_percent=100.0, free_memory_mb=0.0, free_disk_mb=0.0) is None


@pytest.mark.parametrize(("launched", "refused"), [(0, False), (599, False), (600, True)])
def test_launches_a_minute(launched: int, refused: bool) -> None:
    refusal = gates.of_rate(launched, LIMITS)
    assert (refusal is not None and refusal.reason == "launch_rate") is refused


def test_each_refusal_has_its_figures() -> None:
    refusal = gates.of_machine(gates.Load(99.0, 100.0, 10.0, 100_000.0), LIMITS, agents_at_work=1)
    assert refusal is not None
    assert refusal.message == "100 MiB of memory are free; 500 are wanted (launch.min_free_memory_mb)"
