"""The situations in which somebody asks why, each built in a real database by the units that make it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from crewyard.server import (
    agents,
    assignments,
    attempts,
    clock,
    dispatches,
    enclosures,
    error_events,
    events,
    holds,
    launches,
    lease,
    merges,
    messages,
    pool,
    reports,
    states,
    tasks,
    why,
    worktrees,
)
from crewyard.server.kinds import Heard
from crewyard.server.settlements import Settlement

NOW = "2026-01-01T00:00:00.000Z"
SOON = clock.plus(NOW, 5)
LATER = clock.plus(NOW, 60)
OPEN = why.Bounds("builder", {"architect": 1}, auto_approve=True)
CAREFUL = replace(OPEN, auto_approve=False)


@dataclass
class Situation:
    """``build`` returns the id to ask about; ``says`` are facts in the sentence, ``call`` the next call.

    ``covers`` names what is shown: ``task:ready`` (checked against the row), ``hold:quota`` (against the table) or a
    matter of its own. ``{agent}`` is the id of the first agent.
    """

    covers: str
    build: Callable[[Any], object]
    says: tuple[str, ...]
    call: str
    bounds: why.Bounds = OPEN
    now: str = SOON
    is_bare: bool = field(default=False)


def dispatch(bench: Any, *task_ids: str, parallel: int = 4) -> str:
    row, _ = bench.store.run(
        dispatches.open_or_join, task_ids, max_parallel=parallel, agent_type=None, now=NOW, actor="lead"
    )
    return str(row["dispatch_id"])


def work_of(bench: Any, task_id: str) -> str:
    return str(bench.value("SELECT orchestrator_task_id FROM orchestrator_task WHERE task_id = ?", task_id))


def ready(bench: Any) -> str:
    bench.add_tasks("A")
    return "A"


def dispatched(bench: Any) -> str:
    bench.add_tasks("A")
    dispatch(bench, "A")
    return "A"


def blocked(bench: Any, **columns: Any) -> str:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    dispatch(bench, "A", "B")
    if columns:
        bench.store.run(lambda tx: tx.run(f"UPDATE specs_task SET {', '.join(f'{k} = :{k}' for k in columns)} "
                                          "WHERE task_id = 'A'", columns))  # fmt: skip
    return "B"


def circle(bench: Any) -> str:
    bench.add_tasks("A", "B", "C")
    for pair in (("A", "B"), ("B", "C"), ("C", "A")):
        bench.add_edge(*pair)
    return "B"


def behind_circle(bench: Any) -> str:
    circle(bench)
    bench.add_tasks("X")
    bench.add_edge("B", "X")
    return "X"


def error(status: str) -> Callable[[Any], str]:
    """An error of task A that stands so."""

    def build(bench: Any) -> str:
        bench.add_tasks("A")
        level = "high" if status == "escalated" else None
        note = error_events.Note(
            "agent_failed", "It died.", "open" if status == "resolved" else status, "A", escalation_level=level
        )
        name = bench.store.run(error_events.note, note, now=NOW, actor="test")
        bench.store.run(lambda tx: tx.run("UPDATE error_events SET error_id = 'err-1' WHERE error_id = ?", (name,)))
        if status == "resolved":
            bench.store.run(error_events.resolve, "A", "it went on", now=NOW, actor="test")
        return "err-1"

    return build


def unblocked(bench: Any) -> str:
    bench.add_tasks("A", status="pending")
    return "A"


def paused(bench: Any) -> str:
    name = dispatch(bench, ready(bench))
    bench.store.run(dispatches.change, name, "paused", now=NOW, actor="lead")
    return name


def paused_task(bench: Any) -> str:
    paused(bench)
    return "A"


def held(reason: str, scope: str = "builder", until: str | None = LATER) -> Callable[[Any], str]:
    def build(bench: Any) -> str:
        dispatched(bench)
        bench.store.run(holds.hold, scope, reason, f"about {reason}", until=until, now=NOW, actor="test")
        return "A"

    return build


def no_slot(bench: Any) -> str:
    bench.add_tasks("A", "B")
    name = dispatch(bench, "A", "B", parallel=1)
    bench.store.run(dispatches.claim, name, dispatches.Limits(1, {}, "builder"), now=NOW, actor="test")
    return "B"


def same_files(bench: Any) -> str:
    bench.add_tasks("A", "B", files='["src"]')
    bench.add_agent("A", at=NOW)
    dispatch(bench, "B")
    return "B"


def singleton(bench: Any) -> str:
    bench.add_tasks("A", "B", agent_type="architect")
    bench.add_agent("A", agent_type="architect", at=NOW)
    dispatch(bench, "B")
    return "B"


def behind_others(bench: Any) -> str:
    bench.add_tasks("A", "B")
    dispatch(bench, "A", "B", parallel=1)
    return "B"


def handed_over(bench: Any) -> str:
    """A ended this moment; its heir B is more urgent than C."""
    bench.add_tasks("A", "B", priority=1)
    bench.add_tasks("C")
    bench.add_edge("A", "B")
    dispatch(bench, "A", "B", "C", parallel=1)
    agent = bench.add_agent("A", at=NOW)
    bench.store.run(agents.ended, agent, agents.Exit("completed", SOON, 0), actor="test")
    return "C"


def assigned(bench: Any, task_id: str = "A") -> str:
    bench.add_tasks(task_id)
    bench.store.run(
        lambda tx: assignments.create(
            tx, tasks.get(tx, task_id), agent_type="builder", dispatch_id=None, now=NOW, actor="test"
        )
    )
    return task_id


def assigned_in(bench: Any, *, full: bool = False, stopped: bool = False) -> str:
    """An assignment of a dispatch that failed once and is due again; the slot is taken, or the dispatch paused."""
    bench.add_tasks("A", "B")
    name = dispatch(bench, "A", "B", parallel=1)
    bench.store.run(dispatches.claim, name, dispatches.Limits(2, {}, "builder"), now=NOW, actor="test")
    if full:
        bench.add_agent("A", at=NOW)
    if stopped:
        bench.store.run(dispatches.change, name, "paused", now=NOW, actor="lead")
    return "B" if full else "A"


def type_full(bench: Any) -> str:
    singleton(bench)
    assigned_as(bench, "C", "architect")
    return "C"


def assigned_as(bench: Any, task_id: str, agent_type: str) -> None:
    bench.add_tasks(task_id)
    bench.store.run(
        lambda tx: assignments.create(
            tx, tasks.get(tx, task_id), agent_type=agent_type, dispatch_id=None, now=NOW, actor="test"
        )
    )


def assigned_held(bench: Any) -> str:
    assigned(bench)
    bench.store.run(holds.hold, "*", "disk", "12 MiB are free", until=LATER, now=NOW, actor="test")
    return "A"


def restart_due(bench: Any) -> str:
    bench.add_tasks("A")
    bench.finish(bench.add_agent("A", at=NOW), "failed", code=3, message="exit code 3.", at=clock.plus(NOW, 4))
    return "A"


def restart_in_hand(bench: Any) -> str:
    restart_due(bench)
    return "A"


def waits_for_quota(bench: Any) -> str:
    bench.add_tasks("A")
    agent = bench.add_agent("A", at=NOW)
    bench.finish(agent, "failed", code=1, said="Claude AI usage limit reached", message="exit code 1.", at=SOON)
    return "A"


def waits_for_log_in(bench: Any) -> str:
    bench.add_tasks("A")
    heard = Heard("…", login="Not logged in · Please run /login")
    bench.finish(bench.add_agent("A", at=NOW), "failed", code=1, heard=heard, message="exit code 1.", at=SOON)
    return "A"


def refused_permission(bench: Any) -> str:
    bench.add_tasks("A")
    agent = bench.add_agent("A", at=NOW)
    bench.store.run(lambda tx: tx.run("UPDATE agent_lifecycle SET kind = 'claude'"))
    heard = Heard("…", denied=["Bash(npm test)"])
    bench.finish(agent, "failed", code=1, heard=heard, message="exit code 1.", at=clock.plus(NOW, 4))
    return "A"


def sent_back(bench: Any) -> str:
    proven(bench)
    bench.store.run(
        attempts.send_back, work_of(bench, "A"), code="merge_conflicts", message="f conflicts", prompt="p", limit=3,
        now=NOW, actor="test",
    )  # fmt: skip
    return "A"


def planned(bench: Any) -> str:
    """An agent whose launch is recorded; returns its id."""
    assigned(bench)
    order = launches.LaunchOrder(
        agent_type="builder", kind="command", task_id="A", orchestrator_task_id=work_of(bench, "A"), workspace="/w",
        runs_folder="/r", timeout_seconds=60, memory_limit_mb=None, token_hash="x" * 64, term=1,
    )  # fmt: skip
    return str(bench.store.run(launches.plan_launch, order, now=NOW, actor="test")["agent_id"])


def planned_task(bench: Any) -> str:
    planned(bench)
    return "A"


def running(bench: Any) -> str:
    bench.add_tasks("A")
    return str(bench.add_agent("A", at=NOW))


def running_task(bench: Any) -> str:
    running(bench)
    return "A"


def asking(bench: Any) -> str:
    agent = running(bench)
    bench.store.run(reports.record, agent, "question", "which colour?", now=NOW)
    return agent


def unwell(health: str) -> Callable[[Any], str]:
    def build(bench: Any) -> str:
        agent = running(bench)
        bench.store.run(agents.judged, agent, health, "no sign of life for 301 s", now=NOW, actor="supervisor")
        return agent

    return build


def being_ended(bench: Any) -> str:
    agent = running(bench)
    bench.store.run(
        agents.request_kill, agent, reason="enough", outcome="fail", grace_seconds=10, now=NOW, actor="lead"
    )
    return agent


def ended(status: str, **how: Any) -> Callable[[Any], str]:
    def build(bench: Any) -> str:
        agent = running(bench)
        bench.store.run(agents.ended, agent, agents.Exit(status, SOON, **how), actor="test")
        return agent

    return build


def evidence(bench: Any) -> str:
    ended("completed", code=0)(bench)
    return "A"


def proven(bench: Any, task_id: str = "A") -> str:
    bench.add_tasks(task_id)
    bench.store.run(
        agents.ended, bench.add_agent(task_id, at=NOW), agents.Exit("completed", NOW, 0), actor="test"
    )  # fmt: skip
    work = work_of(bench, task_id)
    bench.store.run(assignments.placed, work, path=f"/w/{task_id}", branch=f"b-{task_id}")
    bench.store.run(assignments.proven, work, no_change=False, now=NOW, actor="test")
    return task_id


def queued(bench: Any, task_id: str = "A", *, approved: str | None = None) -> str:
    proven(bench, task_id)
    row = bench.store.run(
        merges.enqueue, work_of(bench, task_id), head="c0ffee", target="roadmap", approved_by=approved, now=NOW,
        actor="test",
    )  # fmt: skip
    return f"merge-{row['merge_id']}"


def number(name: str) -> int:
    return int(name.removeprefix("merge-"))


def checking(bench: Any) -> str:
    name = queued(bench)
    bench.store.run(merges.claim, number(name), now=NOW, actor="supervisor")
    return name


def about_to_move(bench: Any) -> str:
    name = checking(bench)
    bench.store.run(merges.propose, {number(name): ("c0ffee", "decaf")})
    return name


def in_the_way(bench: Any) -> str:
    name = checking(bench)
    bench.store.run(
        merges.requeue, number(name), now=NOW, actor="supervisor", why="f has local changes in /home/me",
        code="dirty_working_directory", retry_seconds=60,
    )  # fmt: skip
    return name


def behind(bench: Any) -> str:
    checking(bench)
    return queued(bench, "B")


def second(bench: Any) -> str:
    queued(bench)
    return queued(bench, "B")


def standing_still(bench: Any) -> str:
    name = queued(bench)
    bench.store.run(holds.hold, "*", "merges_wait", "merges wait", until=None, now=NOW, actor="test")
    return name


def refused(want: str, code: str, limit: int = 3, files: tuple[str, ...] = ()) -> Callable[[Any], str]:
    def build(bench: Any) -> str:
        name = checking(bench)
        bench.store.run(
            merges.refused, number(name), want=want, code=code, message=f"about {code}", files=files, prompt="p",
            limit=limit, now=SOON, actor="supervisor",
        )  # fmt: skip
        return name

    return build


def refused_task(bench: Any) -> str:
    refused("conflicted", "merge_conflicts", limit=0, files=("f",))(bench)
    return "A"


def abandoned(bench: Any) -> str:
    name = checking(bench)
    bench.store.run(
        merges.abandoned, number(name), code="branch_not_found", message="There is no roadmap", now=SOON, actor="s"
    )
    return name


def cancelled_merge(bench: Any) -> str:
    name = queued(bench)
    events_of = {"now": SOON, "actor": "test", "ended_at": SOON, "error_message": "it was withdrawn"}
    bench.store.run(events.change, states.MERGE, number(name), "cancelled", **events_of)
    return name


def merged(bench: Any) -> str:
    name = checking(bench)
    bench.store.run(merges.note_settled, number(name), [Settlement("f", "ours", 1)])
    bench.store.run(merges.note_flaky, [number(name)], "make test", now=NOW, actor="supervisor")
    bench.store.run(merges.succeeded, number(name), merges.Merged("c0ffee", 1, 1, 1), now=SOON, actor="supervisor")
    return name


def merged_task(bench: Any) -> str:
    merged(bench)
    return "A"


def unchanged(bench: Any) -> str:
    evidence(bench)
    bench.store.run(assignments.proven, work_of(bench, "A"), no_change=True, now=NOW, actor="test")
    return "A"


def given_up(bench: Any) -> str:
    running(bench)
    bench.store.run(
        assignments.give_up, work_of(bench, "A"), code="setup_failed", message="npm is missing.", review=True, now=SOON,
        actor="test",
    )  # fmt: skip
    return "A"


def cancelled(bench: Any) -> str:
    ready(bench)
    bench.store.run(tasks.update_status, "A", "cancelled", now=NOW, actor="lead")
    return "A"


def tree(status: str, kept: str | None = None, *, done: bool = False) -> Callable[[Any], str]:
    def build(bench: Any) -> str:
        bench.add_tasks("A", **({"status": "completed", "completed_at": NOW} if done else {}))
        made = bench.store.run(
            worktrees.plan, "A", path="/w/A", branch="b-A", base_branch="roadmap", base_commit="c0ffee", now=NOW,
            actor="test",
        )  # fmt: skip
        for want in {"creating": (), "cleaned": ("active", "merged", "cleaned")}.get(status, ("active", "merged")):
            if (want, status) != ("merged", "active"):
                ref = "refs/crewyard/salvage/A/1" if want == "cleaned" else None
                bench.store.run(worktrees.change, made.worktree_id, want, now=SOON, actor="test", salvage_ref=ref)
        if kept:
            bench.store.run(worktrees.keep, made.worktree_id, kept, now=NOW, actor="test")
        return "A" if done else "b-A"

    return build


def used_tree(bench: Any) -> str:
    name = tree("active")(bench)
    bench.add_agent("A", at=NOW)
    return name


def pooled(status: str) -> Callable[[Any], str]:
    def build(bench: Any) -> str:
        tree("cleaned")(bench)
        entry = bench.store.run(pool.fill, 1, path="/w/pool-1", commit="c0ffee", now=NOW, actor="test")
        if status != "filling":
            bench.store.run(pool.filled, entry, now=NOW, actor="test")
        if status == "taken":
            bench.store.run(pool.claim, 1, "c0ffee", now=NOW, actor="test")
        return "/w/pool-1"

    return build


def sent(bench: Any, to: str = "builder") -> str:
    draft = messages.Draft(to, "question", "x")
    found = bench.store.run(messages.send, draft, sender="lead", agent_types=["builder"], max_queue=9, now=NOW)
    return str(found.message_ids[0])


def mail(bench: Any) -> str:
    running(bench)
    return sent(bench)


def mail_to_lead(bench: Any) -> str:
    agent = running(bench)
    draft = messages.Draft("lead", "question", "x")
    found = bench.store.run(messages.send, draft, sender=agent, agent_types=["builder"], max_queue=9, now=NOW)
    return str(found.message_ids[0])


def mail_of_the_gone(bench: Any) -> str:
    agent = running(bench)
    name = sent(bench, agent)
    evidence_of = work_of(bench, "A")
    bench.store.run(agents.ended, agent, agents.Exit("completed", NOW, 0), actor="test")
    bench.store.run(lambda tx: tx.run("UPDATE agent_message SET status = 'pending', ended_at = NULL, expires_at = ?, "
                                      "error_message = NULL WHERE message_id = ?", (LATER, name)))  # fmt: skip
    bench.store.run(assignments.proven, evidence_of, no_change=True, now=NOW, actor="test")
    return name


def in_prompt(bench: Any) -> str:
    """Mail that was taken for a launch that is planned and not made."""
    agent, name = planned(bench), sent(bench)
    bench.store.run(enclosures.put_in, bench.store.read(agents.get, agent), can_poll=False, now=NOW)
    return name


def taken(bench: Any, *, at: str = NOW) -> str:
    agent = running(bench)
    name = sent(bench)
    bench.store.run(messages.claim, ["builder"], reader=agent, limit=1, lease_seconds=60, now=at)
    return name


def offered_again(bench: Any) -> str:
    name = taken(bench)
    bench.store.run(messages.sweep, now=clock.plus(NOW, 61))
    return name


def settled(bench: Any) -> str:
    name = taken(bench)
    bench.store.run(
        messages.acknowledge, [name], ["builder"], reader=bench.value("SELECT agent_id FROM agent_lifecycle"), now=SOON
    )
    return name


def failed_mail(bench: Any) -> str:
    name = taken(bench)
    reader = bench.value("SELECT agent_id FROM agent_lifecycle")
    bench.store.run(messages.give_up, name, "it is nonsense", reader=reader, now=SOON)
    return name


def expired(bench: Any) -> str:
    name = sent(bench)
    bench.store.run(messages.sweep, now=clock.plus(NOW, 90_000))
    return name


def over(want: str) -> Callable[[Any], str]:
    def build(bench: Any) -> str:
        name = dispatch(bench, ready(bench))
        bench.store.run(dispatches.change, name, want, now=SOON, actor="lead")
        return name

    return build


def idle_dispatch(bench: Any) -> str:
    return dispatch(bench, ready(bench))


def untidy(bench: Any) -> str:
    tree("active", done=True)(bench)
    return dispatch(bench, "A")


def orphaned(bench: Any) -> str:
    dispatched(bench)
    bench.store.run(lease.acquire, lease.Holder("crewyard-77", 77, "1", "b"), now=NOW, uptime=100.0)
    return "A"
