"""The program's entrance. ``status`` goes straight to its module; every other call goes through the command line.

Prompts, scripts and people ask for the status again and again; importing the command line (typer, pydantic) takes
longer than the whole answer. What this short way does not know word for word, it leaves to the command line.
"""

import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """What ``crewyard status`` was asked for."""

    repo: Path = Path()
    as_json: bool = False
    watch: bool = False


def main() -> None:
    asked = of_status(sys.argv[1:])
    if asked is None:
        from . import cli

        cli.main()
        return
    gc.disable()  # what is imported stays: looking through it for garbage takes a tenth of the whole time
    from .status_command import answered

    gc.enable()
    sys.exit(answered(asked.repo, as_json=asked.as_json, watch=asked.watch))


def of_status(arguments: Sequence[str]) -> Asked | None:
    """The call, where it is one for the status and nothing in it needs the command line."""
    if list(arguments[:1]) != ["status"]:
        return None
    repo, flags, rest = Path(), set(), list(arguments[1:])
    while rest:
        word = rest.pop(0)
        if word == "--repo" and rest and not rest[0].startswith("-"):
            repo = Path(rest.pop(0))
        elif word.startswith("--repo=") and len(word) > len("--repo="):
            repo = Path(word.removeprefix("--repo="))
        elif word in ("--json", "--watch"):
            flags.add(word)
        else:
            return None
    return Asked(repo, "--json" in flags, "--watch" in flags)


if __name__ == "__main__":
    main()
