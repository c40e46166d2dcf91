"""Writes the ``shared-state/`` tree for programs that read files (R-253 to R-255). Nothing of it is ever read back.

Each file is replaced in one step, so that a reader sees it whole. A file that is not an export of ours stays as it is.
"""

import json
import logging
import os
import time
from pathlib import Path

from .crew import Crew
from .workflows import shared_state
from .workflows.pipeline import Pipeline
from .workflows.shared_state import MARK, Tree

log = logging.getLogger(__name__)

REST_SECONDS = 1.0
HEAD_BYTES = 200
RIGHTS = 0o600
PART = ".crewyard-part"


class Exports:
    """One supervisor's. The first look writes all of it."""

    def __init__(self, crew: Crew, line: Pipeline) -> None:
        self._crew, self._line = crew, line
        self._folder = crew.paths.root / line.settings.shared_state
        self._written: dict[str, int] = {}  # the hash of what stands there
        self._last: int | None = None
        self._rest_until = self._due = 0.0
        self._fault = ""

    def look(self) -> None:
        """Write what changed, at most once a second; what workers do is looked at anew every watch_seconds."""
        now = time.monotonic()
        if now < self._rest_until:
            return
        changed = self._crew.store.read(shared_state.since, self._last)
        if not changed.any and now < self._due:
            self._last = changed.last
            return
        of = None if self._last is None else changed.projects
        tree = self._crew.store.read(shared_state.tree, self._line, of)
        self._crew.require_lease()
        try:
            self._write(tree)
        except OSError as error:
            self._tell(f"{self._folder} cannot be written to: {error.strerror}")
            self._last = None  # all of it is due, but not every second
            self._rest_until = time.monotonic() + self._line.settings.watch_seconds
            return
        self._last = changed.last
        self._rest_until = time.monotonic() + REST_SECONDS
        self._due = time.monotonic() + self._line.settings.watch_seconds

    def _write(self, tree: Tree) -> None:
        for name, content in tree.items():
            text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
            if self._written.get(name) != hash(text) and self._replace(self._folder / name, text):
                self._written[name] = hash(text)

    def _replace(self, path: Path, text: str) -> bool:
        """Whether that is ours to write, and was written."""
        if not path.parent.resolve().is_relative_to(self._crew.paths.root.resolve()):
            self._tell(f"{path.parent} leads out of the repository; no workflows are exported there")
            return False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file() or not _is_ours(path)):
            self._tell(f"{path} is no export of workflows, and was left as it is")
            return False
        part = path.with_name(f".{path.name}{PART}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, RIGHTS)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        part.replace(path)
        return True

    def _tell(self, fault: str) -> None:
        """Once, and again when it is another one."""
        if fault != self._fault:
            self._fault = fault
            log.warning("%s", fault)


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return MARK.encode() in file.read(HEAD_BYTES)
