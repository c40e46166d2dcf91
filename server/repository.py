"""The one door to git: a repository's refs, commits and checkouts, through GitPython's ``Git.execute``.

Nothing here knows the database. Every call is a list of arguments, never a shell; names that come from outside stand
behind ``--`` or inside a full ref name.
"""

import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # a missing git is our error to tell, not the import's
import git

from .errors import BranchNotFound, GitError

# Set by git for its hooks: started from one, we would work in that hook's index and folder.
_INHERITED = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DEFAULT_HASH", "GIT_DIR", "GIT_EXTERNAL_DIFF",
    "GIT_GLOB_PATHSPECS", "GIT_GRAFT_FILE", "GIT_ICASE_PATHSPECS", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE",
    "GIT_NAMESPACE", "GIT_NOGLOB_PATHSPECS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
)  # fmt: skip
STRATEGY = "--strategy=ort"  # to each `git merge`: the user's pull.twohead could name one that takes a side
MARK = "CREWYARD_GIT"  # in the environment of each git that we start
_FALLBACK_NAME = "Crewyard"
_FALLBACK_EMAIL = "crewyard@localhost"
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
_POINTERS = ("gitdir", "commondir", "HEAD")
GITS_OWN_LOCK = "initializing"  # on a worktree that it is making
_REBASES = ("rebase-merge", "rebase-apply")
_STATES = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}


@dataclass(frozen=True)
class Output:
    """How a git command ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Checkout:
    """An entry of ``git worktree list``: ``branch`` is None where HEAD is detached, ``locked`` the reason of a lock."""

    path: Path
    branch: str | None
    prunable: bool
    locked: str | None = None


@dataclass(frozen=True)
class Change:
    """A file that differs: mode and blob before and after, None where it is missing."""

    name: str
    old: str | None
    new: str | None

    @property
    def is_submodule(self) -> bool:
        return any(entry is not None and entry.startswith("160000") for entry in (self.old, self.new))


class Repository:
    """The repository whose main checkout is ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mark = ""  # stands in the environment of each git that we start; names the process that did
        self._identity: dict[str, str] | None = None
        self._asked = git.Git(str(root))  # keeps one `git cat-file` that answers at once; a git of its own takes 1.2 ms
        self._asked.set_persistent_git_options(C=str(root))  # GitPython expands variables in what it is given
        self._asking = threading.Lock()
        self._objects: dict[str, str] = {}

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

    def _main_checkout(self) -> Path:
        """The folder whose worktrees are linked to it; in a submodule the submodule's own."""
        own, common = self.git("rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir").splitlines()
        if own == common:
            return Path(self.git("rev-parse", "--show-toplevel"))
        main = self.checkouts()[0].path
        if self.try_git("rev-parse", "--is-inside-work-tree", at=main).stdout.strip() != "true":
            raise GitError(f"{self.root} is a worktree of a bare repository.", hint="Give --repo an ordinary clone.")
        return main

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

    # ------------------------------------------------------------------------------------------- questions

    def checkouts(self) -> list[Checkout]:
        """The main checkout first, then the linked worktrees."""
        found = []
        for block in self.git("worktree", "list", "--porcelain", "-z").split("\0\0"):
            fields = dict(line.partition(" ")[::2] for line in block.split("\0") if line)
            if "worktree" in fields:
                branch = fields.get("branch", "").removeprefix("refs/heads/") or None
                lock = fields.get("locked")
                locked = None if lock == GITS_OWN_LOCK else lock
                found.append(Checkout(Path(fields["worktree"]), branch, "prunable" in fields, locked))
        return found

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

    def tip(self, branch: str) -> str | None:
        """The commit at ``branch``'s tip, or None where there is no such branch."""
        return self.resolve(f"refs/heads/{branch}^{{commit}}")

    def tips(self, branches: Sequence[str]) -> dict[str, str]:
        """The commits at the tips of those of ``branches`` that there are, in one look."""
        names = {f"refs/heads/{branch}": branch for branch in branches}
        listing = self.git("for-each-ref", "--format=%(refname) %(objectname)", "--", *names) if names else ""
        found = (line.partition(" ")[::2] for line in listing.splitlines())
        return {names[ref]: commit for ref, commit in found if ref in names}

    def require_tip(self, branch: str) -> str:
        """As ``tip``. Raises BranchNotFound."""
        tip = self.tip(branch)
        if tip is None:
            raise BranchNotFound(
                f"There is no branch {branch!r} in {self.root}.", hint="`git branch` lists them.", branch=branch
            )
        return tip

    def may_be_checked_out(self, branch: str) -> bool:
        """False where no checkout can be on ``branch``, by their HEAD files; it takes no git to tell."""
        return any(_may_be_on(folder / "HEAD", branch) for folder in self._admin_dirs())

    def rebased_in(self, branch: str) -> Path | None:
        """Git's folder of the checkout in which ``branch`` is being rebased: meanwhile no HEAD names it."""
        files = (folder / state / "head-name" for folder in self._admin_dirs() for state in _REBASES)
        return next((file.parents[1] for file in files if _text_of(file) == f"refs/heads/{branch}"), None)

    def checkouts_with(self, name: str) -> list[Path]:
        """Those in whose own folder of git's such a file lies; it takes no git to tell."""
        found = [self.root] if (self.common_dir / name).exists() else []
        return found + [pointer.parent for folder, pointer in self._linked() if (folder / name).exists()]

    def entry_of(self, path: Path) -> Path | None:
        """Git's folder of the worktree that it lists at ``path``, whatever lies there."""
        return next((folder for folder, pointer in self._linked() if pointer == path / ".git"), None)

    def checkouts_inside(self, path: Path) -> list[Path]:
        """Linked worktrees that lie below ``path``; it takes no git to tell."""
        places = [pointer.parent for _, pointer in self._linked()]
        return [place for place in places if place != path and place.is_relative_to(path) and place.exists()]

    def linked_dir(self, path: Path) -> Path | None:
        """Git's own folder of the linked worktree at ``path``; None where that is none, or another repository's."""
        if not (path / ".git").is_file():
            return None
        folder = self.admin_dir(path)
        return folder if folder.resolve().parent == (self.common_dir / "worktrees").resolve() else None

    def _linked(self) -> list[tuple[Path, Path]]:
        """Git's own folder of each linked worktree, and the `.git` file that it says to belong to."""
        pointers = [(folder, _text_of(folder / "gitdir")) for folder in self._admin_dirs()[1:]]
        return [(folder, Path(text)) for folder, text in pointers if text]

    def _admin_dirs(self) -> list[Path]:
        linked = self.common_dir / "worktrees"
        return [self.common_dir, *(sorted(linked.iterdir()) if linked.is_dir() else ())]

    def commit_at(self, path: Path) -> str | None:
        """The commit that the checkout at ``path`` stands on, or None where it stands on none."""
        answer = self.try_git("rev-parse", "--verify", "-q", "HEAD^{commit}", at=path)
        return answer.stdout.strip() if answer.code == 0 else None

    def head(self, at: Path) -> str:
        return self.git("rev-parse", "HEAD", at=at)

    def branch_at(self, path: Path) -> str | None:
        """The branch that the checkout at ``path`` is on, or None where HEAD is detached."""
        answer = self.try_git("symbolic-ref", "--short", "-q", "HEAD", at=path)
        return answer.stdout.strip() if answer.code == 0 else None

    def admin_dir(self, path: Path) -> Path:
        """Where git keeps what belongs to the checkout at ``path`` alone: its HEAD, its index, its locks."""
        pointer = path / ".git"
        if pointer.is_file():  # a linked worktree's; git's own answer costs a process
            return path / pointer.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        return Path(self.git("rev-parse", "--absolute-git-dir", at=path))

    @cached_property
    def common_dir(self) -> Path:
        """Where git keeps what all checkouts share."""
        return Path(self.git("rev-parse", "--path-format=absolute", "--git-common-dir"))

    def operation_in_progress(self, path: Path) -> str | None:
        """``merge``, ``rebase``, … where the checkout at ``path`` is in the middle of one."""
        folder = self.admin_dir(path)
        return next((name for file, name in _STATES.items() if (folder / file).exists()), None)

    def changed_tracked_files(self, path: Path) -> list[str]:
        """Files under version control whose content differs from HEAD, staged or not."""
        listing = self.git("status", "--porcelain", "-z", "--untracked-files=no", "--no-renames", at=path)
        return [entry[3:] for entry in listing.split("\0") if entry]

    def has_changes(self, path: Path, env: Mapping[str, str] | None = None) -> bool:
        """Whether anything is uncommitted there, new files included."""
        return bool(self.git("status", "--porcelain", "--untracked-files=all", at=path, env=env))

    def changed_files_at(self, path: Path) -> set[str]:
        """Everything uncommitted there, each new file by its own name."""
        listing = self.git("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", at=path)
        return {entry[3:] for entry in listing.split("\0") if entry}

    def uncommitted(self, path: Path) -> tuple[list[str], list[str]]:
        """Files there that are changed, and those that are new to git; what it ignores is in neither."""
        listing = self.git("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", at=path)
        entries = [entry for entry in listing.split("\0") if entry]
        new = [entry[3:] for entry in entries if entry.startswith("??")]
        return [entry[3:] for entry in entries if not entry.startswith("??")], new

    def is_ancestor(self, commit: str, of: str) -> bool:
        return self.try_git("merge-base", "--is-ancestor", commit, of).code == 0

    def own_commits(self, base: str, head: str, target: str) -> int:
        """Commits of a branch that are neither its base's nor the target's, merges of the target left out."""
        return int(self.git("rev-list", "--count", "--no-merges", head, "--not", base, target))

    def count_commits(self, tips: Sequence[str], without: Sequence[str]) -> int:
        """Commits that are reachable from ``tips`` and not from any of ``without``."""
        return int(self.git("rev-list", "--count", *tips, "--not", *without)) if tips else 0

    def ahead(self, commit: str, of: str) -> tuple[int, int]:
        """Commits, and files that differ, that ``commit`` has since it parted from ``of``."""
        base = self.try_git("merge-base", of, commit).stdout.strip()
        files = (
            self.changed_files(base, commit) if base else self.git("ls-tree", "-r", "--name-only", commit).split("\n")
        )
        return self.count_commits([commit], [of]), len(files)

    def changed_files(self, base: str, head: str) -> set[str]:
        """Files that differ between two commits."""
        return {name for name in self.git("diff", "--name-only", "-z", "--no-renames", base, head).split("\0") if name}

    def changed_by(self, since: str, tip: str, files: Sequence[str]) -> dict[str, list[str]]:
        """Commits on ``tip``'s first-parent line that ``since`` lacks, with what each changed of ``files``."""
        # --sparse: without it git leaves merges out whose other side, or what is excluded, has such files too.
        line = ("log", "--first-parent", "--sparse", "--diff-merges=first-parent", "--name-only", "--no-renames", "-z")
        listing = self.git(*line, "--format=tformat:%x01%H", f"{since}..{tip}", "--", *files)
        found = {}
        for commit, _, rest in (block.partition("\0") for block in listing.split("\x01")[1:]):
            if names := [name for name in rest.lstrip("\n").split("\0") if name]:
                found[commit] = names
        return found

    def changes(self, *between: str, at: Path | None = None) -> list[Change]:
        """What ``git diff`` finds between two commits, or with ``--cached`` between one and the index."""
        options = ("--raw", "-z", "--no-renames", "--no-abbrev", "--ignore-submodules=none")
        parts = self.git("diff", *options, *between, at=at).split("\0")
        found = []
        for facts, name in zip(parts[::2], parts[1::2], strict=False):
            old_mode, new_mode, old, new, status = facts.removeprefix(":").split(" ")
            found.append(
                Change(
                    name, None if status == "A" else f"{old_mode} {old}", None if status == "D" else f"{new_mode} {new}"
                )
            )
        return found

    def diff_stat(self, base: str, head: str) -> tuple[int, int, int]:
        """Files changed, lines inserted and deleted; a binary file counts no lines."""
        rows = [line.split("\t") for line in self.git("diff-tree", "-r", "-M", "--numstat", base, head).splitlines()]
        inserted, deleted = (sum(int(row[i]) for row in rows if row[i].isdigit()) for i in (0, 1))
        return len(rows), inserted, deleted

    def blob_size(self, oid: str) -> int:
        return int(self.git("cat-file", "-s", oid))

    def blob(self, oid: str) -> bytes:
        """The content of a file as git holds it."""
        return self.read("cat-file", "blob", oid)[1]

    def store_blob(self, content: bytes) -> str:
        """Put a file's content into the object store; returns its id."""
        return self.feed(content, "hash-object", "-w", "--stdin", "--no-filters").strip()

    def half_made(self) -> list[Path]:
        """Git's own folders of worktrees that a killed git has left unreadable: all of `git worktree` dies of one."""
        return [entry for entry in self._admin_dirs()[1:] if not all(_is_whole(entry / name) for name in _POINTERS)]

    def mend_entry(self, entry: Path, path: Path, branch: str) -> None:
        """Write again what such a folder points to: the worktree at ``path``, on ``branch``."""
        wanted = {"gitdir": f"{path / '.git'}", "commondir": "../..", "HEAD": f"ref: refs/heads/{branch}"}
        for name, text in wanted.items():
            if not _is_whole(entry / name):
                (entry / name).write_text(text + "\n", encoding="utf-8")

    # ------------------------------------------------------------------------------------------------ refs

    def refs(self, prefix: str) -> list[tuple[str, str, str]]:
        """Refs below ``prefix``: each with its commit and that commit's subject."""
        listing = self.git("for-each-ref", "--format=%(refname)%00%(objectname)%00%(contents:subject)%00", prefix)
        parts = listing.replace("\0\n", "\0").split("\0")
        return list(zip(parts[::3], parts[1::3], parts[2::3], strict=False))

    def create_branch(self, branch: str, commit: str) -> bool:
        """Make ``branch`` at ``commit``; returns False where another process made it first."""
        answer = self.try_git("update-ref", "-m", "crewyard: create", f"refs/heads/{branch}", commit, "0" * len(commit))
        if answer.code != 0 and self.tip(branch) is None:
            raise GitError(f"Branch {branch} cannot be made: {answer.stderr.strip()}", branch=branch)
        return answer.code == 0

    def move_branch(self, branch: str, commit: str, expected: str) -> None:
        """Move ``branch``, which no checkout is on, if it still stands at ``expected``."""
        self.git("update-ref", "-m", "crewyard: begin anew", f"refs/heads/{branch}", commit, expected)

    def delete_branch(self, branch: str, expected: str) -> None:
        """Delete ``branch`` if it still stands at ``expected``. The caller has proven that nothing is lost by it."""
        self.git("update-ref", "-d", f"refs/heads/{branch}", expected)

    def keep(self, ref: str, commit: str) -> None:
        """Hold ``commit`` under ``ref`` (a salvage ref), so that git never collects it. Raises GitError.

        What is kept there already, of the same moment by a clock that was set back say, is not given up for it.
        """
        answer = self.try_git("update-ref", "-m", "crewyard: salvage", ref, commit, "0" * len(commit))
        if answer.code != 0 and self.resolve(ref) != commit:
            raise GitError(f"{commit} cannot be kept under {ref}: {answer.stderr.strip()}", ref=ref)

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


def _may_be_on(head: Path, branch: str) -> bool:
    """By its HEAD. One that says `.invalid` belongs to refs that are not kept in files; a link is an old form."""
    text = _text_of(head)
    return text is not None and (head.is_symlink() or text == f"ref: refs/heads/{branch}" or ".invalid" in text)


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_whole(file: Path) -> bool:
    """Whether git came to the end of one of these; a path that was cut off would name some other place."""
    try:
        content = file.read_bytes().rstrip(b"\n")
    except FileNotFoundError:
        return False
    return content.endswith(b"/.git") if file.name == "gitdir" else bool(content)
