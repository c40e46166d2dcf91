"""Works the merge queue off: one merge at a time per target branch, each safe against kill -9 at any line.

The commit is recorded (``propose``) before the branch is moved. A request found ``checking`` with no merger at work is
settled by looking at git: either the target holds its head, or it goes back into the queue.
"""

from . import clock, environment, merges, merging, process, prover, tasks
from .crew import ACTOR, Crew
from .errors import DirtyWorkingDirectory, GitError, SpawnFailed
from .merges import Merged
from .store import Row


def work_off(crew: Crew, target: str) -> None:
    """Merge what is due for ``target``, until nothing is."""
    for interrupted in crew.store.read(merges.checking):
        if interrupted["target_branch"] == target:
            _resume(crew, interrupted)
    auto = crew.settings.merge.auto_approve
    while not crew.stopping.is_set():
        row = crew.write(merges.claim_next, target, auto_approve=auto, now=clock.now(), actor=ACTOR)
        if row is None:
            return
        merge(crew, row)


def merge(crew: Crew, row: Row) -> None:
    """Merge one claimed request, or record why not."""
    merge_id = row["merge_id"]
    try:
        _try(crew, row)
    except merging.TargetMoved:
        crew.write(merges.requeue, merge_id, now=clock.now(), actor=ACTOR, why="the target branch moved meanwhile")
    except DirtyWorkingDirectory as error:
        _wait_for_checkout(crew, row, error)
    except (GitError, SpawnFailed) as error:
        crew.write(merges.abandoned, merge_id, code=error.code, message=error.message, now=clock.now(), actor=ACTOR)


def _resume(crew: Crew, row: Row) -> None:
    tip = crew.repository.require_tip(row["target_branch"])
    candidate = row["candidate_commit"]
    if candidate and crew.repository.is_ancestor(candidate, tip):
        _succeed(crew, row["merge_id"], candidate)
    else:
        crew.write(
            merges.requeue, row["merge_id"], now=clock.now(), actor=ACTOR, why="its merger died before the branch moved"
        )


def _try(crew: Crew, row: Row) -> None:
    git, target, head = crew.repository, row["target_branch"], row["head_commit"]
    tip = git.require_tip(target)
    trial = merging.attempt(git, tip, head, crew.settings.merge.union)
    if trial.conflicts:
        _refuse_conflict(crew, row, trial.conflicts)
        return
    candidate = merging.commit(git, trial.tree, (tip, head), _message(crew, row, trial.united))
    if crew.settings.merge.check and not _passes(crew, row, candidate):
        return
    crew.write(merges.propose, row["merge_id"], candidate)
    merging.move_branch(git, target, candidate, tip, f"crewyard: merge {row['task_id']}")
    _succeed(crew, row["merge_id"], candidate)


def _succeed(crew: Crew, merge_id: int, candidate: str) -> None:
    files, inserted, deleted = crew.repository.diff_stat(f"{candidate}^1", candidate)
    result = Merged(candidate, files, inserted, deleted)
    crew.write(merges.succeeded, merge_id, result, now=clock.now(), actor=ACTOR)


def _message(crew: Crew, row: Row, united: list[str]) -> str:
    task = crew.store.read(tasks.get, row["task_id"])
    lines = [f"Merge task {row['task_id']}: {task['title']}", "", f"Branch: {row['branch_name']}"]
    if united:
        lines.append(f"Both sides' additions kept in: {', '.join(united)}")
    return "\n".join(lines)


def _refuse_conflict(crew: Crew, row: Row, files: list[str]) -> None:
    message = f"Merging into {row['target_branch']} conflicts in {', '.join(files)}."
    base = crew.repository.git("merge-base", row["target_branch"], row["head_commit"])
    theirs = crew.repository.git("log", "--format=- %s", f"{base}..{row['target_branch']}", "--", *files)
    prompt = f"{message}\n\nWhat changed those files on {row['target_branch']} meanwhile:\n\n{theirs}"
    crew.write(
        merges.refused,
        row["merge_id"],
        want="conflicted",
        code="merge_conflicts",
        message=message,
        files=files,
        prompt=prompt,
        limit=crew.settings.merge.max_attempts,
        now=clock.now(),
        actor=ACTOR,
    )


def _passes(crew: Crew, row: Row, candidate: str) -> bool:
    """Run the configured check on the merged tree; a failure is recorded and told to the agent."""
    command, log = crew.settings.merge.check, crew.paths.merge_log(row["merge_id"])
    with merging.checked_out(crew.repository, log.with_suffix(""), candidate) as folder:
        done = process.run_check(
            command,
            cwd=folder,
            log=log,
            timeout_seconds=crew.settings.merge.check_timeout_seconds,
            environment=environment.for_child([]),
        )
    if done.code == 0:
        log.unlink()
        return True
    if crew.stopping.is_set():
        return False
    words = prover.failed_check(command, done, log)
    crew.write(
        merges.refused,
        row["merge_id"],
        want="rejected",
        code="merge_check_failed",
        message=f"On the merged tree: {words.splitlines()[0]}",
        prompt=f"Merged into {row['target_branch']}, your work failed.\n\n```\n{words}\n```",
        limit=crew.settings.merge.max_attempts,
        now=clock.now(),
        actor=ACTOR,
    )
    return False


def _wait_for_checkout(crew: Crew, row: Row, error: DirtyWorkingDirectory) -> None:
    now = clock.now()
    if row["attempts"] + 1 >= crew.settings.merge.max_attempts:
        crew.write(merges.abandoned, row["merge_id"], code=error.code, message=error.message, now=now, actor=ACTOR)
        return
    crew.write(
        merges.requeue,
        row["merge_id"],
        now=now,
        actor=ACTOR,
        why=error.message,
        code=error.code,
        retry_seconds=crew.settings.merge.retry_seconds,
    )
