"""Reads what a runner wrote in its run folder: the claim, the journal, the agent's output."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TAIL_BYTES = 4000


@dataclass(frozen=True)
class Journal:
    """A runner's record so far; each entry as it was written, with ``at``."""

    started: dict[str, Any] | None = None
    not_started: dict[str, Any] | None = None
    alive: dict[str, Any] | None = None
    ended: dict[str, Any] | None = None


@dataclass
class Reader:
    """Reads journals again only when they have grown."""

    _seen: dict[Path, tuple[int, Journal]] = field(default_factory=dict)

    def read(self, run_dir: Path) -> Journal:
        path = run_dir / "journal.jsonl"
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return Journal()
        known = self._seen.get(run_dir)
        if known is None or known[0] != size:
            known = self._seen[run_dir] = (size, parse(path.read_bytes()))
        return known[1]

    def has_grown(self, run_dir: Path) -> bool:
        """Whether there is anything in the journal that was not read yet."""
        known = self._seen.get(run_dir)
        try:
            return known is None or known[0] != (run_dir / "journal.jsonl").stat().st_size
        except OSError:  # whoever takes a closer look is told what is wrong with this one
            return True

    def forget(self, run_dir: Path) -> None:
        self._seen.pop(run_dir, None)


def parse(data: bytes) -> Journal:
    """The last entry of each kind; a line cut off by a crash is passed over."""
    entries: dict[str, dict[str, Any]] = {}
    for line in data.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("kind"), str):
            entries[entry["kind"]] = entry
    return Journal(*(entries.get(kind) for kind in ("started", "not_started", "alive", "ended")))


def runner_of(run_dir: Path) -> tuple[int, str] | None:
    """The runner that claimed the launch, as (pid, start time); None where none did or it was given up."""
    words = _claim(run_dir)
    return (int(words[0]), words[1]) if len(words) > 1 else None


def group_of(run_dir: Path) -> Path | None:
    """The control group that the runner made for its agent, as far as that is known."""
    words = _claim(run_dir)
    return Path(words[2]) if len(words) > 2 else None


def _claim(run_dir: Path) -> list[str]:
    try:
        return (run_dir / "claim").read_text(encoding="utf-8").split(maxsplit=2)
    except FileNotFoundError:
        return []


def give_up_launch(run_dir: Path) -> bool:
    """Make sure that no runner starts this launch any more; returns False where one has it already."""
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(run_dir / "claim", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return (run_dir / "claim").read_bytes() == b"void"
    os.write(descriptor, b"void")
    os.close(descriptor)
    return True


def tail(path: Path, limit: int = TAIL_BYTES) -> str:
    """The end of a log, at most ``limit`` bytes of it, from a line's beginning."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            size = file.tell()
            file.seek(max(0, size - limit))
            data = file.read()
    except FileNotFoundError:
        return ""
    text = data.decode("utf-8", errors="replace")
    return text if size <= limit else text.partition("\n")[2]
