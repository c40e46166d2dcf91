"""What a task builds on: what was done for the tasks that it depended on, from the database and from git."""

from . import merges, reports
from .crew import Crew
from .prompts import DEEDS_SHOWN, Deed
from .store import Row, Transaction


def of_task(crew: Crew, task_id: str) -> list[Deed]:
    """What its dependencies did, by their ids; with commits and files as far as a prompt shows them."""
    rows = crew.store.read(_done, task_id)
    return [_deed(crew, row, said, in_full=number < DEEDS_SHOWN) for number, (row, said) in enumerate(rows)]


def is_there(tx: Transaction, task_id: str) -> bool:
    """Whether the task builds on anything, so that git is to be asked about it."""
    return bool(merges.of_dependencies(tx, task_id))


def _done(tx: Transaction, task_id: str) -> list[tuple[Row, str | None]]:
    return [(row, reports.completion_of(tx, row["task_id"])) for row in merges.of_dependencies(tx, task_id)]


def _deed(crew: Crew, row: Row, summary: str | None, *, in_full: bool) -> Deed:
    commit = row["merge_commit"]
    subjects, files = crew.repository.brought_by(commit) if commit and in_full else ([], [])
    return Deed(row["task_id"], row["title"], commit, summary, subjects, files)
