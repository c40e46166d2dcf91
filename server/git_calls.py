"""Runs git: the one module that does, through GitPython's ``Git.execute``.

Every call is a list of arguments, never a shell; names that come from outside stand behind ``--`` or inside a full ref
name.
"""

import os
import re
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # a missing git is our error to tell, not the import's
import git

from .errors import GitError

MARK = "CREWYARD_GIT"  # in the environment of each git that we start
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",  # a look locks no index, neither before the user's own git nor behind a kill
}  # fmt: skip
_SETTINGS = (
    # Collecting garbage in the background while worktrees and merges are at work is not ours to start (C-36).
    *("-c", "gc.auto=0", "-c", "maintenance.auto=false"),
    # What has changed is seen by looking, not believed of a program; and it is committed whatever its lines end with.
    *("-c", "core.fsmonitor=false", "-c", "core.safecrlf=false"),
)
_RACE = re.compile(r"failed to read .*/worktrees/[^/]+/(commondir|gitdir|HEAD)")
_RACE_WAITS = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Output:
    """How a git command ended."""

    code: int
    stdout: str
    stderr: str


class GitCalls:
    """What all looks at a repository, and changes to it, go through. ``root`` is its main checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mark = ""  # stands in the environment of each git that we start; names the process that did
        self._asked = git.Git(str(root))  # keeps one `git cat-file` that answers at once; a git of its own takes 1.2 ms
        self._asked.set_persistent_git_options(C=str(root))  # GitPython expands variables in what it is given
        self._asking = threading.Lock()
        self._objects: dict[str, str] = {}

    def close(self) -> None:
        """End the git that stays. Asked again, another one is started."""
        with self._asking:
            self._asked.clear_cache()

    def try_git(self, *arguments: str, at: Path | None = None, env: Mapping[str, str] | None = None) -> Output:
        """Run ``git`` with ``arguments`` in ``at`` (default: the root); the caller looks at the exit code.

        A folder that was given is the checkout meant, and no other: where it has lost its ``.git``, git must not go up
        to the repository that it lies in and work there. A git that met another worktree half made or half removed is
        run again: git reads all of them, and dies.
        """
        if at is not None:
            env = {**(env or {}), "GIT_CEILING_DIRECTORIES": str(at.resolve().parent)}
        for wait in _RACE_WAITS:
            answer = self._run(arguments, str(at or self.root), env)
            if not (answer.code == 128 and _RACE.search(answer.stderr)):
                return answer
            time.sleep(wait)
        return self._run(arguments, str(at or self.root), env)

    def git(self, *arguments: str, at: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """As ``try_git``, but a failure is a GitError with git's own words; returns its output, less one newline."""
        answer = self.try_git(*arguments, at=at, env=env)
        if answer.code != 0:
            words = (answer.stderr or answer.stdout).strip()
            raise GitError(f"git {arguments[0]} failed in {at or self.root}: {words}", exit_code=answer.code)
        return answer.stdout.removesuffix("\n")

    def read(self, *arguments: str, most: int = 0) -> tuple[int, bytes]:
        """The exit code and what git printed, as bytes. Raises GitError for a code above ``most``."""
        code, stdout, stderr = self._execute(arguments, str(self.root), None)
        if code > most:
            raise GitError(f"git {arguments[0]} failed in {self.root}: {stderr.strip()}", exit_code=code)
        return code, stdout

    def feed(self, data: bytes | str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """As ``git``, with ``data`` on standard input."""
        with tempfile.TemporaryFile() as stream:
            stream.write(data if isinstance(data, bytes) else os.fsencode(data))
            stream.seek(0)
            code, stdout, stderr = self._execute(arguments, str(self.root), env, cast(BinaryIO, stream))
        if code != 0:
            raise GitError(f"git {arguments[0]} failed in {self.root}: {stderr.strip()}", exit_code=code)
        return os.fsdecode(stdout)

    def resolve(self, name: str) -> str | None:
        """The object that a full ref name or ``COMMIT^{tree}`` stands for, or None where there is none."""
        with self._asking:
            for _ in range(2):
                try:
                    return os.fsdecode(self._asked.get_object_header(name)[0])
                except (OSError, ValueError) as error:
                    if "could not be resolved" in str(error):
                        return None
                    self._asked.clear_cache()  # Ctrl-C, or somebody, has ended it; or its answer is not understood
        answer = self.try_git("rev-parse", "--verify", "-q", name)
        return answer.stdout.strip() if answer.code == 0 else None

    def small_object(self, oid: str, most: int) -> bytes | None:
        """The content of an object of at most so many bytes; None where it is larger, or takes a git of its own."""
        with self._asking:
            try:
                if self._asked.get_object_header(oid)[2] <= most:
                    return self._asked.get_object_data(oid)[3]
            except (OSError, ValueError):
                self._asked.clear_cache()
        return None

    @cached_property
    def common_dir(self) -> Path:
        """Where git keeps what all checkouts share."""
        return Path(self.git("rev-parse", "--path-format=absolute", "--git-common-dir"))

    def argv(self, *arguments: str, at: Path) -> list[str]:
        """The command line of such a call, for a runner that bounds its time; ``quiet`` goes into its environment."""
        return ["git", "-C", str(at), *_SETTINGS, *arguments]

    def collecting(self) -> list[str]:
        """The command line of collecting garbage, in the foreground, where the user's settings find enough of it."""
        return ["git", "-C", str(self.root), "-c", "gc.autoDetach=false", "gc", "--auto"]

    def quiet(self) -> dict[str, str]:
        """What keeps git from asking anybody anything."""
        return {**_ENVIRONMENT, MARK: self.mark, **self._objects}

    def _run(self, arguments: Sequence[str], folder: str, env: Mapping[str, str] | None) -> Output:
        code, stdout, stderr = self._execute(arguments, folder, env)
        return Output(code, os.fsdecode(stdout), stderr)

    def _execute(
        self, arguments: Sequence[str], folder: str, env: Mapping[str, str] | None, istream: BinaryIO | None = None
    ) -> tuple[int, bytes, str]:
        try:
            # -C as well: GitPython falls back to our own working directory where the folder has vanished.
            answer: Any = git.Git(folder).execute(
                self.argv(*arguments, at=Path(folder)),
                istream=istream,
                stdout_as_string=False,
                with_extended_output=True,
                with_exceptions=False,
                strip_newline_in_stdout=False,
                env={**self.quiet(), **(env or {})},
                # Ctrl-C is for us: a git cut off half way through a checkout leaves its debris there.
                start_new_session=True,
            )
        except git.GitCommandNotFound as error:
            raise GitError("git is not installed, or not on PATH.", hint="Install git 2.38 or newer.") from error
        except OSError as error:
            raise GitError(f"git {arguments[0]} could not be started: {error.strerror}.") from error
        code, stdout, stderr = answer
        return int(code), bytes(stdout), str(stderr)
