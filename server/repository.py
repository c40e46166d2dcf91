"""A repository: its checkouts, refs and history, found from any folder in it. Nothing here knows the database."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .checkouts import Checkouts
from .errors import GitError
from .history import History
from .refs import Refs

# Set by git for its hooks: started from one, we would work in that hook's index and folder.
_INHERITED = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DEFAULT_HASH", "GIT_DIR", "GIT_EXTERNAL_DIFF",
    "GIT_GLOB_PATHSPECS", "GIT_GRAFT_FILE", "GIT_ICASE_PATHSPECS", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE",
    "GIT_NAMESPACE", "GIT_NOGLOB_PATHSPECS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
)  # fmt: skip
STRATEGY = "--strategy=ort"  # to each `git merge`: the user's pull.twohead could name one that takes a side
_FALLBACK_NAME = "Crewyard"
_FALLBACK_EMAIL = "crewyard@localhost"


class Repository(Checkouts, Refs, History):
    """The repository whose main checkout is ``root``."""

    _identity: dict[str, str] | None = None

    @classmethod
    def discover(cls, start: Path) -> "Repository":
        """The repository that ``start`` lies in, seen from its main checkout. Raises GitError with the cure."""
        if not start.is_dir():
            raise GitError(f"{start} is no folder.", hint="Give --repo a folder with a git repository.")
        for name in _INHERITED:
            os.environ.pop(name, None)
        here = cls(start)
        answer = here.try_git("rev-parse", "--is-bare-repository")
        if answer.code != 0:
            first = answer.stderr.strip().splitlines()[:1] or ["git gave no reason"]
            raise GitError(f"{start} is no git repository ({first[0]}).", hint="Run `git init` there, and commit.")
        if answer.stdout.strip() == "true":
            raise GitError(f"{start} is a bare repository.", hint="Clone it, and give --repo the clone.")
        repository = cls(here._main_checkout())
        root = repository.root
        if repository.try_git("rev-parse", "--verify", "-q", "HEAD^{commit}").code != 0:
            raise GitError(f"{root} has no commit yet.", hint="Commit something first: agents branch from a commit.")
        return repository

    @contextmanager
    def scratch(self) -> "Iterator[Repository]":
        """The same repository for trials: the objects that git makes meanwhile are thrown away at the end."""
        made = Repository(self.root)
        made.mark, made._identity = self.mark, self._identity
        real = str(self.common_dir / "objects").replace("\\", "\\\\").replace('"', '\\"')
        with tempfile.TemporaryDirectory(prefix="crewyard-trial-") as folder:
            made._objects = {"GIT_OBJECT_DIRECTORY": folder, "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{real}"'}
            made._asked.update_environment(**made._objects)
            try:
                yield made
            finally:
                made._asked.clear_cache()

    def identity(self) -> dict[str, str]:
        """Environment for commits of ours: empty where the user has an identity, a fallback of ours where not."""
        if self._identity is None:
            known = self.try_git("var", "GIT_COMMITTER_IDENT").code == 0
            self._identity = (
                {}
                if known
                else {
                    f"GIT_{who}_{what}": value
                    for who in ("AUTHOR", "COMMITTER")
                    for what, value in (("NAME", _FALLBACK_NAME), ("EMAIL", _FALLBACK_EMAIL))
                }
            )
        return self._identity

    def exclude(self, patterns: list[str]) -> None:
        """Keep our own files out of ``git status``, in ``.git/info/exclude``, where no commit sees it."""
        file = Path(self.git("rev-parse", "--path-format=absolute", "--git-path", "info/exclude"))
        present = file.read_text(encoding="utf-8", errors="surrogateescape") if file.exists() else ""
        missing = [pattern for pattern in patterns if pattern not in present.splitlines()]
        if missing:
            file.parent.mkdir(parents=True, exist_ok=True)
            glue = "" if not present or present.endswith("\n") else "\n"
            with file.open("a", encoding="utf-8") as handle:
                handle.write(glue + "".join(f"{pattern}\n" for pattern in missing))

    def _main_checkout(self) -> Path:
        """The folder whose worktrees are linked to it; in a submodule the submodule's own."""
        own, common = self.git("rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir").splitlines()
        if own == common:
            return Path(self.git("rev-parse", "--show-toplevel"))
        main = self.checkouts()[0].path
        if self.try_git("rev-parse", "--is-inside-work-tree", at=main).stdout.strip() != "true":
            raise GitError(f"{self.root} is a worktree of a bare repository.", hint="Give --repo an ordinary clone.")
        return main
