"""What the shell completes: ids out of the database, quickly, and never an error.

The repository is the one that the line names so far, else the present folder's. Nothing is changed by it.
"""

import os
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from . import ids, locating
from .errors import CrewyardError
from .ids import Kind
from .store import Reader, Transaction

LIMIT = 200

Found = list[tuple[str, str]]


def tasks(incomplete: str) -> Found:
    return _asked(incomplete, ids.TASKS)


def agents_and_tasks(incomplete: str) -> Found:
    return _asked(incomplete, ids.AGENTS, ids.TASKS)


def subjects(incomplete: str) -> Found:
    """Whatever `why` explains."""
    return _asked(incomplete, ids.AGENTS, ids.TASKS, ids.DISPATCHES, ids.MERGES)


def _ids(tx: Transaction, kinds: Sequence[Kind], incomplete: str) -> Found:
    return [each for kind in kinds for each in ids.beginning(tx, kind, incomplete, limit=LIMIT).shown]


def _asked(incomplete: str, *kinds: Kind) -> Found:
    """A shell that completes shows no errors, and should not have to wait."""
    try:
        store = Reader(locating.locate(_repository()).files.database)
    except CrewyardError:
        return []
    try:
        return store.read(_ids, kinds, incomplete)
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
