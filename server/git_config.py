"""Git's configuration as it is now, read anew only when one of its files has changed: a git takes 1.2 ms to tell."""

from dataclasses import dataclass
from pathlib import Path

from .repository import Repository

_TRUE = ("", "true", "yes", "on", "1")  # a key without a value is true
Stamps = dict[Path, tuple[int, int] | None]


@dataclass
class GitConfig:
    """The configuration of ``repository``, includes and the user's own files among it."""

    repository: Repository
    _stamps: Stamps | None = None
    _values: dict[str, str] | None = None

    def value(self, key: str) -> str | None:
        """The last value of a key in small letters, such as ``core.hookspath``."""
        return self._current().get(key)

    def is_true(self, key: str) -> bool:
        value = self._current().get(key)
        return value is not None and value.lower() in _TRUE

    def _current(self) -> dict[str, str]:
        if self._values is None or self._stamps is None or self._stamps != _stamped(self._stamps):
            listing = self._listing()
            places = [self.repository.common_dir / name for name in ("config", "config.worktree")]
            places += [Path.home() / ".gitconfig", Path.home() / ".config" / "git" / "config"]
            places += [self.repository.root / origin[5:] for origin in listing[::2] if origin.startswith("file:")]
            # The files are stamped before they are read, so that a change in between is seen as one.
            self._stamps = _stamped(dict.fromkeys(places))
            self._values = dict(line.partition("\n")[::2] for line in self._listing()[1::2])
        return self._values

    def _listing(self) -> list[str]:
        return self.repository.git("config", "--list", "--show-origin", "-z").split("\0")[:-1]


def _stamped(places: Stamps) -> Stamps:
    return {place: _stamp(place) for place in places}


def _stamp(place: Path) -> tuple[int, int] | None:
    try:
        found = place.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
