"""``why`` knows every gate, backoff, pause, lock and conflict: each is built in a real database and asked about.

A state, a reason to hold launches or an error code that is new and has no sentence fails here, or in test_next_calls.
"""

import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest

from crewyard.server import (
    assignments,
    clock,
    holds,
    next_calls,
    states,
    why,
    why_launches,
    why_merges,
    why_subjects,
    why_tasks,
    why_workflows,
)
from crewyard.server.errors import InvalidInput, NotFound

from .situations import (
    CAREFUL,
    LATER,
    NOW,
    OPEN,
    SOON,
    Situation,
    abandoned,
    about_to_move,
    asking,
    assigned,
    assigned_held,
    assigned_in,
    behind,
    behind_circle,
    behind_others,
    being_ended,
    blocked,
    cancelled,
    cancelled_merge,
    checking,
    circle,
    dispatched,
    ended,
    error,
    evidence,
    expired,
    failed_mail,
    given_up,
    handed_over,
    held,
    idle_dispatch,
    in_prompt,
    in_the_way,
    mail,
    mail_of_the_gone,
    mail_to_lead,
    merged,
    merged_task,
    no_slot,
    offered_again,
    orphaned,
    over,
    paused,
    paused_task,
    planned,
    planned_task,
    pooled,
    proven,
    queued,
    ready,
    refused,
    refused_permission,
    refused_task,
    restart_due,
    restart_in_hand,
    running,
    running_task,
    same_files,
    second,
    sent,
    sent_back,
    settled,
    singleton,
    standing_still,
    taken,
    tree,
    type_full,
    unblocked,
    unchanged,
    untidy,
    unwell,
    used_tree,
    waits_for_log_in,
    waits_for_quota,
    work_of,
)
from .tool_calls import fault_of, fault_of_line
from .workflow_situations import SITUATIONS as WORKFLOWS

LOG = "agents(action='log', agent_id='{agent}')"
CREW = "agents(action='list')"
QUEUE = "worktrees(action='queue')"
AGAIN = "plan(action='update', task_id='A', new_status='ready')"
WHY_A = "why(subject='A')"
WAYS_OUT = "detect_deadlocks(action='analyze', cycle=['B', 'A', 'C'])"
SEND = "route(action='send', target_agent='{}', content='…')"

SITUATIONS = [
    # tasks: what they wait for before anybody has them
    Situation("task:pending", blocked, ("Task B is pending", "waits for A (ready)"), WHY_A),
    Situation("task:pending", lambda b: blocked(b, status="cancelled"), ("A (cancelled)",), AGAIN),
    Situation("task:pending", lambda b: blocked(b, status="failed", error_code="x"), ("A (failed)",), AGAIN),
    Situation(
        "error:open", error("open"), ("nothing follows",), "handle_agent_errors(action='handle', error_id='err-1')"
    ),
    Situation("error:recovering", error("recovering"), ("is being recovered from",), WHY_A),
    Situation(
        "error:escalated", error("escalated"), ("waits for a person (high)",),
        "handle_agent_errors(action='recover', error_id='err-1', recovery_strategy='manual_intervention')",
    ),
    Situation("error:resolved", error("resolved"), ("resolved since", "it went on"), WHY_A),
    Situation("behind a circle", behind_circle, ("X can never start", "it waits for tasks that wait"), WAYS_OUT),
    Situation("circle", circle, ("never start", "B → A → C → B"),
              "detect_deadlocks(action='analyze', cycle=['B', 'A', 'C'])"),
    Situation("task:pending", unblocked, ("nothing blocks it",), AGAIN),
    Situation("task:ready", ready, ("no dispatch",), "assign(action='assign', task_ids=['A'])"),
    Situation("paused", paused_task, ("is paused",), "assign(action='resume', dispatch_id='{dispatch}')"),
    Situation("next in line", dispatched, ("next in line in dispatch {dispatch}",), CREW),
    Situation("hold:stopped", held("stopped", "*", None),
              ("no agent can start (stopped, since " + NOW, "about stopped"),
              "assign(action='assign', task_ids=['A'])"),
    Situation("hold:not_started", held("not_started", until=None), ("no builder can start", "about not_started"),
              "agents(action='list', agent_type='builder')"),
    Situation("hold:cpu", held("cpu", "*"), ("one by one", LATER, "about cpu"), CREW),
    Situation("hold:memory", held("memory", "*"),
              (f"no agent can start until {LATER} (memory, since {NOW})", "about memory"),
              "agents(action='health')"),
    Situation("hold:disk", held("disk", "*"), (LATER, "about disk"), "worktrees(action='cleanup', all=True)"),
    Situation("hold:launch_rate", held("launch_rate", "*"), (LATER, "about launch_rate"), CREW),
    Situation("hold:quota", held("quota"), ("no builder can start", LATER, "about quota"),
              "agents(action='list', agent_type='builder', state='all')"),
    Situation("hold:failed_starts", held("failed_starts"), (LATER, "about failed_starts"),
              "agents(action='list', agent_type='builder', state='failed')"),
    Situation("hold:not_logged_in", held("not_logged_in"), (LATER, "about not_logged_in"),
              "agents(action='list', agent_type='builder', state='failed')"),
    Situation("hold:merges_wait", held("merges_wait", "*", None), ("about merges_wait",), QUEUE),
    Situation("trial", held("quota", until=NOW), ("one builder at a time is let through on trial", "about quota"),
              "agents(action='list', agent_type='builder', state='all')"),
    Situation("max_parallel", no_slot, ("1 of 1 agents of dispatch {dispatch} are at work",), CREW),
    Situation("files", same_files, ("task A works on the same files",), CREW),
    Situation("max_instances", singleton, ("max_instances (1)", "{agent} on task A"), CREW),
    Situation("turn", behind_others, ("task A is more urgent",), CREW),
    Situation("handover", handed_over, ("a place is kept for task B for a moment",), CREW),
    # tasks in somebody's hands

    Situation("task:assigned", assigned, (f"of type builder since {NOW}", "worktree and agent are being prepared"),
              CREW),
    Situation("assigned, paused", lambda b: assigned_in(b, stopped=True), ("dispatch {dispatch} is paused",),
              "assign(action='resume', dispatch_id='{dispatch}')"),
    Situation("assigned, full", lambda b: assigned_in(b, full=True), ("1 of 1 agents",), CREW),
    Situation("assigned, max_instances", type_full, ("max_instances (1)", "{agent} on task A"), CREW),
    Situation("assigned, held", assigned_held, (f"until {LATER} (disk, since {NOW}): 12 MiB are free",),
              "worktrees(action='cleanup', all=True)"),
    Situation("restart backoff", restart_due, ("until 2026-01-01T00:00:06.000Z for restart 1", "exit code 3."), LOG),
    Situation("restart now", restart_in_hand, ("is to be tried again (agent_failed", "exit code 3"), CREW,
              now=clock.plus(NOW, 7)),
    Situation("quota wait", waits_for_quota,
              ("tried again, but no builder can start", "(quota, since", "usage limit reached"),
              "agents(action='list', agent_type='builder', state='all')"),
    Situation("log-in wait", waits_for_log_in,
              ("tried again, but no builder can start", "(not_logged_in, since", "Please run /login", "Log its"),
              "agents(action='list', agent_type='builder', state='failed')"),
    Situation("refused permission", refused_permission,
              ("It was not allowed: Bash(npm test).", "[agents.builder]", 'allow = ["Bash(npm test)"]'), LOG),
    Situation("rework", sent_back, ("rework 1: f conflicts",), CREW),
    Situation("starting", planned_task, (f"Agent {{agent}} is starting for task A since {NOW}",), LOG),
    Situation("task:in_progress", running_task, (f"Agent {{agent}} works on task A since {NOW}",), LOG),
    Situation("evidence", evidence, (f"{{agent}} ended its work on task A at {SOON}", "evidence is being checked"),
              LOG),
    Situation("proven", proven, ("proven and about to enter the merge queue",), QUEUE),
    Situation("task:completed", merged_task, ("merged into roadmap as c0ffee",), "plan(action='show', task_id='A')"),
    Situation("no change", unchanged, ("nothing was to be changed",), "plan(action='show', task_id='A')"),
    Situation("task:failed", given_up, (f"failed at {SOON} (setup_failed) and waits for your review: npm is missing.",
              "worktree.setup", "{agent}"), AGAIN),
    Situation("conflict in review", refused_task, ("(merge_conflicts)", "begins it anew"),
              "worktrees(action='resolve', task_id='A', strategy='agent')"),
    Situation("task:cancelled", cancelled, (f"cancelled since {NOW}",), AGAIN),
    Situation("worktree of a task stays", tree("merged", "it is locked", done=True),
              ("worktree /w/A stays: it is locked.",), "worktrees(action='cleanup', task_id='A')"),
    # assignments
    *(
        Situation(f"assignment:{state}", lambda b, build=build: (build(b), work_of(b, "A"))[1], says, call)
        for state, build, says, call in (
            ("assigned", assigned, ("being prepared",), CREW),
            ("running", running, ("works on task A",), LOG),
            ("completed", proven, ("enter the merge queue",), QUEUE),
            ("merged", merged, ("merged into roadmap",), "plan(action='show', task_id='A')"),
            ("failed", given_up, ("setup_failed",), AGAIN),
        )
    ),
    Situation("assignment:cancelled", lambda b: (assigned(b), b.store.run(assignments.release, work_of(b, "A"), why="x",
              now=NOW, actor="t"), work_of(b, "A"))[2], ("no dispatch",), "assign(action='assign', task_ids=['A'])"),
    # agents
    Situation("agent:starting", planned, (f"is starting on task A since {NOW}",), LOG),
    Situation("agent:running", running, (f"runs on task A since {NOW}; last sign of life {NOW}",), LOG),
    Situation("question", asking, (f"since {NOW} for an answer", "which colour?"), SEND.format("{agent}")),
    Situation("stalled", unwell("stalled"), ("found it stalled: no sign of life for 301 s",),
              "agents(action='restart', agent_id='{agent}')"),
    Situation("warning", unwell("warning"), ("found it not well",), "agents(action='health', agent_id='{agent}')"),
    Situation("being ended", being_ended, (f"since {NOW}: enough.", "until 2026-01-01T00:00:10.000Z", "given up"), LOG),
    Situation("agent:completed", ended("completed", code=0), (f"at {SOON} (completed, exit code 0)",), WHY_A),
    Situation("agent:failed", ended("failed", code=3, message="It broke."), ("(failed, exit code 3): It broke.",),
              WHY_A),
    Situation("died", ended("failed", signal=11, message="It died."), ("signal SIGSEGV",), WHY_A),
    Situation("agent:killed", ended("killed", signal=15), (f"at {SOON} (killed, signal SIGTERM)",), WHY_A),
    Situation("agent:timeout", ended("timeout", signal=9), ("(timeout, after its 60 s)",), WHY_A),
    Situation("agent:lost", ended("lost", message="Its runner died."), ("(lost, how is not known)",), WHY_A),
    # merges
    Situation("merge:queued", queued, ("position 1 of the queue and next",), QUEUE),
    Situation("approval", queued, (f"waits for an approval since {NOW}, at position 1",),
              "worktrees(action='merge', task_id='A', approve=True)", CAREFUL),
    Situation("merge backoff", in_the_way, ("until 2026-01-01T00:01:00.000Z", "1 time (dirty_working_directory)",
              "f has local changes in /home/me", "git stash -u"), QUEUE),
    Situation("another first", behind, ("position 2 of the queue: A is being merged first",), QUEUE),
    Situation("queue", second, ("position 2 of the queue, behind A",), QUEUE),
    Situation("standstill", standing_still, ("though merges stand still",), QUEUE),
    Situation("merge:checking", checking, (f"is being checked since {NOW}",), QUEUE),
    Situation("moving", about_to_move, ("about to be moved",), QUEUE),
    Situation("merge:merged", merged, (f"happened at {SOON} as c0ffee", "Conflicts settled: f", "passed on the very"),
              WHY_A),
    Situation("merge:conflicted", refused("conflicted", "merge_conflicts", files=("f", "g")),
              (f"conflict in f, g at {SOON}", "about merge_conflicts"), WHY_A),
    Situation("merge:rejected", refused("rejected", "merge_check_failed"), ("rejected", "(merge_check_failed)"), WHY_A),
    Situation("abandoned", abandoned, ("(branch_not_found): There is no roadmap",), WHY_A),
    Situation("merge:cancelled", cancelled_merge, (f"cancelled at {SOON}: it was withdrawn",), WHY_A),
    # worktrees
    Situation("worktree:creating", tree("creating"), (f"/w/A of task A is being made since {NOW}",), WHY_A),
    Situation("worktree:active", tree("active"), ("stays for its task",), WHY_A),
    Situation("in use", used_tree, ("is in use: {agent} works in it",), "why(subject='{agent}')"),
    Situation("kept", tree("active", "f is not committed"), ("stays: f is not committed.",),
              "worktrees(action='cleanup', task_id='A')"),
    Situation("worktree:merged", tree("merged"), ("about to be cleaned up",), "worktrees(action='list')"),
    Situation("worktree:cleaned", tree("cleaned"), (f"cleaned up at {SOON}", "refs/crewyard/salvage/A/1"), WHY_A),
    *(
        Situation(f"pooled_worktree:{status}", pooled(status), ("/w/pool-1", says, NOW), "worktrees(action='list')")
        for status, says in (("filling", "made clean"), ("ready", "waits for a next"), ("taken", "handed to"))
    ),
    # messages
    Situation("message:pending", mail, (f"pending since {NOW}", "has not polled yet"),
              "agents(action='health', agent_id='{agent}')"),
    Situation("mail of the lead", mail_to_lead, ("lead has not polled",), "route(action='poll')"),
    Situation("nobody alive", sent, ("builder has no live agent", "expires at 2026-01-02T00:00:00.000Z"), CREW),
    Situation("nobody ever", mail_of_the_gone, ("nobody will read it",), CREW),
    Situation("message:delivered", taken, ("taken by {agent}, delivery 1", "until 2026-01-01T00:01:00.000Z"),
              "why(subject='{agent}')"),
    Situation("in a prompt", in_prompt, ("is in the prompt of {agent}, whose start settles it",),
              "why(subject='{agent}')"),
    Situation("lease over", taken, ("(over, it is delivered again",), "why(subject='{agent}')",
              now=clock.plus(NOW, 61)),
    Situation("redelivery", offered_again, ("did not acknowledge delivery 1", "from 2026-01-01T00:01:30.000Z on"), CREW,
              now=clock.plus(NOW, 62)),
    Situation("message:acknowledged", settled, (f"acknowledged at {SOON}",), "route(action='status')"),
    Situation("message:failed", failed_mail, (f"failed at {SOON}: it is nonsense",), SEND.format("builder")),
    Situation("message:expired", expired, ("expired at", "not taken by 2026-01-02"), SEND.format("builder")),
    # dispatches, and who acts at all
    Situation("dispatch:active", idle_dispatch, ("0 of 4 agents at work", "1 ready"), WHY_A),
    Situation("tidying", untidy, ("nothing of it can go on, and its worktrees are being cleaned up",),
              "worktrees(action='list')"),
    Situation("dispatch:paused", paused, ("paused: 1 ready",), "assign(action='resume', dispatch_id='{dispatch}')"),
    Situation("dispatch:completed", over("completed"), (f"completed since {SOON}",), "plan(action='show')"),
    Situation("dispatch:cancelled", over("cancelled"), (f"cancelled since {SOON}",), "plan(action='show')"),
    Situation("nobody's", lambda b: (orphaned(b), b.add_tasks("Z"))[1] or "Z", ("no dispatch works it off",),
              "assign(action='assign', task_ids=['Z'])", replace(OPEN, uptime=111.0), is_bare=True),
    Situation("supervised", orphaned, ("next in line",), CREW, replace(OPEN, uptime=105.0), is_bare=True),
    Situation("supervisor killed", orphaned, ("Nobody supervises now (process 77, which did, is gone)",), CREW,
              replace(OPEN, uptime=math.inf)),
    Situation("nobody supervises", orphaned, ("Nobody supervises now (process 77 did so until 2026-01-01T00:00:10",),
              CREW, replace(OPEN, uptime=111.0)),
    *WORKFLOWS,
]  # fmt: skip


def ask(bench: Any, subject: object, situation: Situation) -> why.Explanation:
    answer: why.Explanation = bench.store.read(why.explain, str(subject), now=situation.now, bounds=situation.bounds)
    return answer


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.covers)
def test_each_situation_has_a_true_sentence_and_a_next_call_that_the_tools_take(
    bench: Any, situation: Situation
) -> None:
    subject = situation.build(bench)
    ids = {
        "agent": bench.value("SELECT agent_id FROM agent_lifecycle ORDER BY rowid LIMIT 1"),
        "dispatch": bench.value("SELECT dispatch_id FROM dispatch ORDER BY rowid LIMIT 1"),
    }
    answer = ask(bench, subject, situation)
    for fact in situation.says:
        assert fact.format(**ids) in answer.because
    assert answer.next_call == situation.call.format(**ids)
    for call in (answer.next_call, *next_calls.found_in(answer.because)):
        assert fault_of(call) is None
        assert fault_of_line(call) is None
    assert answer.because.endswith((".", "?"))
    assert re.search(r"None|\.\.|\{|\}|: \.|  ", answer.because) is None, answer.because
    assert not (situation.is_bare and "supervises" in answer.because)
    covered, _, state = situation.covers.partition(":")
    if covered == "hold":
        assert bench.value("SELECT reason FROM launch_hold") == state
    elif state:
        assert (answer.subject_type, state_of(bench, answer)) == (covered, state)


def state_of(bench: Any, answer: why.Explanation) -> str:
    """The state of the row that the answer is about."""
    [kind] = [each for each in why.SUBJECTS if each.subject_type == answer.subject_type][:1]
    columns = ", ".join(
        f"CAST({each.key} AS TEXT)" for each in why.SUBJECTS if each.subject_type == answer.subject_type
    )
    return str(bench.value(f"SELECT status FROM {kind.table} WHERE ? IN ({columns})", answer.subject))


def test_every_state_and_every_hold_is_among_the_situations() -> None:
    wanted = {f"{machine.subject}:{state}" for machine in states.MACHINES for state in machine.states}
    wanted |= {f"hold:{reason}" for reason in holds.REASONS}
    wanted -= {f"item:{state}" for state in states.ITEM.states}  # an item is asked about as its project
    assert wanted - {each.covers for each in SITUATIONS} == set()


@pytest.mark.parametrize(
    ("machine", "sentences"),
    [
        (states.TASK, why_tasks.STATES),
        (states.AGENT, why_subjects.AGENTS),
        (states.MESSAGE, why_subjects.MESSAGES),
        (states.DISPATCH, why_subjects.DISPATCHES),
        (states.MERGE, why_merges.MERGES),
        (states.WORKTREE, why_merges.WORKTREES),
        (states.POOL, why_merges.POOL),
        (states.ITEM, why_workflows.ITEMS),
    ],
)
def test_a_new_state_needs_its_sentence(machine: states.Machine, sentences: dict[str, Any]) -> None:
    assert set(sentences) == machine.states


def test_a_new_reason_to_hold_launches_needs_its_sentence() -> None:
    assert tuple(why_launches.HOLDS) == holds.REASONS
    for _, call in why_launches.HOLDS.values():
        filled = call.replace("{scope}", "builder").replace("{task}", "A")
        assert (fault_of(filled), fault_of_line(filled)) == (None, None)


def test_an_id_may_be_cut_short_where_it_stays_the_only_one(bench: Any) -> None:
    bench.add_tasks("TASK-10-1", "TASK-10-2", "OTHER-1")
    name = sent(bench)
    asked = Situation("", ready, (), "")
    assert ask(bench, "OTHE", asked).subject == "OTHER-1"
    assert ask(bench, name[:8], asked).subject == name
    with pytest.raises(InvalidInput, match="TASK-10-1, TASK-10-2"):
        ask(bench, "TASK-10", asked)
    with pytest.raises(NotFound):
        ask(bench, "OTH", asked)


def test_who_mistypes_is_told_the_nearest_ids(bench: Any) -> None:
    bench.add_tasks("TASK-10-1", "write-docs")
    asked = Situation("", ready, (), "")
    with pytest.raises(NotFound) as error:
        ask(bench, "wirte-docs", asked)
    assert error.value.hint == "Did you mean write-docs?"
    with pytest.raises(NotFound) as error:
        ask(bench, "zzz", asked)
    assert all(fault_of(call) is None for call in next_calls.found_in(error.value.hint))


def test_the_sentences_of_all_situations_read_well(bench: Any) -> None:
    """What a person reads: whole sentences, each of a bounded length."""
    bench.add_tasks(*(f"blocker-{n}" for n in range(12)), "A")
    for n in range(12):
        bench.add_edge(f"blocker-{n}", "A")
    because = ask(bench, "A", Situation("", ready, (), "")).because
    assert "and 4 more" in because
    assert len(because) < 400
    assert json.dumps(because).isascii()
