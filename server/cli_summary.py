"""``crewyard summary``: what the crew has done, at a terminal."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from .cli_options import Json, Repo, opened, refusal, refusals, say

Range = Literal["last_1h", "last_24h", "last_7d", "all"]


def summary(
    since: Annotated[Range, typer.Option(help="What it covers, until now.")] = "all",
    export: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write PATH.md, PATH.json and PATH.svg in place of printing it.")
    ] = None,
    repo: Repo = Path(),
    as_json: Json = False,
) -> None:
    """Tell what the crew has done: tasks, agents, where the time went, bottlenecks, errors.

    An export replaces no file but an earlier one.
    """
    from . import activity, clock, summary_files, summary_markdown
    from . import summary as figures

    with refusals(as_json, refusal), opened(repo) as (paths, store):
        waits = not paths.settings.merge.auto_approve
        found = store.read(activity.of_range, since, approvals=waits, now=clock.now())
        if export is None:
            seen = figures.of(found, since)
            typer.echo(json.dumps(seen) if as_json else summary_markdown.to_markdown(seen, "detailed"), nl=as_json)
            return
        # A person's path is theirs: from where they stand, wherever that is.
        place = str(Path.cwd() / export)
        written = summary_files.export(paths.root, paths.own, place, found, since, "comprehensive", ".md")
    if as_json:
        typer.echo(json.dumps({"report_path": str(written.report), "files": [str(each) for each in written.files]}))
        return
    for path in written.files:
        say(f"Written: {path}")


def register(app: typer.Typer) -> None:
    app.command()(summary)
