"""What the shell completes: ids out of the database, quickly, and never an error.

The repository is the one that the line names so far, else the present folder's. Nothing is changed by it.
"""

import os
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from . import locating
from .errors import CrewyardError
from .store import Reader, Transaction

_TASKS = "SELECT task_id, status FROM specs_task WHERE {found} ORDER BY status = 'completed', task_id LIMIT 200"
_AGENTS = (
    "SELECT agent_id, status FROM agent_lifecycle WHERE {found} "
    "ORDER BY status NOT IN ('starting', 'running'), rowid DESC LIMIT 200"
)
_MERGES = "SELECT 'merge-' || merge_id, task_id || ' ' || status FROM merge_request WHERE {found} ORDER BY 1 LIMIT 200"
_DISPATCHES = "SELECT dispatch_id, status FROM dispatch WHERE {found} ORDER BY created_at DESC LIMIT 200"

Found = list[tuple[str, str]]


def tasks(incomplete: str) -> Found:
    return _asked(lambda tx: _ids(tx, _TASKS, "task_id", incomplete))


def agents_and_tasks(incomplete: str) -> Found:
    return _asked(lambda tx: _ids(tx, _AGENTS, "agent_id", incomplete) + _ids(tx, _TASKS, "task_id", incomplete))


def subjects(incomplete: str) -> Found:
    """Whatever `why` explains."""
    return agents_and_tasks(incomplete) + _asked(
        lambda tx: (
            _ids(tx, _DISPATCHES, "dispatch_id", incomplete) + _ids(tx, _MERGES, "'merge-' || merge_id", incomplete)
        )
    )


def _ids(tx: Transaction, sql: str, key: str, incomplete: str) -> Found:
    """Each id that begins so, with what there is to say of it."""
    rows = tx.all(sql.format(found=f"substr({key}, 1, length(:begins)) = :begins"), {"begins": incomplete})
    return [(str(row[0]), str(row[1]).replace("_", " ")) for row in rows]


def _asked(unit: Callable[[Transaction], Found]) -> Found:
    """A shell that completes shows no errors, and should not have to wait."""
    try:
        store = Reader(locating.locate(_repository()).files.database)
    except CrewyardError:
        return []
    try:
        return store.read(unit)
    except CrewyardError:
        return []
    finally:
        store.close()


def _repository() -> Path:
    """The folder behind ``--repo`` in the line that is being completed (bash and zsh hand it over whole)."""
    try:
        words = shlex.split(os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", ""))
    except ValueError:  # a quotation that is still open
        return Path()
    for word, following in pairwise([*words, ""]):
        if word.startswith("--repo="):
            return Path(word.removeprefix("--repo=")).expanduser()
        if word == "--repo" and following:
            return Path(following).expanduser()
    return Path()
