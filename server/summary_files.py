"""Exports of activity summaries: Markdown, JSON and the picture beside each other (R-153, R-156).

A file that is there is replaced only if it is a summary that was written before. Readable for their owner alone: they
hold the last words of agents.
"""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import summary, summary_markdown
from .errors import InvalidInput
from .facts import Activity
from .summary_levels import Level

SUFFIXES = (".md", ".json", ".svg")
NAME = "activity-summary"
HEAD_BYTES = 512
RIGHTS = 0o600
OTHER = "Give another place for it."


@dataclass(frozen=True)
class Exported:
    """The files that were written; ``size_kb`` is that of ``report``."""

    report: Path
    size_kb: float
    files: tuple[Path, ...]


def export(root: Path, default: Path, asked: str, activity: Activity, name: str, level: Level, suffix: str) -> Exported:
    """Write the summary of the range ``name``; the report is the file with ``suffix``.

    ``asked`` is a path in the repository at ``root``, or an absolute one; a folder gets files of our name in it. Raises
    InvalidInput where it leads out of the repository, into its .git, to what is not ours, or where no file can be; then
    nothing is written. Folders are made in the repository only: elsewhere a path may be mistyped.
    """
    root = root.resolve()
    try:
        base = _base(root, default, asked)
        is_there = base.parent.is_dir()
    except OSError as error:
        raise InvalidInput(f"{asked:.200}: {error.strerror}.", hint=OTHER) from error
    if not is_there and not base.is_relative_to(root):
        raise InvalidInput(f"There is no folder {base.parent}.", hint="Make it, or give another place.", path=str(base))
    from . import timeline  # and the XML library with it, which a server that draws nothing does not wait for

    figures = summary.of(activity, name)
    texts = {
        ".md": summary_markdown.to_markdown(figures, level),
        ".json": json.dumps(figures, ensure_ascii=False, indent=1) + "\n",
        ".svg": timeline.to_svg(activity),
    }
    files = {each: base.with_name(base.name + each) for each in SUFFIXES}
    for path in files.values():
        _require_ours(path)
    try:
        base.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each, path in files.items():
            _write(path, texts[each])
        size = files[suffix].stat().st_size
    except OSError as error:
        raise InvalidInput(
            f"{base.parent} cannot be written to: {error.strerror}.", hint=OTHER, path=str(base)
        ) from error
    return Exported(files[suffix], round(size / 1024, 2), tuple(files.values()))


def _base(root: Path, default: Path, asked: str) -> Path:
    """The files' common path, without a suffix."""
    if "\0" in asked or asked != asked.encode("utf-8", "replace").decode():
        raise InvalidInput("A path for a summary is text without NUL.", hint=OTHER)
    given = Path(asked) if asked else default / NAME
    base = Path(os.path.realpath(root / given))
    if not given.is_absolute() and not base.is_relative_to(root):
        raise InvalidInput(
            f"{asked} lies outside of the repository {root}.", hint="Give an absolute path, if you mean it.", path=asked
        )
    if any(part.casefold() == ".git" for part in base.parts):  # some file systems do not tell them apart
        raise InvalidInput(f"{base} lies in git's own folder.", hint=OTHER, path=asked)
    if base.is_dir():
        return base / NAME
    return base.with_suffix("") if base.suffix in SUFFIXES else base


def _require_ours(path: Path) -> None:
    """Raises InvalidInput where ``path`` is anything but a summary, or nothing yet."""
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file() or summary.MARK not in _head(path):
        raise InvalidInput(
            f"{path} is there already, and is no summary of Crewyard's.",
            hint=OTHER,
            path=str(path),
        )


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES).decode(errors="replace")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}.", hint=OTHER, path=str(path)) from error


def _write(path: Path, text: str) -> None:
    """All of it or nothing; a file that somebody made in the meantime is not overwritten."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(RIGHTS)
        if os.path.lexists(path):
            _require_ours(path)
            temporary.replace(path)
        else:
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
