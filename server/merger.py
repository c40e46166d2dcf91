"""Works the merge queue off: one merge at a time per target branch, each safe against kill -9 at any line.

The commit is recorded (``propose``) before the branch is moved. A request found ``checking`` with no merger at work is
settled by looking at git: either the target holds its head, or it goes back into the queue.
"""

from collections.abc import Callable

from . import clock, environment, merges, merging, prover, runners, tasks
from .crew import ACTOR, Crew
from .errors import BranchNotFound, CrewyardError, GitError, SpawnFailed
from .merges import Merged
from .store import Row

TITLE_LENGTH = 200
FILES_SHOWN = 50


def work_off(crew: Crew, target: str) -> None:
    """Merge what is due for ``target``, until nothing is."""
    for interrupted in crew.store.read(merges.checking):
        if interrupted["target_branch"] == target:
            _guarded(crew, interrupted, _resume)
    auto = crew.settings.merge.auto_approve
    while not crew.stopping.is_set():
        row = crew.write(merges.claim_next, target, auto_approve=auto, now=clock.now(), actor=ACTOR)
        if row is None:
            return
        _guarded(crew, row, _try)


def _guarded(crew: Crew, row: Row, step: Callable[[Crew, Row], None]) -> None:
    """Do one step for a claimed request, or record why not; what stopping cuts off is left to be done again."""
    merge_id = row["merge_id"]
    try:
        step(crew, row)
    except merging.TargetMoved:
        crew.write(merges.requeue, merge_id, now=clock.now(), actor=ACTOR, why="the target branch moved meanwhile")
    except GitError as error:
        if not crew.stopping.is_set():
            _try_later(crew, row, error)
    except (BranchNotFound, SpawnFailed, OSError) as error:
        if crew.stopping.is_set():
            return
        code = error.code if isinstance(error, CrewyardError) else "git_error"
        crew.write(merges.abandoned, merge_id, code=code, message=str(error), now=clock.now(), actor=ACTOR)


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
    done = merging.find_merge(git, tip, head)
    if done is not None:  # by a merger that was stopped between the branch and its record, or by hand
        _succeed(crew, row["merge_id"], done)
        return
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
    lines = [f"Merge task {row['task_id']}: {task['title'][:TITLE_LENGTH]}", "", f"Branch: {row['branch_name']}"]
    if united:
        lines.append(f"Both sides' additions kept in: {', '.join(united)}")
    return "\n".join(lines)


def _refuse_conflict(crew: Crew, row: Row, files: list[str]) -> None:
    shown = ", ".join(files[:FILES_SHOWN]) + (" and more" if len(files) > FILES_SHOWN else "")
    message = f"Merging into {row['target_branch']} conflicts in {shown}."
    base = crew.repository.git("merge-base", row["target_branch"], row["head_commit"])
    theirs = crew.repository.git("log", "--format=- %s", f"{base}..{row['target_branch']}", "--", *files[:FILES_SHOWN])
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
    command, log = crew.settings.merge.check, crew.paths.merge_log(row["merge_id"], crew.term)
    for earlier in crew.paths.merge_logs(row["merge_id"]):
        runners.end_check(earlier)
        merging.discard(crew.repository, earlier.with_suffix(""))
        earlier.unlink(missing_ok=True)
    with merging.checked_out(crew.repository, log.with_suffix(""), candidate) as folder:
        done = crew.runners.check(
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
        message=f"On the merged tree: {prover.in_short(words)} (all of it: {log})",
        prompt=f"Merged into {row['target_branch']}, your work failed.\n\n```\n{words}\n```",
        limit=crew.settings.merge.max_attempts,
        now=clock.now(),
        actor=ACTOR,
    )
    return False


def _try_later(crew: Crew, row: Row, error: GitError) -> None:
    """A checkout is in the way, or git failed: again after a while, a bounded number of times."""
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
