"""The files of document 003 follow from the database (R-253 to R-255)."""

from typing import Any

from crewyard.server import events
from crewyard.server.store import Transaction
from crewyard.server.workflows import shared_state

from .line import DEPLOYED, NOW, REPOSITORY, Line


def tree(line: Line, *of: str) -> dict[str, Any]:
    found: dict[str, Any] = line.read(shared_state.tree, line.pipeline, of or None)
    return found


def test_r253_a_project_has_its_status_and_what_each_stage_handed_over(line: Line) -> None:
    name = line.dispatch(priority=2)
    line.distribute()
    at_work = tree(line)[f"projects/{name}/status.json"]
    assert (at_work["stage"], at_work["status"], at_work["level"]) == ("genesis", "active", "high")
    [place] = at_work["assignments"]
    assert (place["workflow"], place["status"], place["worker_id"]) == ("genesis", "working", "genesis-01")
    assert "input" not in at_work

    for output in (REPOSITORY | {"issues_created": 3}, DEPLOYED, {"pieces": 2}):
        line.finish(name, output)
        line.distribute()
    files = tree(line, name)

    assert {path for path in files if path.startswith("projects/")} == {
        f"projects/{name}/{file}"
        for file in ("status.json", "genesis-output.json", "development-progress.json", "content-output.json")
    }
    genesis = files[f"projects/{name}/genesis-output.json"]
    assert (genesis["repository_url"], genesis["output"]["issues_created"]) == (REPOSITORY["repository_url"], 3)
    assert files[f"projects/{name}/content-output.json"]["output"] == {"pieces": 2}


def test_r253_progress_of_development_holds_its_milestones(line: Line) -> None:
    name = line.dispatch(stage="development")
    line.distribute()

    def milestone(tx: Transaction, *, now: str, actor: str) -> None:
        events.record(tx, now=now, actor=actor, subject_type="project", subject_id=name, kind="development_milestone",
                      output={"milestone": "tests are green"})  # fmt: skip

    line.run(milestone)

    progress = tree(line)[f"projects/{name}/development-progress.json"]
    assert progress["milestones"] == [{"at": NOW, "by": "lead", "output": {"milestone": "tests are green"}}]
    assert (progress["status"], progress["worker_id"], progress["output"]) == ("working", "development-01", None)


def test_r254_each_queue_has_its_items_in_order_and_review_its_errors(line: Line) -> None:
    for level in (5, 5, 8, 1):
        line.dispatch(priority=level)
    line.distribute()
    line.fail("P-4", message="Two tests fail.")
    files = tree(line)

    assert {path for path in files if path.startswith("queues/")} == {
        f"queues/{name}-queue/items.json" for name in ("genesis", "development", "content", "review")
    }
    queue = files["queues/genesis-queue/items.json"]
    assert (queue["waiting"], [(each["project_id"], each["status"]) for each in queue["items"]]) == (
        2, [("P-2", "waiting"), ("P-3", "waiting"), ("P-1", "working")],
    )  # fmt: skip
    [reviewed] = files["queues/review-queue/items.json"]["items"]
    assert (reviewed["project_id"], reviewed["error_message"]) == ("P-4", "Two tests fail.")


def test_r255_each_worker_has_its_assignment_and_idle_no_heartbeat(line: Line) -> None:
    line.dispatch()
    line.distribute()
    files = tree(line)

    at_work, idle = files["instances/genesis-01.json"], files["instances/genesis-02.json"]
    assert (at_work["status"], at_work["assignment"]["project_id"]) == ("busy", "P-1")
    assert (idle["status"], idle["assignment"], idle["heartbeat"]) == ("idle", None, None)


def test_only_what_happened_since_is_named(line: Line) -> None:
    line.dispatch()
    seen = line.read(shared_state.since, None)
    assert seen.any
    assert not line.read(shared_state.since, seen.last).any

    name = line.dispatch()
    line.distribute()
    after = line.read(shared_state.since, seen.last)
    assert (after.any, sorted(after.projects)) == (True, ["P-1", name])
    assert {path for path in tree(line, name) if path.startswith("projects/")} == {f"projects/{name}/status.json"}
