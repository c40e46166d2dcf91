"""What tests of a whole yard need; beside it, a crew within reach of the test, for what is seen from inside only."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from yards import CREWYARD, Yard, script_fixture, wait_until_fixture, yard

from crewyard.server import clock, lease, merges, process, settings
from crewyard.server.crew import Crew
from crewyard.server.repository import Repository
from crewyard.server.store import Store, Transaction

__all__ = ["CREWYARD", "Yard", "script_fixture", "wait_until_fixture", "yard"]


@pytest.fixture
def crew(yard: Yard) -> Iterator[Crew]:
    """A crew that holds the lease, with nobody acting but the test."""
    yard.git(yard.repo, "branch", "roadmap")
    made = Crew.of(Repository.discover(yard.repo), settings.load(yard.repo), Store(yard.repo / "data/orchestrator.db"))
    me = process.myself()
    holder = lease.Holder("test", me.pid, me.start_time, me.boot_id)
    made.term = made.store.run(lease.acquire, holder, now=clock.now(), uptime=clock.uptime()) or 0
    yield made
    made.runners.close()
    made.repository.close()
    made.store.close()


@pytest.fixture
def proven_task(crew: Crew, yard: Yard) -> Callable[..., int]:
    """``proven_task(name, **files)``: a task whose branch waits in the merge queue; returns the request."""
    return partial(_proven_task, crew, yard)


def _proven_task(crew: Crew, yard: Yard, name: str, files: dict[str, str] | None = None) -> int:
    branch = f"roadmap-implementation_task-{name}"
    yard.git(yard.repo, "switch", "--quiet", "--create", branch, "roadmap")
    for file, text in (files or {f"{name}.txt": name}).items():
        (yard.repo / file).write_text(text)
        yard.git(yard.repo, "add", "--", file)
    yard.git(yard.repo, "commit", "-qm", name)
    head = yard.git(yard.repo, "rev-parse", "HEAD")
    yard.git(yard.repo, "switch", "--quiet", "main")

    def insert(tx: Transaction) -> int:
        now = clock.now()
        tx.run(
            "INSERT INTO specs_task (task_id, title, status, created_at, updated_at) "
            "VALUES (?, ?, 'in_progress', ?, ?)",
            (name, name, now, now),
        )
        tx.run(
            "INSERT INTO orchestrator_task (orchestrator_task_id, task_id, agent_type, status, priority, "
            "assigned_agent, "
            "branch_name, assigned_at, created_at) VALUES (?, ?, 'scripted', 'completed', 5, 'x', ?, ?, ?)",
            (f"ot-{name}", name, branch, now, now),
        )
        row = merges.enqueue(tx, f"ot-{name}", head=head, target="roadmap", approved_by=None, now=now, actor="test")
        return int(row["merge_id"])

    return crew.store.run(insert)
