"""The commands around worktrees: what there is, approvals of merges, and what was kept of those that were removed."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion, next_calls, wording
from .cli_options import Json, Repo, opened, refusal, refusals, say

if TYPE_CHECKING:
    from .salvages import Salvage
    from .worktrees import Candidate

APPROVER = "lead"

worktrees_app = typer.Typer(help="Show worktrees, approve merges, list and restore what was salvaged.")


@worktrees_app.callback(invoke_without_command=True)
def worktrees(context: typer.Context, repo: Repo = Path(), as_json: Json = False) -> None:
    """List the live worktrees: task, branch, folder, and why each may be removed or not."""
    if context.invoked_subcommand is not None:
        if repo != Path() or as_json:
            raise typer.BadParameter(f"give --repo and --json behind {context.invoked_subcommand}")
        return
    from . import leftovers, settings
    from .repository import Repository

    with refusals(as_json, refusal):
        repository = Repository.discover(repo)
        found = leftovers.seen_from_outside(repository, settings.load(repository.root))
    if as_json:
        typer.echo(json.dumps({"worktrees": [dataclasses.asdict(each) for each in found]}))
    else:
        _print_worktrees(found)


@worktrees_app.command()
def approve(
    tasks: Annotated[
        list[str],
        typer.Argument(help="Tasks whose work may be merged.", metavar="TASK...", autocompletion=completion.tasks),
    ],
    repo: Repo = Path(),
    as_json: Json = False,
) -> None:
    """Approve the merges of tasks as the lead (where merge.auto_approve is off).

    An approval is of the branch as it is: if it changes afterwards, it waits for another one.
    """
    from . import clock, wishes
    from .wakeup import Bell

    with refusals(as_json, refusal), opened(repo) as (paths, store):
        rows = store.run(lambda tx: [wishes.request_merge(tx, each, APPROVER, clock.now(), APPROVER) for each in tasks])
        Bell(paths.bell).ring()
    if as_json:
        shown = [{key: row[key] for key in ("merge_id", "task_id", "status", "head_commit")} for row in rows]
        typer.echo(json.dumps({"approved": shown}))
        return
    for row in rows:
        if row["status"] in ("queued", "checking"):
            typer.echo(f"{row['task_id']}: the merge of {row['head_commit'][:10]} is approved.")
        else:
            typer.echo(f"{row['task_id']}: its merge is {row['status']} already.")


@worktrees_app.command()
def salvage(
    restore: Annotated[str | None, typer.Option(metavar="REF", help="Make a branch at what is kept there.")] = None,
    branch: Annotated[str | None, typer.Option(metavar="NAME", help="The branch's name.")] = None,
    repo: Repo = Path(),
    as_json: Json = False,
) -> None:
    """List the work that was kept when a worktree or a branch was removed, or make a branch of it again.

    Commits and uncommitted and new files are kept; files that git ignores are not. No checkout is touched.
    """
    from . import salvages, settings
    from .errors import InvalidInput
    from .repository import Repository

    with refusals(as_json, refusal):
        repository = Repository.discover(repo)
        target = settings.load(repository.root).crew.integration_branch
        if branch is not None and restore is None:
            raise InvalidInput("--branch names what --restore makes.", hint="Give --restore REF as well.")
        if restore is None:
            _tell_salvaged(salvages.listed(repository, target), target, as_json=as_json)
            return
        kept, made = salvages.restore(repository, restore, branch)
    if as_json:
        typer.echo(json.dumps({"status": "restored", "branch": made, "ref": kept.ref, "commit": kept.commit}))
        return
    typer.echo(f"Made branch {made} at {kept.commit[:10]}: {kept.subject}")
    typer.echo(f"  git log {target}..{made}    shows its commits")
    typer.echo(f"  git switch {made}    checks it out")
    typer.echo(f"  git update-ref -d {kept.ref}    gives the salvage up")


def register(app: typer.Typer) -> None:
    """Make them commands of ``app``."""
    app.add_typer(worktrees_app, name="worktrees")


def _tell_salvaged(found: "list[Salvage]", target: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"salvaged": [dataclasses.asdict(each) for each in found]}))
        return
    if not found:
        typer.echo("Nothing was salvaged: no work has been removed by force.")
        return
    for each in found:
        typer.echo(f"{each.ref}")
        lacks = f"{_many(each.commits, 'commit')}, {_many(each.files, 'file')} not on {target}"
        typer.echo(f"  task {each.task_id}, kept {each.kept_at or 'at an unknown time'}: {lacks}")
        typer.echo(f"  {each.commit[:10]} {each.subject}")
    say("`crewyard worktrees salvage --restore REF` makes a branch of one.")


def _print_worktrees(found: "list[Candidate]") -> None:
    if not found:
        typer.echo("There are no worktrees of tasks.")
    for each in found:
        typer.echo(f"{each.task_id}  {each.status}  {each.branch_name}  {each.disk_space_mb:.1f} MiB")
        typer.echo(f"  {each.worktree_path}")
        typer.echo(f"  {'may be removed' if each.ready else 'stays'}: {next_calls.for_terminal(each.reason)}")


def _many(number: int, noun: str) -> str:
    return f"{number} {wording.plural(noun, number)}"
