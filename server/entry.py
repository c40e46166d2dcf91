"""The program's entrance. ``status`` and ``serve`` go straight to their module; all else through the command line.

Prompts, scripts and people ask for the status again and again, and each agent starts a server of its own and waits for
it; importing the command line takes longer than the whole status. What this short way does not know word for word, it
leaves to the command line.
"""

import gc
import os
import signal
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """What ``crewyard status`` was asked for."""

    repo: Path = Path()
    as_json: bool = False
    watch: bool = False


def main() -> None:
    gc.disable()  # what is imported stays: looking through it for garbage takes a tenth of the whole time
    asked, served = of_status(sys.argv[1:]), of_serve(sys.argv[1:])
    if asked is not None:
        from .status_command import answered

        gc.enable()
        sys.exit(answered(asked.repo, as_json=asked.as_json, watch=asked.watch))
    elif served is not None and not sys.stdin.isatty():
        # Nothing is open yet that an end would leave behind; what serves takes both signals over.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: os._exit(0))
        from .compose import serve_stdio

        gc.freeze()
        gc.enable()
        sys.exit(serve_stdio(served))
    from . import cli

    gc.enable()
    cli.main()


def of_status(arguments: Sequence[str]) -> Asked | None:
    """The call, where it is one for the status and nothing in it needs the command line."""
    known = _known("status", arguments, ("--json", "--watch"))
    return known and Asked(known[0], "--json" in known[1], "--watch" in known[1])


def of_serve(arguments: Sequence[str]) -> Path | None:
    """The repository, where this is the call of a client that starts its server."""
    known = _known("serve", arguments, ())
    return known and known[0]


def _known(command: str, arguments: Sequence[str], known: Collection[str]) -> tuple[Path, set[str]] | None:
    """The repository and the flags of a call of this command that has nothing but these in it."""
    if list(arguments[:1]) != [command]:
        return None
    repo, flags, rest = Path(), set(), list(arguments[1:])
    while rest:
        word = rest.pop(0)
        if word == "--repo" and rest and not rest[0].startswith("-"):
            repo = Path(rest.pop(0))
        elif word.startswith("--repo=") and len(word) > len("--repo="):
            repo = Path(word.removeprefix("--repo="))
        elif word in known:
            flags.add(word)
        else:
            return None
    return repo, flags


if __name__ == "__main__":
    main()
