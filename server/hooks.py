"""Commits that git makes with what the user has set up for them: hooks and signatures.

Where neither is in force, a merge needs no checkout and a few milliseconds. Where one is, the real `git merge` or `git
commit` runs in a worktree, so that the hooks see what they see elsewhere; under a runner that bounds its time, because
a hook may hang and a signature may wait for a passphrase that nobody types at night.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import environment, journals
from .errors import GitError, HookFailed
from .git_config import GitConfig
from .repository import STRATEGY, Repository
from .runners import Runners

AT_MERGE = ("pre-merge-commit", "prepare-commit-msg", "commit-msg")
AT_COMMIT = ("pre-commit", "prepare-commit-msg", "commit-msg")
# What signing needs of our environment, beside git's own variables.
_FOR_SIGNING = ("GNUPGHOME", "GPG_TTY", "SSH_AUTH_SOCK")
_ADVICE = "Not committing merge;"  # git's, to whoever types
# A side that a person took once is not what git should put into the next conflict of that kind.
_FORGETFUL = ("-c", "rerere.enabled=false")
FATAL = 128  # git's own trouble, a signature that cannot be made among it; a hook that refuses gives 1


@dataclass(frozen=True)
class Ceremony:
    """What is in force for commits: the hooks in ``folder``, as the main checkout has them, and signing."""

    folder: Path
    signs: bool

    def holds_for(self, names: tuple[str, ...]) -> bool:
        return self.signs or any(self.runs(name) for name in names)

    def runs(self, name: str) -> bool:
        """Whether the user has that hook."""
        return os.access(self.folder / name, os.X_OK)


def in_force(repository: Repository, config: GitConfig) -> Ceremony:
    path = config.value("core.hookspath")
    folder = repository.common_dir / "hooks" if path is None else repository.root / Path(path).expanduser()
    return Ceremony(folder, config.is_true("commit.gpgsign"))


@dataclass(frozen=True)
class Scribe:
    """Has git make commits under a runner, its words in ``log``."""

    repository: Repository
    runners: Runners
    ceremony: Ceremony
    log: Path
    timeout_seconds: float

    def commit(self, path: Path, words: list[str]) -> None:
        """`git commit` of what is staged at ``path``. Raises HookFailed, GitError."""
        self._run(path, "commit", "--quiet", *words)

    def merge(self, path: Path, head: str, message: str, tree: str | None) -> str:
        """Merge ``head`` into the detached checkout at ``path``; returns the commit. Raises HookFailed, GitError.

        ``tree`` is the result where git alone would not come to it, because conflicts were resolved.
        """
        tip = self.repository.head(path)
        if tree is None:
            self._run(path, "merge", STRATEGY, "--no-ff", "--no-edit", "--quiet", "-m", message, head)
        else:
            self.repository.try_git(*_FORGETFUL, "merge", STRATEGY, "--no-ff", "--no-commit", "--quiet", head, at=path)
            self.repository.git("read-tree", "--reset", "-u", tree, at=path)
            self._run(path, "commit", "--quiet", "-m", message)
        made = self.repository.head(path)
        if [self.repository.resolve(f"{made}^{n}") for n in (1, 2)] != [tip, head]:
            raise GitError(f"git merge in {path} ended well, but {made} is no merge of {head} into {tip}.")
        return made

    def _run(self, path: Path, *arguments: str) -> None:
        argv = self.repository.argv("-c", f"core.hooksPath={self.ceremony.folder}", *arguments, at=path)
        done = self.runners.check(
            argv, cwd=path, log=self.log, timeout_seconds=self.timeout_seconds, environment=self._environment()
        )
        words = "\n".join(line for line in journals.tail(self.log).splitlines() if not line.startswith(_ADVICE)).strip()
        if done.code == 0:
            self.log.unlink(missing_ok=True)
        elif done.code == FATAL:
            raise GitError(f"git {arguments[0]} failed in {path}: {words}")
        else:
            how = "ran out of time" if done.code is None else f"ended with {done.code}"
            raise HookFailed(f"`git {arguments[0]}` with the repository's hooks {how}.\n{words}", log=str(self.log))

    def _environment(self) -> Mapping[str, str]:
        named = [name for name in os.environ if name.startswith("GIT_")]
        return {
            **environment.for_child([*named, *_FOR_SIGNING]),
            **self.repository.quiet(),
            **self.repository.identity(),
        }
