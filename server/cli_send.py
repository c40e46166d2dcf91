"""``crewyard send``: a person's word to an agent, as the answer to what it asked."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_options import Json, Repo, opened, refusal, refusals
from .completion import agents_and_tasks

if TYPE_CHECKING:
    from .messages import Draft, Sent, Terms
    from .store import Transaction


def send(
    to: Annotated[
        str,
        typer.Argument(
            metavar="AGENT|TASK",
            help="An agent's id, a task's (its last agent), a type of agent, or ALL.",
            autocompletion=agents_and_tasks,
        ),
    ],
    words: Annotated[list[str], typer.Argument(metavar="TEXT...", help="What to tell it.")],
    repo: Repo = Path(),
    as_json: Json = False,
) -> None:
    """Write to an agent, as the answer to its question. It reads it when it next polls its mail."""
    from . import clock, messages
    from .wakeup import Bell

    with refusals(as_json, refusal), opened(repo) as (paths, store):
        conf = paths.settings.messages
        terms = messages.Terms(conf.expire_after_hours, conf.retention_days, conf.max_retries)
        draft = messages.Draft(to, "answer", " ".join(words))
        sent = store.run(_send, draft, paths.settings.agents.keys(), conf.max_queue, terms, clock.now())
        late = store.read(_late, sent.recipients)
        Bell(paths.bell).ring()
    if as_json:
        typer.echo(json.dumps({"message_ids": sent.message_ids, "recipients": sent.recipients}))
    else:
        tells = f"`crewyard why {sent.message_ids[0]}` tells if it was read."
        typer.echo(f"Sent to {', '.join(sent.recipients)}{late}; {tells}")


def _send(
    tx: "Transaction", draft: "Draft", agent_types: Collection[str], max_queue: int, terms: "Terms", now: str
) -> "Sent":
    from . import agents, messages, recipients

    known = agents.of_task(tx, draft.target)
    target = known[-1]["agent_id"] if known else draft.target
    return messages.send(
        tx,
        replace(draft, target=target),
        sender=recipients.LEAD,
        agent_types=agent_types,
        max_queue=max_queue,
        now=now,
        terms=terms,
    )


def _late(tx: "Transaction", recipients: Sequence[str]) -> str:
    """Who reads it in the place of an agent that has ended."""
    if len(recipients) != 1:
        return ""
    sql = "SELECT task_id FROM agent_lifecycle WHERE agent_id = ? AND completed_at IS NOT NULL AND task_id IS NOT NULL"
    row = tx.one(sql, (recipients[0],))
    return "" if row is None else f", which has ended: the next attempt at {row['task_id']} gets it in its prompt"


def register(app: typer.Typer) -> None:
    app.command()(send)
