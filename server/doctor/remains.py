"""What a killed supervisor, or another life of this yard, has left behind."""

from collections.abc import Iterator
from pathlib import Path

from .. import agent_processes, agents, credentials, leftovers, process
from ..store import Transaction
from .patient import Finding, Patient, fine, many, shown, warning


def worktrees(patient: Patient) -> Iterator[Finding]:
    if patient.repository is None or patient.misconfigured is not None:
        return
    found = leftovers.look(patient.repository, patient.settings, patient.store)
    orphans = [each for each in found if each.status == leftovers.ORPHAN]
    if orphans:
        yield warning(
            f"{many(len(orphans), 'worktree')} of another database: {shown([each.worktree_path for each in orphans])}.",
            "`crewyard worktrees` says of each whether work is in it; `git worktree remove PATH` removes one.",
        )
    if patient.store is not None:
        work = patient.store.read(_work)
        idle = [each for each in found if each.ready and each.status != leftovers.ORPHAN]
        if idle and not work:
            yield warning(
                f"{many(len(idle), 'worktree')} may be removed: {shown([each.task_id for each in idle])}.",
                "`crewyard start` lets the next supervisor do it.",
            )
    gone = [each for each in found if not Path(each.worktree_path).exists()]
    if gone:
        yield warning(
            f"{many(len(gone), 'worktree')} of ours {'is' if len(gone) == 1 else 'are'} gone from the disk: "
            f"{shown([each.task_id for each in gone])}; what was committed is on the task's branch.",
            "The next agent on the task gets it anew; `crewyard why TASK` says what becomes of the task.",
        )
    if not orphans and not gone:
        yield fine(f"{many(len(found), 'worktree')}{', none of another database' if found else ''}")


def processes(patient: Patient) -> Iterator[Finding]:
    if patient.store is None:
        return
    live = patient.store.read(agents.live)
    gone = [row["agent_id"] for row in live if row["status"] == "running" and not agent_processes.runner_lives(row)]
    if gone:
        yield warning(
            f"{shown(gone)} {'is' if len(gone) == 1 else 'are'} recorded as running, and no runner is there.",
            "`crewyard start` takes that in, and starts the tasks again.",
        )
    known = {row["run_dir"] for row in live}
    uncounted = {
        path.parent.name: number
        for path, number in process.agents_by_prompt_file(patient.data.runs.resolve()).items()
        if str(path.parent) not in known
    }
    if uncounted:
        yield warning(
            f"Processes of agents that have ended are still there: {shown(sorted(uncounted))}.",
            "`crewyard start` ends them.",
        )
    if not gone and not uncounted:
        each = f"{many(len(live), 'agent')} on record, each with its processes and no more"
        yield fine(each if live else "no agent is on record, and no process of one is there")


def credentials_left(patient: Patient) -> Iterator[Finding]:
    paths = patient.paths
    if paths is None or patient.store is None:
        return
    live = {row["run_dir"] for row in patient.store.read(agents.live)}
    left = sorted(folder.name for folder in credentials.left(paths) if str(folder) not in live)
    if left:
        yield warning(
            f"Files with a token of ended agents are left: {shown(left)}.",
            "`crewyard start` removes them; the tokens open nothing any more.",
        )
    else:
        yield fine("no token of an ended agent is left")


def _work(tx: Transaction) -> int:
    return int(tx.value("SELECT count(*) FROM dispatch WHERE status IN ('active', 'paused')"))
