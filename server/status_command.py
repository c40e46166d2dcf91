"""``crewyard status`` as a command: asked once or watched, for people or for scripts."""

import io
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import status_view
from .errors import CrewyardError, DatabaseBusy
from .status import Status, looking

WATCH_SECONDS = 1.0


def answered(repo: Path, *, as_json: bool, watch: bool) -> int:
    """Print the status; returns the exit code: 0, or 2 where there is nothing to look at, or no way to."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no arrows is no reason to fail
    try:
        show(repo, as_json=as_json, watch=watch)
    except CrewyardError as error:
        from .next_calls import for_terminal

        hint = f"  → {for_terminal(error.hint)}\n" if error.hint else ""
        told = f"crewyard: {for_terminal(error.message)}\n{hint}"
        sys.stderr.write(told)
        return 2
    except KeyboardInterrupt:
        return 0 if watch else 130
    except BrokenPipeError:  # whoever read it has seen enough
        sys.stderr.close()
        return 0
    return 0


def show(repo: Path, *, as_json: bool, watch: bool) -> None:
    """Raises a CrewyardError; with ``as_json`` it is told on standard output as well."""
    try:
        with looking(repo) as look:
            seen = partial(look.now, with_messages=as_json)  # which are told nowhere else
            if not watch:
                _print(seen(), as_json=as_json)
            elif as_json or not sys.stdout.isatty():
                _follow(seen, as_json=as_json)
            else:
                _redraw(seen)
    except CrewyardError as error:
        if as_json:
            reason = {"code": error.code, "message": error.message, "hint": error.hint}
            sys.stdout.write(json.dumps({"status": "refused", "error": reason}) + "\n")
        raise


def _print(seen: Status, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(seen.as_dict()) + "\n")
    else:
        status_view.print_status(seen)
    sys.stdout.flush()


def _follow(look: Callable[[], Status], *, as_json: bool) -> None:
    while True:
        _print(look(), as_json=as_json)
        time.sleep(WATCH_SECONDS)


def _redraw(look: Callable[[], Status]) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, screen=True, vertical_overflow="ellipsis") as live:
        while True:
            screen = io.StringIO()
            drawn = Console(file=screen, force_terminal=True, width=live.console.width, highlight=False)
            try:
                status_view.print_status(look(), drawn)
            except DatabaseBusy:  # the picture of before stays
                continue
            live.update(Text.from_ansi(screen.getvalue()), refresh=True)
            time.sleep(WATCH_SECONDS)
