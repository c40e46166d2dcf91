"""How full each resource of the machine is, and whether what is measured grows."""

import pytest

from crewyard.server import machine, trends
from crewyard.server.gates import Load, all_shut
from crewyard.server.sections import Launch


@pytest.mark.parametrize(
    ("percent", "level"),
    [
        (0.0, "normal"), (69.9, "normal"), (70.0, "warning"), (79.9, "warning"), (80.0, "critical"),
        (94.9, "critical"), (95.0, "severe"), (100.0, "severe"),
    ],
)  # fmt: skip
def test_r149_each_level_begins_at_its_border_and_ends_before_the_next(percent: float, level: str) -> None:
    assert machine.level(percent) == level


def test_r149_the_worst_level_stands_for_all() -> None:
    assert machine.worst(["normal", "critical", "warning"]) == "critical"
    assert machine.worst([]) == "normal"


@pytest.mark.parametrize(
    ("at", "shut"),
    [
        ({}, []),
        ({"memory_percent": 90.0, "disk_percent": 95.0, "cpu_percent": 95.0}, []),
        ({"memory_percent": 90.1}, ["memory"]),
        ({"disk_percent": 95.1}, ["disk"]),
        ({"cpu_percent": 95.1}, ["cpu"]),
        ({"memory_percent": 99.0, "disk_percent": 99.0, "cpu_percent": 99.0}, ["memory", "disk", "cpu"]),
    ],
)
def test_r150_each_resource_has_its_own_limit_beyond_which_no_agent_is_launched(
    at: dict[str, float], shut: list[str]
) -> None:
    load = Load(**{"cpu_percent": 5.0, "free_memory_mb": 4e3, "free_disk_mb": 4e3, "disk_mb": 1e5, **at})
    found = all_shut(load, Launch(), agents_at_work=1, launched_in_last_minute=0)
    assert [each.reason for each in found] == shut


def test_r150_limits_are_settings_and_the_refusal_names_them() -> None:
    load = Load(5.0, 4e3, 4e3, 1e5, 5e4, memory_percent=92.0, disk_percent=96.0)
    off = Launch(max_memory_percent=100.0, max_disk_percent=100.0)
    assert all_shut(load, off, agents_at_work=1, launched_in_last_minute=0) == []
    found = all_shut(load, Launch(), agents_at_work=1, launched_in_last_minute=0)
    assert [each.message for each in found] == [
        "92 % of memory is used; launch.max_memory_percent is 90",
        "96 % of the disk that the worktrees lie on is used; launch.max_disk_percent is 95",
    ]


def test_a_large_machine_with_room_is_not_held_by_its_percentage_unless_that_was_asked_for() -> None:
    load = Load(5.0, 23e3, 160e3, 4e6, 256e3, memory_percent=91.0, disk_percent=96.0)
    assert all_shut(load, Launch(), agents_at_work=1, launched_in_last_minute=0) == []
    asked = Launch(max_memory_percent=90.0, max_disk_percent=95.0)
    found = all_shut(load, asked, agents_at_work=1, launched_in_last_minute=0)
    assert [each.reason for each in found] == ["memory", "disk"]


@pytest.mark.parametrize(
    ("values", "trend"),
    [
        ([], "stable"),
        ([1.0, 99.0], "stable"),  # two samples tell nothing
        ([10.0, 12.0, 15.0], "stable"),  # exactly the band
        ([10.0, 12.0, 15.1], "increasing"),
        ([15.1, 12.0, 10.0], "decreasing"),
        ([10.0, 90.0, 10.0], "stable"),  # a peak is no trend
        ([10.0, 10.0, 10.0, 10.0, 10.0, 19.0], "stable"),  # one that has just begun is none either
        ([10.0, 10.0, 50.0, 50.0, 90.0, 90.0], "increasing"),
    ],
)
def test_r151_a_trend_compares_the_last_third_with_the_first(values: list[float], trend: str) -> None:
    assert trends.trend(values, trends.PERCENT_BAND) == trend


def test_r151_half_an_agent_more_is_a_trend_and_half_a_percent_is_none() -> None:
    assert trends.trend([1.0, 1.0, 2.0], trends.band_of("active_agents")) == "increasing"
    assert trends.trend([1.0, 1.0, 2.0], trends.band_of("cpu_percent")) == "stable"
