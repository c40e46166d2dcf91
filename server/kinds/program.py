"""Agent programs as a person meets them: what they are called, how one logs in, how they become a client of ours."""

import os
import re
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_VERSION = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True)
class Program:
    """The program of a kind.

    ``tried`` is the oldest version that its kind was tried with. ``log_in`` is what one calls to log in; that one has
    shows in one of ``keys`` among the variables, or in one of ``files`` below the home folder. The variable ``home``
    moves the folder of the first of them. ``steered_by`` are the names of files and folders of a repository that it
    executes or takes settings from, wherever in it they lie. ``adds_server`` makes it a client of the MCP server whose
    command follows: in the user's own configuration, whatever the folder, where it ``adds_everywhere``.
    """

    name: str
    tried: str
    log_in: str
    keys: Sequence[str]
    files: Sequence[str]
    steered_by: Sequence[str]
    adds_server: Sequence[str]
    home: str = ""
    adds_everywhere: bool = False

    @property
    def is_on_path(self) -> bool:
        return shutil.which(self.name) is not None

    @property
    def log_in_cure(self) -> str:
        """What a person does so that it is logged in, as a sentence."""
        return f"Call `{self.log_in}`, or set {self.keys[0]}."

    def client_line(self, server: Sequence[str]) -> str:
        """What one types to have it start ``server``."""
        return shlex.join([*self.adds_server, *server])

    def signs(self, environ: Mapping[str, str], handed_on: Collection[str]) -> "Signs":
        """What can be seen of its being logged in, without reading a file or asking anybody."""
        given = [name for name in self.keys if environ.get(name)]
        home = Path(environ.get("HOME") or os.sep)
        files = [home / file for file in self.files]
        moved = environ.get(self.home) if self.home in handed_on else None
        if moved and files:
            files[0] = Path(moved) / files[0].name
        return Signs(
            [name for name in given if name in handed_on],
            [name for name in given if name not in handed_on],
            [file for file in files if file.exists()],
        )


@dataclass(frozen=True)
class Signs:
    """Of a log-in: variables that agents get, those that they do not, files that are there."""

    keys: Sequence[str]
    kept_back: Sequence[str]
    files: Sequence[Path]


def version_in(text: str) -> str | None:
    """The version that a program prints; None where there is none."""
    found = _VERSION.search(text)
    return None if found is None else found[0]


def is_older(version: str, than: str) -> bool:
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
