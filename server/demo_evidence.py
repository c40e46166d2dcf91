"""What really happened in a demonstration, from the database and from git, and whether it is what was planned."""

from dataclasses import dataclass

from . import clock, dispatches
from .repository import Repository
from .store import Row, Transaction

SENT_BACK = ("merge_conflicts", "merge_check_failed")


@dataclass(frozen=True)
class Evidence:
    """The record of one dispatch. Times in seconds; ``agent_seconds`` is the sum of what each agent took."""

    tasks: list[Row]
    merges: list[Row]
    conflicts: list[Row]
    restarts: list[Row]
    launches: int
    agent_seconds: float
    seconds: float


def gather(tx: Transaction, dispatch_id: str) -> Evidence:
    dispatch = dispatches.get(tx, dispatch_id)
    scope = "task_id IN (SELECT task_id FROM dispatch_task WHERE dispatch_id = ?)"
    agents = tx.only(
        f"SELECT count(*), coalesce(sum(duration_ms), 0) / 1000.0 FROM agent_lifecycle WHERE {scope}", (dispatch_id,)
    )
    return Evidence(
        tasks=tx.all(f"SELECT * FROM specs_task WHERE {scope} ORDER BY position", (dispatch_id,)),
        merges=tx.all(
            f"SELECT * FROM merge_request WHERE status = 'merged' AND {scope} ORDER BY ended_at", (dispatch_id,)
        ),
        conflicts=tx.all(
            "SELECT m.*, (SELECT max(n.merge_commit) FROM merge_request n WHERE n.task_id = m.task_id "
            f"AND n.merge_id > m.merge_id AND n.status = 'merged') AS then_merged FROM merge_request m "
            f"WHERE m.status = 'conflicted' AND m.{scope} ORDER BY m.merge_id",
            (dispatch_id,),
        ),
        restarts=tx.all(
            "SELECT r.*, a.error_message, t.status AS task_status FROM agent_restart_log r "
            f"JOIN agent_lifecycle a USING (agent_id) JOIN specs_task t ON t.task_id = r.task_id WHERE r.{scope} "
            f"AND r.reason NOT IN ({', '.join('?' * len(SENT_BACK))}) ORDER BY r.restart_id",
            (dispatch_id, *SENT_BACK),
        ),
        launches=agents[0],
        agent_seconds=agents[1],
        seconds=clock.seconds_between(dispatch["created_at"], dispatch["ended_at"] or clock.now()),
    )


def sentences(seen: Evidence) -> list[str]:
    """What happened, for a person."""
    done = sum(task["status"] == "completed" for task in seen.tasks)
    said = [
        f"{done} of {len(seen.tasks)} tasks are done, by {seen.launches} agents and {len(seen.merges)} merges. "
        "Each merge ran all tests first."
    ]
    said += [
        f"{row['agent_id']} failed at {row['task_id']} ({(row['error_message'] or row['reason']).rstrip('.')}) and was "
        f"restarted {row['backoff_seconds']:g} s later; the task is {row['task_status']} now."
        for row in seen.restarts
    ]
    said += [
        f"{row['task_id']}: {row['error_message'].rstrip('.')}; it went back to an agent and "
        + (f"was then merged as {row['then_merged'][:7]}." if row["then_merged"] else "is not merged.")
        for row in seen.conflicts
    ]
    said.append(
        f"It took {seen.seconds:.1f} s. One after another the agents alone would have taken {seen.agent_seconds:.1f} s "
        f"(the sum of their recorded durations): {seen.agent_seconds / max(seen.seconds, 0.001):.1f} times as long."
    )
    return said


def faults(seen: Evidence, repository: Repository, target: str) -> list[str]:
    """What did not go as the demonstration promises."""
    found = [
        f"task {task['task_id']} is {task['status']}: {task['error_message'] or 'it did not end'}"
        for task in seen.tasks
        if task["status"] != "completed"
    ]
    if not seen.restarts:
        found.append("no agent was restarted.")
    if not seen.conflicts:
        found.append("no merge conflicted.")
    for row in seen.merges:
        parents = repository.git("rev-list", "--parents", "-1", row["merge_commit"]).split()[1:]
        if len(parents) != 2 or not repository.is_ancestor(row["merge_commit"], target):
            found.append(f"the merge of {row['task_id']} is no merge commit on {target}.")
    left = [str(checkout.path) for checkout in repository.checkouts()[1:]]
    branches = repository.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    left += [branch for branch in branches if branch not in (target, repository.branch_at(repository.root))]
    if left:
        found.append(f"left behind: {', '.join(left)}.")
    return found
