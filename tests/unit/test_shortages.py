"""What the machine runs short of: found by the gates, recorded and told once for each time that lasts."""

import json
from dataclasses import replace
from typing import Any

from crewyard.server import clock, shortages
from crewyard.server.host import load_of
from crewyard.server.machine import Machine, Space
from crewyard.server.sections import Launch

NOW = "2026-01-01T00:00:00.000Z"
WELL = Machine(
    5.0, (5.0,), (0.1, 0.1, 0.1), Space(16e3, 8e3, 8e3, 50.0), Space(1e3, 1e3, 0.0, 0.0), Space(1e6, 5e5, 5e5, 50.0)
)
SHORT = shortages.Shortage("memory", 97.0, "97 % of memory is used", shortages.ACTIONS["memory"])


def found(**changed: Any) -> list[str]:
    seen = replace(WELL, **changed)
    return [each.resource for each in shortages.find(seen, load_of(seen), Launch(), agents_at_work=1)]


def kinds(bench: Any) -> list[str]:
    rows = bench.store.read(
        lambda tx: tx.all("SELECT kind FROM event WHERE subject_type = 'resource' ORDER BY event_id")
    )
    return [row["kind"] for row in rows]


def test_r152_a_resource_is_critical_where_it_holds_launches_and_swap_from_its_critical_level_on() -> None:
    assert found() == []
    assert found(memory=replace(WELL.memory, available=1.4e3, percent=91.0)) == ["memory"]
    assert found(memory=replace(WELL.memory, available=400.0)) == ["memory"]
    assert found(disk=replace(WELL.disk, available=4e3, percent=96.0)) == ["disk"]
    assert found(cpu_percent=99.0) == ["cpu"]
    assert found(swap=replace(WELL.swap, percent=79.9)) == []
    assert found(swap=replace(WELL.swap, percent=80.0)) == ["swap"]


def test_r152_a_shortage_is_recorded_and_told_once_while_it_lasts(bench: Any) -> None:
    bench.employ("project_manager")
    for _ in range(3):
        bench.store.run(shortages.begin, SHORT, now=NOW, actor="supervisor")
    assert kinds(bench) == ["resource_critical"]
    data = json.loads(bench.row("event", kind="resource_critical")["data"])
    assert data["action_taken"] == "No agent is launched until there is room again."
    for box in ("lead", "project_manager"):
        [alert] = bench.alerts(box)
        assert (alert["level"], alert["code"], alert["resource"]) == ("critical", "resource_critical", "memory")
        assert (alert["action_taken"], alert["message"]) == (SHORT.action_taken, f"{SHORT.message}.")
    assert bench.store.read(shortages.lasting) == {"memory"}


def test_r152_a_shortage_that_is_over_may_come_again_and_is_not_told_again_within_the_hour(bench: Any) -> None:
    def again(seconds: float) -> None:
        now = clock.plus(NOW, seconds)
        bench.store.run(shortages.begin, SHORT, now=now, actor="supervisor")
        bench.store.run(shortages.end, "memory", 40.0, now=clock.plus(now, 60), actor="supervisor")

    for seconds in (0, 300, 3000):
        again(seconds)
    assert len(bench.alerts("lead")) == 1
    again(3700)
    assert len(bench.alerts("lead")) == 2
    assert kinds(bench) == ["resource_critical", "resource_relieved"] * 4
    bench.store.run(shortages.end, "memory", 40.0, now=NOW, actor="supervisor")
    assert len(kinds(bench)) == 8, "what does not last does not end"
    assert bench.store.read(shortages.lasting) == set()
