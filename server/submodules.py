"""Gives a checkout those submodules that the main checkout has, from the clones that lie there; no network is asked."""

from pathlib import Path

from .errors import GitError
from .repository import Repository


def populate(repository: Repository, path: Path) -> None:
    """Check the submodules at ``path`` out that the main checkout has; the others stay empty, as they are there.

    Raises GitError where the commit that is wanted is not in the main checkout's clone.
    """
    _populate(repository, repository.root, path)


def _populate(repository: Repository, main: Path, path: Path) -> None:
    if not (path / ".gitmodules").is_file():
        return
    for name, place in _declared(repository, path):
        source = main / place
        if not (source / ".git").exists():
            continue
        clone = repository.git("rev-parse", "--absolute-git-dir", at=source)
        answer = repository.try_git(
            "-c",
            f"submodule.{name}.url={clone}",
            "-c",
            f"submodule.{name}.active=true",
            "-c",
            f"submodule.{name}.update=checkout",
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "update",
            "--quiet",
            "--no-recommend-shallow",
            "--",
            place,
            at=path,
        )
        if answer.code != 0:
            raise GitError(
                f"Submodule {place} cannot be made in {path}: {(answer.stderr or answer.stdout).strip()}",
                hint=f"git -C {main} submodule update --init -- {place}",
                submodule=place,
            )
        url = repository.try_git("config", "--get", "remote.origin.url", at=source).stdout.strip()
        if url:
            repository.git("remote", "set-url", "origin", url, at=path / place)
        _populate(repository, source, path / place)


def _declared(repository: Repository, path: Path) -> list[tuple[str, str]]:
    """Name and path of each submodule that ``.gitmodules`` there declares."""
    listing = repository.try_git(
        "config", "--file", ".gitmodules", "--null", "--get-regexp", r"^submodule\..*\.path$", at=path
    )
    pairs = [entry.partition("\n") for entry in listing.stdout.split("\0") if entry]
    return [(key.removeprefix("submodule.").removesuffix(".path"), place) for key, _, place in pairs]
