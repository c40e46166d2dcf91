"""Notices Git LFS: files that git keeps elsewhere, and of which agents would see pointers only."""

from .errors import GitError
from .repository import Repository

_SETUP = "Install git-lfs and run `git lfs install`, then start again."


def require_filter(repository: Repository, commit: str) -> list[str]:
    """What is to be told of Git LFS before worktrees are made of ``commit``.

    Raises GitError where git could not check a single file of it out, because its filter is required and not there.
    """
    files = _attributes(repository, commit)
    if not files:
        return []
    known = repository.try_git("config", "--get-regexp", r"^filter\.lfs\.(process|smudge)$").stdout.strip()
    if known and repository.try_git("lfs", "version").code == 0:
        return []
    tracked = f"{', '.join(files)} puts files under Git LFS"
    if known and repository.try_git("config", "--type=bool", "--get", "filter.lfs.required").stdout.strip() == "true":
        raise GitError(f"{tracked}, and git requires git-lfs, which is not installed.", hint=_SETUP, files=files)
    return [f"{tracked}, which is not set up here: agents see pointers in their place. {_SETUP}"]


def _attributes(repository: Repository, commit: str) -> list[str]:
    """The attribute files in the tree that name its filter."""
    words = ("grep", "-l", "-z", "-F", "filter=lfs", commit, "--", ":(glob)**/.gitattributes")
    found = repository.try_git(*words, env={"GIT_LITERAL_PATHSPECS": "0"})
    return [name.partition(":")[2] for name in found.stdout.split("\0") if name] if found.code == 0 else []
