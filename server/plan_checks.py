"""What a plan must not ask of this database and this configuration; raised before anything is written."""

import difflib
import json
from collections.abc import Collection

from . import cycles
from .errors import PlanRefused
from .readers.draft import PlanDraft
from .store import Transaction

SHOWN = 5


def refuse_unknown_agents(draft: PlanDraft, agent_types: Collection[str] | None) -> None:
    if agent_types is None:
        return
    unknown = [task for task in draft.tasks if task.agent_type is not None and task.agent_type not in agent_types]
    if not unknown:
        return
    task = unknown[0]
    near = difflib.get_close_matches(task.agent_type or "", list(agent_types), n=1, cutoff=0.4)
    more = f" ({len(unknown) - 1} more tasks name unknown ones.)" if len(unknown) > 1 else ""
    configured = ", ".join(sorted(agent_types)) or "none"
    raise PlanRefused(
        f"{draft.name}: task {task.task_id} ({task.source}) names the agent type {task.agent_type!r}, which is not "
        f"configured.{more}",
        hint=f"Did you mean {near[0]!r}?" if near else f"crewyard.toml configures: {configured}.",
        task_id=task.task_id,
        agent_type=task.agent_type,
    )


def refuse_missing(draft: PlanDraft, missing: Collection[str]) -> None:
    """``missing`` are the ids that tasks wait for and nobody knows."""
    if missing:
        first = sorted(missing)
        raise PlanRefused(
            f"{draft.name}: it depends on tasks that are neither in it nor in the database: "
            f"{', '.join(first[:SHOWN])}{' …' if first[SHOWN:] else ''}.",
            hint="Add these tasks, or take the dependencies away.",
            missing=first[:50],
        )


def refuse_waiting_for_itself(draft: PlanDraft) -> None:
    loops = [task.task_id for task in draft.tasks if task.task_id in (*task.depends_on, *task.soft_depends_on)]
    cycles.refuse_cycles(((each, each) for each in loops), draft.name)


def refuse_twins(tx: Transaction, draft: PlanDraft, ids: set[str]) -> None:
    """``ids`` are the plan's; the database may hold one that differs from one of them only in case."""
    rows = tx.all(
        "SELECT task_id FROM specs_task WHERE lower(task_id) IN (SELECT value FROM json_each(?))",
        (json.dumps([each.lower() for each in ids]),),
    )
    twin = next((row[0] for row in rows if row[0] not in ids), None)
    if twin is not None:
        mine = next(each for each in ids if each.lower() == twin.lower())
        raise PlanRefused(
            f"{draft.name}: the ids {mine!r} and {twin!r} (in the database) differ only in case.",
            hint="Their folders may be the same; give one of them another id.",
            task_id=mine,
        )
