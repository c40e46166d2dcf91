"""Workers of [workflows] with real agents: a silent one is failed over, and they come and go with the queue."""

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from yards import CREWYARD, Yard, script, wait_until

from crewyard.server import clock, process, settings
from crewyard.server.process import Identity
from crewyard.server.store import Row, Store, Transaction
from crewyard.server.workflows import alarms, items, projects, workers
from crewyard.server.workflows.pipeline import Pipeline

# What was minutes is seconds here.
CONFIGURATION = """\
[agents.hand]
kind = "scripted"
[crew]
grace_period_seconds = {grace}
[launch]
max_cpu_percent = 100
[health]
check_interval_seconds = 0.2
warn_after_seconds = 0.5  # its runner notes signs of life four times as often
stale_after_seconds = 1.0  # what another agent would be started anew for is left to the failover
[workflows]
watch_seconds = 0.2
cool_down_seconds = 0.3
window_minutes = 0.05
scale_up_depth = 2
heartbeat_minutes = {heartbeat}
[workflows.stages.genesis]
agent = "hand"
min_workers = {least}
max_workers = 3
instructions = {told}
"""
HANGS_ONCE = ("1: hang", "2-: write a.md made", "2-: commit made")


class Site:
    """A repository with one workflow, and a daemon."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard

    def begin(self, *steps: str, least: int = 2, grace: float = 0.5, heartbeat: float = 0.05) -> None:
        told = json.dumps(script(*steps) if steps else "")
        (self.yard.repo / "crewyard.toml").write_text(
            CONFIGURATION.format(told=told, least=least, grace=grace, heartbeat=heartbeat)
        )
        asked = settings.load(self.yard.repo).workflows
        assert asked is not None
        self.line = Pipeline(asked)
        self.store = Store(self.yard.repo / "data/orchestrator.db")
        self.start()

    def start(self) -> None:
        done = subprocess.run(
            [*CREWYARD, "start", "--json", "--repo", str(self.yard.repo)], capture_output=True, text=True, check=True
        )
        told = json.loads(done.stdout)
        self.daemon = Identity(told["pid"], told["start_time"], told["boot_id"])

    def kill(self) -> None:
        process.send(self.daemon, signal.SIGKILL)
        assert process.wait_until_gone(self.daemon, 10)

    def dispatch(self, text: str = "Make a shop") -> str:
        def unit(tx: Transaction) -> str:
            now = clock.now()
            row = projects.create(tx, projects.Draft(text), "genesis", now=now, actor="lead")
            items.enqueue(tx, row["project_id"], "genesis", now=now, actor="lead")
            return str(row["project_id"])

        return self.store.run(unit)

    def rows(self, sql: str, *given: Any) -> list[Row]:
        return self.store.read(lambda tx: tx.all(sql, given))

    def until_completed(self, *names: str) -> None:
        wait_until(lambda: all(self.store.read(projects.get, name)["status"] == "completed" for name in names), 60)

    def is_offline(self) -> bool:
        return bool(self.rows("SELECT 1 FROM worker WHERE status = 'offline'"))

    def crowd(self) -> list[str]:
        return [row["worker_id"] for row in self.store.read(workers.present)]

    def outcomes(self) -> list[tuple[str, str]]:
        return [(row["worker_id"], row["outcome"]) for row in self.rows("SELECT * FROM work_spell ORDER BY spell_id")]


@pytest.fixture
def site(yard: Yard) -> Iterator[Site]:
    made = Site(yard)
    yield made
    subprocess.run([*CREWYARD, "stop", "--repo", str(yard.repo)], capture_output=True, check=False)
    made.store.close()


def test_r248_a_silent_agent_is_ended_and_its_work_done_by_another_worker(site: Site) -> None:
    site.begin(*HANGS_ONCE)
    name = site.dispatch()
    site.until_completed(name)
    assert site.outcomes() == [("genesis-01", "failed_over"), ("genesis-02", "done")]
    agents = site.rows("SELECT * FROM agent_lifecycle ORDER BY rowid")
    assert [row["status"] for row in agents] == ["killed", "completed"]
    assert agents[0]["workspace"] == agents[1]["workspace"]
    wait_until(lambda: not site.is_offline(), 30)
    [alarm] = site.rows("SELECT * FROM workflow_alert")
    wait_until(lambda: not site.store.read(alarms.open_ones), 30)
    assert alarm["cause"].startswith(f"its agent {agents[0]['agent_id']} has given no sign of life since")


def test_r248_a_server_that_is_killed_amid_a_failover_is_followed_by_one_that_ends_it(site: Site) -> None:
    site.begin(*HANGS_ONCE, grace=4.0)
    name = site.dispatch()
    wait_until(site.is_offline, 60)
    site.kill()
    site.start()
    site.until_completed(name)
    assert site.outcomes() == [("genesis-01", "failed_over"), ("genesis-02", "done")]
    wait_until(lambda: not site.is_offline() and not site.store.read(alarms.open_ones), 30)


def test_r243_r244_workers_come_to_a_long_queue_and_leave_when_it_is_worked_off(site: Site) -> None:
    site.begin(least=1, heartbeat=5.0)
    told = [script("sleep 0.5", f"write {number}.md made", "commit made") for number in range(8)]
    names = [site.dispatch(f"Thing {number}\n\n{each}") for number, each in enumerate(told)]
    wait_until(lambda: len(site.crowd()) == 3, 60)
    wait_until(lambda: not site.rows("SELECT 1 FROM queue_item WHERE status IN ('waiting', 'working')"), 90)
    assert len(names) == len(site.rows("SELECT DISTINCT item_id FROM work_spell"))
    assert {name for name, _ in site.outcomes()} == {"genesis-01", "genesis-02", "genesis-03"}
    wait_until(lambda: site.crowd() == ["genesis-01"], 60)
    wait_until(lambda: not site.store.read(alarms.open_ones), 30)
    changes = [json.loads(row["data"]) for row in site.rows("SELECT data FROM event WHERE kind = 'workflow_scaled'")]
    assert all(1 <= each["after"] <= 3 and each["why"] for each in changes)
