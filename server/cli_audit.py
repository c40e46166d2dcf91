"""``crewyard events``: the record of what happened, for people, for programs, and as it goes on (R-019, R-305)."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_options import Repo, opened, say

if TYPE_CHECKING:
    from .audit import Question
    from .store import Row, Store

SHOWN = 50
WIDEST = 400


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it happens, until Ctrl-C.")] = False,
    after: Annotated[int | None, typer.Option(min=0, metavar="ID", help="Only events behind this event_id.")] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="ID", help="Only of this task, agent, message, merge or dispatch.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only of this kind; agent_* is any of agents.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only from then on: 10m, 2h, 1d or a time.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The newest so many; behind --after the first. Default 50, in JSON all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    repo: Repo = Path(),
) -> None:
    """Show what happened: when, who, what, why. `--json` without more exports everything."""
    from . import audit, clock

    named = None if subject is None else subject.removeprefix("merge-")
    asked = audit.Question(named, kind, None if since is None else audit.moment(since, clock.now()))
    with opened(repo) as (_, store), _ended_quietly():
        shown = 0
        for row in _asked_for(store, asked, after, limit or (None if as_json else SHOWN), follow=follow):
            typer.echo(json.dumps(audit.as_dict(row)) if as_json else line_of(row))
            shown += 1
        if not shown and not as_json:
            say("Nothing of that kind has happened yet.")


def line_of(row: "Row") -> str:
    """The event as a line for people; what would move their cursor is left out."""
    data: dict[str, Any] = json.loads(row["data"])
    states = f" {row['from_state']} → {row['to_state']}" if row["from_state"] else ""
    why = data.pop("why", "")
    facts = ", ".join(f"{key}={_plain(value)}" for key, value in data.items() if value is not None)
    told = "".join([f": {why}" if why else "", f" ({facts})" if facts else ""])
    subject = f"{row['subject_type']} {row['subject_id']}"
    line = f"{row['at']}  {row['event_id']:>6}  {row['actor']}  {subject}  {row['kind']}{states}{told}"
    return "".join(letter if letter.isprintable() else " " for letter in line)[:WIDEST]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _asked_for(
    store: "Store", asked: "Question", after: int | None, limit: int | None, *, follow: bool
) -> "Iterator[Row]":
    """What there is, in pages; then what comes, as it comes. The event_id is the cursor: none is told twice."""
    from . import audit
    from .waiting import Waiting, is_pipe

    with Waiting(store) as news:
        if is_pipe(sys.stdout.fileno()):
            news.watch_reader(sys.stdout.fileno())
        most = limit if after is not None and not follow else None
        at = after if after is not None else 0 if limit is None else store.read(audit.before_newest, asked, limit)
        while True:
            rows, at = store.read(audit.after, asked, at, min(audit.PAGE, most or audit.PAGE))
            yield from rows
            sys.stdout.flush()
            most = None if most is None else most - len(rows)
            if len(rows) == audit.PAGE and most != 0:
                continue
            if not follow:
                return
            while not news.until_changed():
                continue


@contextmanager
def _ended_quietly() -> Iterator[None]:
    """Ctrl-C, or a reader such as `head` that has read enough, is no error."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed goes nowhere


def register(app: typer.Typer) -> None:
    """Make it a command of ``app``."""
    app.command()(events)
