"""Checkouts of a repository: the main one and its linked worktrees, what they are on, what is uncommitted there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .git_calls import GitCalls

_POINTERS = ("gitdir", "commondir", "HEAD")
GITS_OWN_LOCK = "initializing"  # on a worktree that it is making
_ON_BRANCH = "ref: refs/heads/"
_NOT_IN_FILES = ".invalid"  # what HEAD says where refs are kept otherwise
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
class Checkout:
    """An entry of ``git worktree list``: ``branch`` is None where HEAD is detached, ``locked`` the reason of a lock."""

    path: Path
    branch: str | None
    prunable: bool
    locked: str | None = None


class Checkouts(GitCalls):
    """Questions about checkouts, many of which take no git to answer: it costs a process."""

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

    def may_be_checked_out(self, branch: str) -> bool:
        """False where no checkout can be on ``branch``, by their HEAD files; it takes no git to tell."""
        return any(_may_be_on(folder / "HEAD", branch) for folder in self._admin_dirs())

    def may_be_checked_out_elsewhere(self, branch: str, path: Path) -> bool:
        """As ``may_be_checked_out``, by another checkout than the one at ``path``."""
        own = self.linked_dir(path)
        return any(_may_be_on(folder / "HEAD", branch) for folder in self._admin_dirs() if folder != own)

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

    def commit_at(self, path: Path) -> str | None:
        """The commit that the checkout at ``path`` stands on, or None where it stands on none."""
        if (folder := self.linked_dir(path)) is not None:
            return self.resolve(f"worktrees/{folder.name}/HEAD^{{commit}}")
        answer = self.try_git("rev-parse", "--verify", "-q", "HEAD^{commit}", at=path)
        return answer.stdout.strip() if answer.code == 0 else None

    def head(self, at: Path) -> str:
        """As ``commit_at``. Raises GitError where it stands on none."""
        return self.commit_at(at) or self.git("rev-parse", "HEAD", at=at)

    def branch_at(self, path: Path) -> str | None:
        """The branch that the checkout at ``path`` is on, or None where HEAD is detached."""
        if (folder := self.linked_dir(path)) is not None and (branch := _branch_in(folder / "HEAD")) is not None:
            return branch
        answer = self.try_git("symbolic-ref", "--short", "-q", "HEAD", at=path)
        return answer.stdout.strip() if answer.code == 0 else None

    def admin_dir(self, path: Path) -> Path:
        """Where git keeps what belongs to the checkout at ``path`` alone: its HEAD, its index, its locks."""
        pointer = path / ".git"
        if pointer.is_file():  # a linked worktree's; git's own answer costs a process
            return path / pointer.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        return Path(self.git("rev-parse", "--absolute-git-dir", at=path))

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

    def changed_files_since(self, commit: str, path: Path) -> set[str]:
        """Files there that differ from a commit, committed since or not; of new ones those that git does not ignore."""
        changed = self.git("diff", "--name-only", "-z", "--no-renames", commit, "--", at=path)
        new = self.git("ls-files", "--others", "--exclude-standard", "-z", at=path)
        return {name for name in f"{changed}\0{new}".split("\0") if name}

    def uncommitted(self, path: Path) -> tuple[list[str], list[str]]:
        """Files there that are changed, and those that are new to git; what it ignores is in neither."""
        listing = self.git("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", at=path)
        entries = [entry for entry in listing.split("\0") if entry]
        new = [entry[3:] for entry in entries if entry.startswith("??")]
        return [entry[3:] for entry in entries if not entry.startswith("??")], new

    def half_made(self) -> list[Path]:
        """Git's own folders of worktrees that a killed git has left unreadable: all of `git worktree` dies of one."""
        return [entry for entry in self._admin_dirs()[1:] if not all(_is_whole(entry / name) for name in _POINTERS)]

    def mend_entry(self, entry: Path, path: Path, branch: str) -> None:
        """Write again what such a folder points to: the worktree at ``path``, on ``branch``."""
        wanted = {"gitdir": f"{path / '.git'}", "commondir": "../..", "HEAD": f"ref: refs/heads/{branch}"}
        for name, text in wanted.items():
            if not _is_whole(entry / name):
                (entry / name).write_text(text + "\n", encoding="utf-8")

    def _linked(self) -> list[tuple[Path, Path]]:
        """Git's own folder of each linked worktree, and the `.git` file that it says to belong to."""
        pointers = [(folder, _text_of(folder / "gitdir")) for folder in self._admin_dirs()[1:]]
        return [(folder, Path(text)) for folder, text in pointers if text]

    def _admin_dirs(self) -> list[Path]:
        linked = self.common_dir / "worktrees"
        return [self.common_dir, *(sorted(linked.iterdir()) if linked.is_dir() else ())]


def _branch_in(head: Path) -> str | None:
    """The branch that a HEAD names; None where only git can tell."""
    text = _text_of(head)
    if text is None or head.is_symlink() or not text.startswith(_ON_BRANCH) or text.endswith(_NOT_IN_FILES):
        return None
    return text.removeprefix(_ON_BRANCH)


def _may_be_on(head: Path, branch: str) -> bool:
    """By its HEAD. One that says `.invalid` belongs to refs that are not kept in files; a link is an old form."""
    text = _text_of(head)
    return text is not None and (head.is_symlink() or text == _ON_BRANCH + branch or _NOT_IN_FILES in text)


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
