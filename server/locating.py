"""Where a yard lies, found without git and without checking its whole configuration, for commands that only look.

They are called again and again, by people and by prompts, and asking git and checking every setting takes several times
as long as the look itself. What is not plain (a linked worktree, a submodule, a work tree elsewhere) is left to git.
"""

import hashlib
import os
import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ConfigurationError, InvalidInput
from .paths import DataFolder

FILE_NAME = "crewyard.toml"
DATA_DIR = "data"
_NOT_PLAIN = re.compile(r"worktree|bare\s*=\s*true|\binclude", re.IGNORECASE)


@dataclass(frozen=True)
class Located:
    """``trouble`` says why the file of settings could not be read; ``values`` are as they stand there, unchecked."""

    root: Path
    files: DataFolder
    trouble: str | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Differs when the file of settings does."""
        return fingerprint(self.root)

    @property
    def approves_by_itself(self) -> bool:
        """Whether merges need no approval (``merge.auto_approve``)."""
        told = os.environ.get("CREWYARD_MERGE_AUTO_APPROVE", _table(self.values, "merge").get("auto_approve", True))
        return str(told).lower() != "false"

    @property
    def agent_types(self) -> frozenset[str]:
        """Those that the file names, unchecked."""
        return frozenset(_table(self.values, "agents"))


def locate(start: Path) -> Located:
    """The yard that ``start`` lies in. Raises GitError outside of a repository, InvalidInput where there is no yard."""
    root = root_of(start)
    found = _at(root)
    if not found.files.database.exists():
        hint = found.trouble or "Start one with `crewyard run PLAN`."
        raise InvalidInput(f"Crewyard has no database in {root} yet.", hint=hint)
    return found


def root_of(start: Path) -> Path:
    """The main checkout that ``start`` lies in. Raises GitError outside of a repository that agents can work in."""
    root = _plain_root(start) if start.is_dir() else None
    if root is not None and data_of(root).database.exists():  # it was looked at when that was made
        return root
    from .repository import Repository

    return Repository.discover(start).root


def check(located: Located) -> str | None:
    """What is wrong with the configuration; None where it is good. One that was found good is not checked again."""
    if located.trouble is not None:
        return located.trouble
    variables = _variables()
    if not variables and not os.path.lexists(located.root / FILE_NAME):
        return None
    known, note = _state_of_settings(located.root, variables), located.files.configuration_checked
    with suppress(OSError):
        if note.read_text(encoding="ascii") == known:
            return None
    from . import settings

    try:
        settings.load(located.root)
    except ConfigurationError as error:
        return f"{error.message} {error.hint}".strip()
    with suppress(OSError):  # whoever may not write here has it checked each time
        fresh = note.with_name(f"{note.name}.{os.getpid()}")
        fresh.write_text(known, encoding="ascii")
        fresh.replace(note)
    return None


def data_of(root: Path) -> DataFolder:
    """Where the data of the repository at ``root`` lie, whatever else stands in its settings."""
    return _at(root).files


def fingerprint(root: Path) -> str:
    """Of the repository's file of settings; one that is missing has its own."""
    try:
        return hashlib.sha256((root / FILE_NAME).read_bytes()).hexdigest()
    except OSError:
        return "none"


def _plain_root(start: Path) -> Path | None:
    """The nearest folder with a ``.git`` of its own, where nothing says that git would see it otherwise."""
    if "GIT_CEILING_DIRECTORIES" in os.environ:
        return None
    here = start.resolve()
    for folder in (here, *here.parents):
        git = folder / ".git"
        if (git / "HEAD").is_file() and (git / "objects").is_dir():
            with suppress(OSError, UnicodeDecodeError):
                if not _NOT_PLAIN.search((git / "config").read_text(encoding="utf-8")):
                    return folder
            return None
        if os.path.lexists(git) or (folder / "HEAD").is_file():
            return None
    return None


def _at(root: Path) -> Located:
    trouble: str | None = None
    values: dict[str, Any] = {}
    try:
        values = tomllib.loads((root / FILE_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        trouble = f"{root / FILE_NAME} cannot be read: {error}"
    folder = os.environ.get("CREWYARD_CREW_DATA_DIR", _table(values, "crew").get("data_dir", DATA_DIR))
    return Located(root, DataFolder(root / (folder if isinstance(folder, str) else DATA_DIR)), trouble, values)


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _variables() -> list[tuple[str, str]]:
    return sorted(each for each in os.environ.items() if each[0].startswith("CREWYARD_") and "TOKEN" not in each[0])


def _state_of_settings(root: Path, variables: list[tuple[str, str]]) -> str:
    """All that the answer of a check depends on: the file, the environment, and the code that checks."""
    here = Path(__file__).parent
    code = [(here / name).stat().st_mtime_ns for name in ("settings.py", "sections.py")]
    return hashlib.sha256(repr((fingerprint(root), code, variables)).encode()).hexdigest()
