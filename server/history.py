"""Commits of a repository: how they hang together, what differs between them, what files hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .git_calls import GitCalls

MOST_SUBJECTS = 100
LAST_MERGES = 8
MOST_OF_A_COMMIT = 2**16  # bytes


@dataclass(frozen=True)
class Change:
    """A file that differs: mode and blob before and after, None where it is missing."""

    name: str
    old: str | None
    new: str | None

    @property
    def is_submodule(self) -> bool:
        return any(entry is not None and entry.startswith("160000") for entry in (self.old, self.new))


class History(GitCalls):
    """Questions about commits and the files in them."""

    def is_ancestor(self, commit: str, of: str) -> bool:
        """What one of the last merges into ``of`` brought is found there, which costs no process."""
        at = self.resolve(f"{of}^{{commit}}")
        for _ in range(LAST_MERGES):
            parents = self._parents(at) if at is not None else []
            if commit == at or commit in parents:
                return True
            at = parents[0] if parents else None
        return self.try_git("merge-base", "--is-ancestor", commit, of).code == 0

    def has_own_commits(self, base: str, head: str, target: str, changes: Sequence[Change]) -> bool:
        """Whether a branch has commits that are neither its base's nor the target's, merges of the target left out.

        ``changes``: what it holds beyond the target. With some, its head is not the target's; on its base alone, it is
        such a commit.
        """
        if changes and self._parents(head) == [base]:
            return True
        return int(self.git("rev-list", "--count", "--no-merges", head, "--not", base, target)) > 0

    def _parents(self, commit: str) -> list[str]:
        """Those of a commit; none also where that takes a git of its own to tell."""
        header = (self.small_object(commit, MOST_OF_A_COMMIT) or b"").partition(b"\n\n")[0]
        return [line[7:].decode() for line in header.split(b"\n") if line.startswith(b"parent ")]

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

    def brought_by(self, merge: str) -> tuple[list[str], list[str]]:
        """Subjects of the commits that a merge brought, the newest first, and the files that it changed.

        Nothing of either where the merge is no commit of this repository any more.
        """
        log = self.try_git("log", "--no-merges", "--format=%s", f"--max-count={MOST_SUBJECTS}", f"{merge}^1..{merge}^2")
        if log.code != 0:
            return [], []
        subjects = log.stdout.encode(errors="replace").decode().splitlines()
        return subjects, sorted(self.changed_files(f"{merge}^1", merge))

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

    def diff_stats(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int, int]]:
        """For each pair of commit ids: files changed, lines inserted and deleted; a binary file counts no lines."""
        asked = "".join(f"{head} {base}\n" for base, head in pairs)
        found: list[tuple[int, int, int]] = []
        for line in self.feed(asked, "diff-tree", "--stdin", "--always", "-r", "-M", "--numstat").split("\n")[:-1]:
            counts = [int(each) if each.isdigit() else 0 for each in line.split("\t")[:2]]
            if len(counts) == 1:  # the name of the next head
                found.append((0, 0, 0))
            else:
                files, inserted, deleted = found[-1]
                found[-1] = files + 1, inserted + counts[0], deleted + counts[1]
        return found

    def blob_size(self, oid: str) -> int:
        return int(self.git("cat-file", "-s", oid))

    def blob(self, oid: str) -> bytes:
        """The content of a file as git holds it."""
        return self.read("cat-file", "blob", oid)[1]

    def store_blob(self, content: bytes) -> str:
        """Put a file's content into the object store; returns its id."""
        return self.feed(content, "hash-object", "-w", "--stdin", "--no-filters").strip()
