"""Branches and other refs of a repository."""

from collections.abc import Sequence

from .errors import BranchNotFound, GitError
from .git_calls import GitCalls


class Refs(GitCalls):
    """Each change names the value that it expects, so that it loses nobody else's."""

    def tip(self, branch: str) -> str | None:
        """The commit at ``branch``'s tip, or None where there is no such branch."""
        return self.resolve(f"refs/heads/{branch}^{{commit}}")

    def tips(self, branches: Sequence[str]) -> dict[str, str]:
        """The commits at the tips of those of ``branches`` that there are."""
        return {branch: tip for branch in branches if (tip := self.tip(branch)) is not None}

    def require_tip(self, branch: str) -> str:
        """As ``tip``. Raises BranchNotFound."""
        tip = self.tip(branch)
        if tip is None:
            raise BranchNotFound(
                f"There is no branch {branch!r} in {self.root}.", hint="`git branch` lists them.", branch=branch
            )
        return tip

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
