"""Works the merge queue off: one merge at a time per target branch, each safe against kill -9 at any line.

What waits is merged as a chain of commits. Where a check is configured it is run once, at the chain's end; a chain that
fails is halved until the culprit stands alone (``batches``). The commits are recorded (``propose``) before the branch
is moved to the last of them. A request found ``checking`` with no merger at work is settled by looking at git: either
the target holds its head, or it goes back into the queue.
"""

import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec

from . import clock, environment, hooks, merges, merging, outfit, prover, rework, runners, tasks, trials
from .batches import Search
from .crew import ACTOR, Crew
from .errors import BranchNotFound, GitError, HookFailed, SpawnFailed
from .hooks import Ceremony, Scribe
from .merges import Merged
from .runners import Finished
from .settlements import Settlement
from .store import Row, Transaction
from .trials import Trial

P = ParamSpec("P")
TITLE_LENGTH = 200
_FAILED = {
    "merge_check_failed": "Merged into {}, your work failed.",
    "hook_failed": "The git hooks of this repository refused to let your work be merged into {}.",
}


@dataclass(frozen=True)
class Link:
    """A request, and the commit that merges it onto the one before."""

    row: Row
    commit: str
    before: str

    @property
    def merge_id(self) -> int:
        return int(self.row["merge_id"])


@dataclass
class Round:
    """One working off of a queue: what git does at commits here, and what failed checks have told so far."""

    crew: Crew
    target: str
    ceremony: Ceremony
    search: Search = field(default_factory=Search)

    @property
    def has_hooks(self) -> bool:
        return self.ceremony.holds_for(hooks.AT_MERGE)

    def most_at_once(self) -> int:
        """Without a check each by itself where a checkout follows: what lies in the way of one is to stop no other."""
        merge = self.crew.settings.merge
        alone = not merge.check and self.crew.repository.may_be_checked_out(self.target)
        return 1 if alone else merge.max_batch

    def is_over_for(self, row: Row) -> None:
        self.search = self.search.done_with([row["merge_id"]])


def work_off(crew: Crew, target: str) -> None:
    """Merge what is due for ``target``, until nothing is."""
    for interrupted in crew.store.read(merges.checking):
        if interrupted["target_branch"] == target:
            _guarded(crew, interrupted, _resume, crew, interrupted)
    work = Round(crew, target, hooks.in_force(crew.repository, crew.git_config))
    while not crew.stopping.is_set():
        rows = crew.take_in(_claim, work, work.most_at_once(), clock.now())
        if not rows:
            return
        _guarded(crew, rows[0], _merge, work, rows)


def _claim(tx: Transaction, work: Round, most: int, now: str) -> list[Row]:
    """The requests to be merged together next; the first of them is ``checking`` from here on."""
    due = merges.due(tx, auto_approve=work.crew.settings.merge.auto_approve, now=now, target=work.target)
    if not due or due[0]["status"] == "checking":
        return []
    by_id = {row["merge_id"]: row for row in due}
    first, *others = work.search.next(list(by_id), most)
    return [merges.claim(tx, first, now=now, actor=ACTOR), *(by_id[merge_id] for merge_id in others)]


def _guarded(crew: Crew, row: Row, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Do one step for a claimed request, or record why not; what stopping cuts off is left to be done again."""
    merge_id = row["merge_id"]
    try:
        step(*args, **kwargs)
    except merging.TargetMoved:
        crew.write(merges.requeue, merge_id, now=clock.now(), actor=ACTOR, why="the target branch moved meanwhile")
    except (GitError, OSError) as error:
        if crew.stopping.is_set():
            return
        if _has_landed(crew, row):
            raise  # it stays `checking`, which the next look settles
        _try_later(crew, row, error)
    except (BranchNotFound, SpawnFailed) as error:
        if not crew.stopping.is_set():
            crew.write(merges.abandoned, merge_id, code=error.code, message=error.message, now=clock.now(), actor=ACTOR)


def _has_landed(crew: Crew, row: Row) -> bool:
    candidate = crew.store.read(merges.get, row["merge_id"])["candidate_commit"]
    tip = crew.repository.tip(row["target_branch"])
    return candidate is not None and tip is not None and crew.repository.is_ancestor(candidate, tip)


def _resume(crew: Crew, row: Row) -> None:
    tip = crew.repository.require_tip(row["target_branch"])
    candidate = row["candidate_commit"]
    if candidate and crew.repository.is_ancestor(candidate, tip):
        _succeed(crew, _made_before(crew, row, candidate))
    else:
        crew.write(
            merges.requeue, row["merge_id"], now=clock.now(), actor=ACTOR, why="its merger died before the branch moved"
        )


def _merge(work: Round, rows: list[Row]) -> None:
    tip = work.crew.repository.require_tip(work.target)
    if work.has_hooks:
        with _private_folder(work, rows[0], tip) as folder:
            chain = _chain(work, rows, tip, folder)
    else:
        chain = _chain(work, rows, tip, None)
    if chain and _passes(work, chain):
        _land(work, chain, tip)


def _land(work: Round, chain: list[Link], tip: str) -> None:
    """Move the branch to the chain's end."""
    crew = work.crew
    if not crew.take_in(merges.propose, {link.merge_id: (link.row["head_commit"], link.commit) for link in chain}):
        raise merging.TargetMoved  # one of them was withdrawn meanwhile, and is part of what was checked
    crew.require_lease()
    names = ", ".join(link.row["task_id"] for link in chain)
    with ThreadPoolExecutor(1) as meanwhile:
        results = meanwhile.submit(_results, crew, chain)
        merging.move_branch(crew.repository, work.target, chain[-1].commit, tip, f"crewyard: merge {names}")
        _record(crew, results.result())
    for link in chain:
        work.is_over_for(link.row)


@contextmanager
def _private_folder(work: Round, first: Row, commit: str) -> Iterator[Path]:
    """Where hooks and the check see the files of ``commit``."""
    paths, git = work.crew.paths, work.crew.repository
    work.crew.require_lease()  # what is ended and removed here may be a successor's
    for earlier in paths.merge_logs(first["merge_id"]):
        runners.end_check(earlier)
        merging.discard(git, earlier.with_suffix(""))
        earlier.unlink(missing_ok=True)
    with merging.checked_out(git, _log(work, first).with_suffix(""), commit) as folder:
        yield folder


def _log(work: Round, first: Row) -> Path:
    return work.crew.paths.merge_log(first["merge_id"], work.crew.term)


def _chain(work: Round, rows: list[Row], tip: str, folder: Path | None) -> list[Link]:
    """Merge the requests onto each other. What becomes of the first where it cannot be merged is recorded; the others
    wait for their own turn then.
    """
    links: list[Link] = []
    for row in rows:
        before = links[-1].commit if links else tip
        try:
            made = _link(work, row, before, folder, is_first=row is rows[0])
        except GitError:
            if not links:
                raise
            made = None  # what is wrong with it is said at its own turn, and counts against no other
            if folder is not None:
                merging.reset(work.crew.repository, folder, before)
        if made is not None:
            links.append(made)
        elif not links:
            return []
    return links


def _link(work: Round, row: Row, before: str, folder: Path | None, *, is_first: bool) -> Link | None:
    crew, git, head = work.crew, work.crew.repository, row["head_commit"]
    trial = trials.attempt(git, before, head, crew.settings.merge.union, row["strategy"])
    if trial.conflicts:
        if is_first:
            work.is_over_for(row)
            rework.refuse(crew, row, trial.conflicts)
        return None
    if trial.tree == git.resolve(f"{before}^{{tree}}"):
        # By a merger that was stopped between the branch and its record, or by hand.
        done = merging.find_merge(git, before, head)
        if done is not None:
            if is_first:
                work.is_over_for(row)
                _succeed(crew, _made_before(crew, row, done))
            return None
    if trial.settled or row["settled"] != "[]":
        crew.write(merges.note_settled, row["merge_id"], trial.settled)
    try:
        return Link(row, _commit(work, row, trial, before, folder), before)
    except HookFailed as error:
        if not is_first:
            raise
        if not crew.stopping.is_set():  # else the hook was ended by that
            work.is_over_for(row)
            _refuse(work, row, error.code, prover.in_short(error.message), error.message)
        return None


def _commit(work: Round, row: Row, trial: Trial, before: str, folder: Path | None) -> str:
    git, message = work.crew.repository, _message(work.crew, row, trial.settled)
    if folder is None:
        return merging.commit(git, trial.tree, (before, row["head_commit"]), message)
    timeout = work.crew.settings.merge.check_timeout_seconds
    scribe = Scribe(git, work.crew.runners, work.ceremony, folder.with_suffix(".log"), timeout)
    return scribe.merge(folder, row["head_commit"], message, trial.tree if trial.settled else None)


def _made_before(crew: Crew, row: Row, commit: str) -> Link:
    """The link of a merge that somebody made already: a merger that was stopped, or a person."""
    return Link(row, commit, crew.repository.resolve(f"{commit}^1") or commit)


def _succeed(crew: Crew, link: Link) -> None:
    _record(crew, _results(crew, [link]))


def _results(crew: Crew, chain: list[Link]) -> list[tuple[int, Merged]]:
    stats = crew.repository.diff_stats([(link.before, link.commit) for link in chain])
    return [(link.merge_id, Merged(link.commit, *stat)) for link, stat in zip(chain, stats, strict=True)]


def _record(crew: Crew, results: list[tuple[int, Merged]]) -> None:
    # Git does not wait for the disk with its refs; a record that did could outlive the merge in a power cut.
    crew.take_in(merges.all_succeeded, results, now=clock.now(), actor=ACTOR)


def _message(crew: Crew, row: Row, settled: list[Settlement]) -> str:
    task = crew.store.read(tasks.get, row["task_id"])
    lines = [f"Merge task {row['task_id']}: {task['title'][:TITLE_LENGTH]}", "", f"Branch: {row['branch_name']}"]
    if settled:
        how = f"as {row['approved_by']} said" if row["strategy"] else "without an agent"
        lines += ["", f"Conflicts settled {how}:", *(f"- {each.told(row['target_branch'])}" for each in settled)]
    return "\n".join(lines)


def _passes(work: Round, chain: list[Link]) -> bool:
    """Whether the configured check passes on the chain's end; a failure is recorded.

    Each time in files of its own: what a hook or the check before has left or mended there is not what is merged.
    What fails alone must fail twice: a check that fails and passes on the same tree is flaky, which is told.
    """
    crew, tried = work.crew, [link.merge_id for link in chain]
    if not crew.settings.merge.check:
        return True
    tree = crew.repository.resolve(f"{chain[-1].commit}^{{tree}}") or chain[-1].commit
    failed_before = tree in work.search.failed_trees
    done = _check(work, chain)
    if done.code != 0 and len(chain) == 1 and not failed_before and not crew.stopping.is_set():
        failed_before, done = True, _check(work, chain)
    if done.code == 0:
        if failed_before:
            crew.write(merges.note_flaky, tried, shlex.join(crew.settings.merge.check), now=clock.now(), actor=ACTOR)
        return True
    if crew.stopping.is_set():
        return False
    work.search = work.search.failed(tried, tree)
    if len(chain) > 1:
        names = ", ".join(link.row["task_id"] for link in chain)
        why = f"the check failed on the merges of {names} together; they are tried apart"
        crew.write(merges.requeue, tried[0], now=clock.now(), actor=ACTOR, why=why)
    else:
        log = _log(work, chain[0].row)
        words = prover.failed_check(crew.settings.merge.check, done, log)
        message = f"On the merged tree: {prover.in_short(words)} (all of it: {log})"
        _refuse(work, chain[0].row, "merge_check_failed", message, words)
    return False


def _check(work: Round, chain: list[Link]) -> Finished:
    crew, log = work.crew, _log(work, chain[0].row)
    with _private_folder(work, chain[0].row, chain[-1].commit) as folder:
        outfit.prepare_for_check(crew, chain[0].row["task_id"], folder)
        done = crew.runners.check(
            crew.settings.merge.check,
            cwd=folder,
            log=log,
            timeout_seconds=crew.settings.merge.check_timeout_seconds,
            environment=environment.for_child([]),
        )
    if done.code == 0:
        log.unlink()
    return done


def _refuse(work: Round, row: Row, code: str, message: str, words: str) -> None:
    work.crew.write(
        merges.refused,
        row["merge_id"],
        want="rejected",
        code=code,
        message=message,
        prompt=f"{_FAILED[code].format(work.target)}\n\n```\n{words}\n```",
        limit=work.crew.settings.merge.max_attempts,
        now=clock.now(),
        actor=ACTOR,
    )


def _try_later(crew: Crew, row: Row, error: GitError | OSError) -> None:
    """A checkout is in the way, or git or the disk failed: again after a while, a bounded number of times."""
    now, message = clock.now(), str(error)
    code = error.code if isinstance(error, GitError) else GitError.code
    if row["attempts"] + 1 >= crew.settings.merge.max_attempts:
        cure = f"{message} {error.hint}".strip() if isinstance(error, GitError) else message
        crew.write(merges.abandoned, row["merge_id"], code=code, message=cure, now=now, actor=ACTOR)
        return
    crew.write(
        merges.requeue,
        row["merge_id"],
        now=now,
        actor=ACTOR,
        why=message,
        code=code,
        retry_seconds=crew.settings.merge.retry_seconds,
    )
