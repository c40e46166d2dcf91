"""When the meter records that something is short, and that it is over: looks in a row, whoever takes them."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from crewyard.server import lease, process
from crewyard.server.clock import now, uptime
from crewyard.server.crew import Crew
from crewyard.server.errors import LeaseLost
from crewyard.server.machine import Machine, Space
from crewyard.server.meter import Meter
from crewyard.server.repository import Repository
from crewyard.server.settings import Settings
from crewyard.server.store import Store

WELL = Machine(
    5.0, (5.0,), (0.1, 0.1, 0.1), Space(16e3, 8e3, 8e3, 50.0), Space(1e3, 1e3, 0.0, 0.0), Space(1e6, 5e5, 5e5, 50.0)
)


@dataclass
class Scene:
    """A yard whose machine is as the test says."""

    crew: Crew
    now: Machine = WELL

    def glance(self) -> Machine:
        return self.now

    def look(self, meter: Meter, *percents: float) -> None:
        for percent in percents:
            self.now = replace(WELL, memory=replace(WELL.memory, available=4e3, percent=percent))
            meter.look(self.crew)

    def kinds(self) -> list[str]:
        sql = "SELECT kind FROM event WHERE subject_type = 'resource' ORDER BY event_id"
        return [row["kind"].removeprefix("resource_") for row in self.crew.store.read(lambda tx: tx.all(sql))]


@pytest.fixture
def scene(git_repo: Path, store: Store) -> Scene:
    crew = Crew.of(Repository.discover(git_repo), Settings(), store)
    me = process.myself()
    holder = lease.Holder("test", me.pid, me.start_time, me.boot_id)
    crew.term = store.run(lease.acquire, holder, now=now(), uptime=uptime(), dead_term=None) or 0
    made = Scene(crew)
    crew.machine = made  # type: ignore[assignment]
    return made


def test_r152_a_peak_is_no_shortage(scene: Scene) -> None:
    scene.look(Meter(), 97, 50, 97, 50, 97)
    assert scene.kinds() == []


def test_r152_a_shortage_lasts_until_it_is_over_for_a_while(scene: Scene) -> None:
    meter = Meter()
    scene.look(meter, 97, 97, 97, 50, 50, 50, 97, 50, 50, 50)
    assert scene.kinds() == ["critical"]
    scene.look(meter, 50)
    assert scene.kinds() == ["critical", "relieved"]
    scene.look(meter, 50, 97, 97)
    assert scene.kinds() == ["critical", "relieved", "critical"]


def test_r152_a_shortage_outlives_whoever_noticed_it(scene: Scene) -> None:
    scene.look(Meter(), 97, 97)
    scene.look(Meter(), 97, 97, 97)
    assert scene.kinds() == ["critical"]
    scene.look(Meter(), 50, 50, 50, 50)
    assert scene.kinds() == ["critical", "relieved"]


def test_a_meter_that_lost_the_lease_writes_nothing(scene: Scene) -> None:
    scene.crew.store.run(lambda tx: tx.run("UPDATE supervisor_lease SET term = term + 1"))
    with pytest.raises(LeaseLost):
        scene.look(Meter(), 97)
    assert scene.crew.store.read(lambda tx: tx.value("SELECT count(*) FROM metrics.metrics")) == 0
