"""The specifications and roadmap priorities that a plan brings along or only names."""

from .readers.draft import PlanDraft
from .store import Transaction


def store(tx: Transaction, draft: PlanDraft, *, now: str, actor: str) -> int:
    """Insert or update them; returns how many changed.

    One that tasks name and nobody describes is made with its id as title, so that the plan need not hold any.
    """
    specs = {spec.spec_id: (spec.title, spec.content, spec.spec_type) for spec in draft.specs}
    changed = sum(_store_spec(tx, spec_id, row, now=now, actor=actor) for spec_id, row in specs.items())
    named = [task.spec_id for task in draft.tasks] + [priority.spec_id for priority in draft.priorities]
    for spec_id in dict.fromkeys(named):
        if spec_id is not None and spec_id not in specs:
            changed += _store_spec(tx, spec_id, None, now=now, actor=actor)
    priorities = {each.priority_id: (each.title, each.content, each.spec_id) for each in draft.priorities}
    changed += sum(_store_priority(tx, key, row, now=now, actor=actor) for key, row in priorities.items())
    for key in dict.fromkeys(task.priority_id for task in draft.tasks):
        if key is not None and key not in priorities:
            changed += _store_priority(tx, key, None, now=now, actor=actor)
    return changed


def _store_spec(tx: Transaction, spec_id: str, row: tuple[str, str, str] | None, *, now: str, actor: str) -> int:
    have = tx.one("SELECT title, content, spec_type FROM specs_specification WHERE id = ?", (spec_id,))
    if have is None:
        return tx.run(
            "INSERT INTO specs_specification (id, title, content, spec_type, created_at, updated_at, updated_by) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (spec_id, *(row or (spec_id, "", "technical")), now, now, actor),
        )
    if row is None or tuple(have) == row:
        return 0
    return tx.run(
        "UPDATE specs_specification SET title = ?, content = ?, spec_type = ?, updated_at = ?, updated_by = ? "
        "WHERE id = ?",
        (*row, now, actor, spec_id),
    )


def _store_priority(tx: Transaction, key: str, row: tuple[str, str, str | None] | None, *, now: str, actor: str) -> int:
    have = tx.one("SELECT title, content, spec_id FROM roadmap_priority WHERE id = ?", (key,))
    if have is None:
        return tx.run(
            "INSERT INTO roadmap_priority (id, title, content, spec_id, updated_at, updated_by) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (key, *(row or (key, "", None)), now, actor),
        )
    if row is None or tuple(have) == row:
        return 0
    return tx.run(
        "UPDATE roadmap_priority SET title = ?, content = ?, spec_id = ?, updated_at = ?, updated_by = ? WHERE id = ?",
        (*row, now, actor, key),
    )
