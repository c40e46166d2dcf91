"""Projects: what was dispatched, how far it is, how urgent it is (R-208, R-209, R-215)."""

import difflib
import json
import re
from dataclasses import dataclass
from typing import Any

from .. import events, states
from ..errors import IllegalTransition, InvalidInput, ProjectNotFound
from ..store import Row, Transaction

# The names of levels (C-37); a number is one as well.
LEVELS = {"urgent": 1, "critical": 1, "high": 2, "normal": 5, "medium": 5, "low": 8}
SOURCES = ("text", "file", "batch", "issue")
COMPLEXITIES = ("simple", "standard", "complex")
SIMPLE_WORDS, COMPLEX_WORDS = 40, 400
TITLE_LENGTH = 80
MOST_INPUT = 200_000
# No text holds them, and no terminal should be given them.
UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
CLOSED = ("completed", "rejected")


@dataclass(frozen=True)
class Draft:
    """What somebody wants to be made; without a complexity it is estimated from the length of its text (G-06)."""

    text: str
    source: str = "text"
    title: str = ""
    kind: str = ""
    complexity: str = ""
    location: str = ""
    priority: int = LEVELS["normal"]


def level(name: str | int) -> int:
    """The priority that a level stands for, 1 (first) to 10. Raises InvalidInput."""
    text = str(name).strip().lower()
    if text in LEVELS:
        return LEVELS[text]
    if text.isdigit() and 1 <= int(text) <= 10:
        return int(text)
    near = difflib.get_close_matches(text, LEVELS, n=1)
    hint = (
        f"Did you mean {near[0]!r}?" if near else "Give urgent, high, normal or low, or a number from 1 (first) to 10."
    )
    raise InvalidInput(f"{name!r} is no level of priority.", hint=hint, level=str(name))


def level_name(priority: int) -> str:
    """The name of the nearest level that is at least as urgent."""
    return "urgent" if priority <= 1 else "high" if priority <= 3 else "normal" if priority <= 6 else "low"


def get(tx: Transaction, project_id: str) -> Row:
    """Raises ProjectNotFound, with the ids that look alike."""
    row = tx.one("SELECT * FROM project WHERE project_id = ?", (project_id,))
    if row is None:
        known = [each["project_id"] for each in tx.all("SELECT project_id FROM project ORDER BY rowid DESC LIMIT 500")]
        near = difflib.get_close_matches(project_id, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "projects(action='status') lists them."
        raise ProjectNotFound(f"There is no project {project_id!r}.", hint=hint, project_id=project_id)
    return row


def by_repository(tx: Transaction, url: str) -> Row:
    """The project whose worker reported this repository, or whose id it is. Raises ProjectNotFound."""
    row = tx.one(
        "SELECT * FROM project WHERE rtrim(repository_url, '/') = rtrim(?, '/') ORDER BY rowid DESC LIMIT 1", (url,)
    )
    return row if row is not None else get(tx, url)


def listed(tx: Transaction, *, stage: str | None = None, before: str = "", limit: int = 50) -> list[Row]:
    """The newest first, from behind the project ``before`` on."""
    return tx.all(
        "SELECT * FROM project WHERE (:stage IS NULL OR stage = :stage) AND (:before = '' OR rowid < "
        "(SELECT rowid FROM project WHERE project_id = :before)) ORDER BY rowid DESC LIMIT :limit",
        {"stage": stage, "before": before, "limit": limit},
    )


def counts(tx: Transaction, *, stage: str | None = None) -> dict[str, int]:
    """How many are in each state."""
    rows = tx.all(
        "SELECT status, count(*) AS n FROM project WHERE :stage IS NULL OR stage = :stage GROUP BY 1", {"stage": stage}
    )
    return {row["status"]: row["n"] for row in rows}


def check(draft: Draft) -> None:
    """Raises InvalidInput where it cannot become a project."""
    text = draft.text.strip()
    if not text:
        raise InvalidInput("There is nothing to be dispatched: the input is empty.", hint="Say what is to be made.")
    if len(text) > MOST_INPUT:
        raise InvalidInput(
            f"The input has {len(text)} characters; {MOST_INPUT} is the limit.", hint="Divide it into several projects."
        )
    if found := UNREADABLE.search(draft.text) or UNREADABLE.search(f"{draft.title}{draft.kind}{draft.location}"):
        raise InvalidInput(f"The input holds the control character {found[0]!r}.", hint="Give it as plain text.")
    if draft.complexity and draft.complexity not in COMPLEXITIES:
        near = difflib.get_close_matches(draft.complexity, COMPLEXITIES, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Give {', '.join(COMPLEXITIES)}."
        raise InvalidInput(f"{draft.complexity!r} is no complexity.", hint=hint)


def create(tx: Transaction, draft: Draft, stage: str, *, now: str, actor: str) -> Row:
    """Raises InvalidInput; then nothing is queued."""
    check(draft)
    text = draft.text.strip()
    number = 1 + int(tx.value("SELECT coalesce(max(rowid), 0) FROM project"))  # none is ever deleted
    row = tx.only(
        "INSERT INTO project (project_id, title, input, source, stage, priority, kind, complexity, location, "
        "created_by, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            f"P-{number}",
            _title(draft.title.strip() or text),
            text,
            draft.source,
            stage,
            draft.priority,
            draft.kind,
            draft.complexity or estimated_complexity(text),
            draft.location,
            actor,
            now,
            now,
        ),
    )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="project",
        subject_id=row["project_id"],
        kind="project_active",
        to_state="active",
        title=row["title"],
        source=draft.source,
        priority=draft.priority,
        complexity=row["complexity"],
    )
    return row


def estimated_complexity(text: str) -> str:
    """By the length of what is asked for (G-06)."""
    words = len(text.split())
    return "simple" if words < SIMPLE_WORDS else "complex" if words > COMPLEX_WORDS else "standard"


def reached(tx: Transaction, project_id: str, stage: str, *, now: str) -> None:
    """It has come to that stage."""
    tx.run("UPDATE project SET stage = ?, updated_at = ? WHERE project_id = ?", (stage, now, project_id))


def learned(tx: Transaction, project_id: str, output: dict[str, Any], *, now: str) -> None:
    """Keep where it lies and where it was deployed, as its worker reported."""
    for key in ("repository_url", "deployment_url"):
        if isinstance(value := output.get(key), str) and value:
            tx.run(f"UPDATE project SET {key} = ?, updated_at = ? WHERE project_id = ?", (value, now, project_id))


def undeployed(tx: Transaction, project_id: str, *, now: str) -> None:
    """What was deployed is to be made again."""
    tx.run("UPDATE project SET deployment_url = NULL, updated_at = ? WHERE project_id = ?", (now, project_id))


def change(tx: Transaction, project_id: str, want: str, *, now: str, actor: str, why: str = "") -> Row:
    """Raises ProjectNotFound, IllegalTransition."""
    ended = now if want in CLOSED else None
    get(tx, project_id)
    return events.transition(
        tx, states.PROJECT, project_id, want, now=now, actor=actor, why=why, completed_at=ended, updated_at=now
    )


def set_priority(tx: Transaction, project_id: str, priority: int, *, now: str, actor: str) -> Row:
    """It stays with the project in every stage (R-209); what waits takes its new place at once (R-234).

    What is raised is not held back any more by a triage that was. Raises ProjectNotFound, IllegalTransition.
    """
    before = get(tx, project_id)
    if before["status"] in CLOSED:
        raise IllegalTransition(
            f"Project {project_id} is {before['status']}; its level decides nothing any more.",
            hint="queues(action='status') shows what waits.",
            project_id=project_id,
        )
    tx.run("UPDATE project SET priority = ?, updated_at = ? WHERE project_id = ?", (priority, now, project_id))
    tx.run(
        "UPDATE queue_item SET stepped_back_at = iif(:priority < priority, NULL, stepped_back_at), "
        "priority = :priority WHERE project_id = :project AND status NOT IN ('done', 'rejected')",
        {"priority": priority, "project": project_id},
    )
    for table in ("specs_task", "orchestrator_task"):  # what a worker has already is launched and merged by it too
        tx.run(
            f"UPDATE {table} SET priority = ? WHERE task_id IN (SELECT task_id FROM queue_item WHERE project_id = ? "
            "AND status NOT IN ('done', 'rejected'))",
            (priority, project_id),
        )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="project",
        subject_id=project_id,
        kind="project_priority",
        before=before["priority"],
        priority=priority,
    )
    return get(tx, project_id)


def outputs(tx: Transaction, project_id: str) -> dict[str, dict[str, Any]]:
    """What its stages have handed over so far, by stage."""
    rows = tx.all(
        "SELECT workflow, output FROM queue_item WHERE project_id = ? AND output IS NOT NULL ORDER BY item_id",
        (project_id,),
    )
    return {row["workflow"]: json.loads(row["output"]) for row in rows}


def _title(text: str) -> str:
    line = next(line for line in text.splitlines() if line.strip()).strip().lstrip("# ")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
