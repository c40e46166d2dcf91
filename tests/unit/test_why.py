"""``why``: a true sentence and the next call, for each state of everything that can be asked about."""

from dataclasses import replace
from typing import Any

import pytest

from crewyard.server import (
    agents,
    assignments,
    attempts,
    backoff,
    clock,
    dispatches,
    enclosures,
    error_events,
    holds,
    merges,
    messages,
    reports,
    tasks,
    why,
)
from crewyard.server.errors import NotFound

from . import situations

NOW = "2026-01-01T00:00:00.000Z"
BOUNDS = why.Bounds("builder", {"architect": 1}, auto_approve=True)


def ask(bench: Any, subject: object, bounds: why.Bounds = BOUNDS, now: str | None = None) -> why.Explanation:
    answer: why.Explanation = bench.store.read(why.explain, str(subject), now=now or clock.now(), bounds=bounds)
    return answer


def dispatch(bench: Any, *task_ids: str, parallel: int = 1) -> str:
    row, _ = bench.store.run(
        dispatches.open_or_join, task_ids, max_parallel=parallel, agent_type=None, now=NOW, actor="lead"
    )
    return str(row["dispatch_id"])


def test_a_pending_task_names_what_it_waits_for(bench: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    answer = ask(bench, "B")
    assert "A (ready)" in answer.because
    assert answer.next_call == "why(subject='A')"
    bench.store.run(lambda tx: tx.run("UPDATE specs_task SET status = 'failed', error_code = 'x' WHERE task_id = 'A'"))
    assert ask(bench, "B").next_call == "plan(action='update', task_id='A', new_status='ready')"


def test_a_ready_task_without_a_dispatch(bench: Any) -> None:
    bench.add_tasks("A")
    answer = ask(bench, "A")
    assert "no dispatch" in answer.because
    assert answer.next_call.startswith("assign(")


def test_a_ready_task_of_a_paused_dispatch(bench: Any) -> None:
    bench.add_tasks("A")
    name = dispatch(bench, "A")
    assert "next in line" in ask(bench, "A").because
    bench.store.run(dispatches.change, name, "paused", now=NOW, actor="lead")
    assert ask(bench, "A").next_call == f"assign(action='resume', dispatch_id='{name}')"
    assert ask(bench, name).next_call == f"assign(action='resume', dispatch_id='{name}')"


def test_a_ready_task_whose_slots_files_or_instances_are_taken(bench: Any) -> None:
    bench.add_tasks("A", "B", files='["src/a.py"]')
    bench.add_tasks("C", "D", agent_type="architect")
    dispatch(bench, "A", "B", "C", "D", parallel=3)
    bench.add_agent("A")
    bench.add_agent("C", agent_type="architect")
    assert "task A works on the same files" in ask(bench, "B").because
    assert "max_instances" in ask(bench, "D").because
    bench.add_tasks("E", "F")
    name = dispatch(bench, "E", "F")
    limits = dispatches.Limits(1, {}, "builder")
    bench.store.run(dispatches.claim, name, limits, now=NOW, actor="test")
    assert "1 of 1 agents" in ask(bench, "F").because


def test_an_assigned_task_is_being_prepared_or_waits_for_its_restart(bench: Any) -> None:
    bench.add_tasks("A")
    bench.store.run(
        lambda tx: assignments.create(
            tx, tasks.get(tx, "A"), agent_type="builder", dispatch_id=None, now=NOW, actor="test"
        )
    )
    assert "being prepared" in ask(bench, "A").because
    agent_id = bench.add_agent("A")
    bench.end_agent(agent_id, "failed", code=1)
    work = bench.value("SELECT orchestrator_task_id FROM orchestrator_task")
    bench.store.run(
        attempts.failed, work, code="agent_failed", message="exit code 1", tail="", exited_at=NOW,
        policy=backoff.Policy(3, 2.0, 120.0), now=NOW, actor="test",
    )  # fmt: skip
    answer = ask(bench, "A", now=NOW)
    assert "waits until 2026-01-01T00:00:02.000Z" in answer.because
    assert "exit code 1" in answer.because


def test_a_running_task_and_its_agent(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    assert f"Agent {agent_id} works on task A" in ask(bench, "A").because
    assert "runs on task A" in ask(bench, agent_id).because
    bench.end_agent(agent_id)
    assert "evidence" in ask(bench, "A").because
    assert ask(bench, agent_id).next_call == "why(subject='A')"


def test_work_that_waits_for_its_merge(bench: Any) -> None:
    bench.add_tasks("A")
    bench.end_agent(bench.add_agent("A"))
    work = bench.value("SELECT orchestrator_task_id FROM orchestrator_task")
    bench.store.run(assignments.placed, work, path="/w", branch="b")
    bench.store.run(assignments.proven, work, no_change=False, now=NOW, actor="test")
    assert "about to enter the merge queue" in ask(bench, "A").because
    request = bench.store.run(
        merges.enqueue, work, head="c0ffee", target="roadmap", approved_by=None, now=NOW, actor="test"
    )
    merge_id = request["merge_id"]
    assert "position 1" in ask(bench, "A").because
    assert ask(bench, f"merge-{merge_id}").subject_type == ask(bench, merge_id).subject_type == "merge"
    careful = why.Bounds("builder", {}, auto_approve=False)
    assert "approve=True" in ask(bench, "A", careful).next_call
    bench.store.run(merges.claim, merge_id, now=NOW, actor="test")
    assert "being checked" in ask(bench, "A").because
    bench.store.run(merges.requeue, merge_id, now=NOW, actor="test", why="in the way", code="x", retry_seconds=10)
    assert "in the way" in ask(bench, "A", now=NOW).because
    bench.store.run(merges.claim, merge_id, now=clock.plus(NOW, 20), actor="test")
    bench.store.run(merges.succeeded, merge_id, merges.Merged("c0ffee", 1, 1, 1), now=NOW, actor="test")
    assert "merged into roadmap as c0ffee" in ask(bench, "A").because
    assert "happened" in ask(bench, merge_id).because


def test_a_task_that_needed_no_change(bench: Any) -> None:
    bench.add_tasks("A")
    bench.end_agent(bench.add_agent("A"))
    work = bench.value("SELECT orchestrator_task_id FROM orchestrator_task")
    bench.store.run(assignments.proven, work, no_change=True, now=NOW, actor="test")
    assert "nothing was to be changed" in ask(bench, "A").because


def test_a_failed_and_a_cancelled_task(bench: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_agent("A")
    work = bench.value("SELECT orchestrator_task_id FROM orchestrator_task")
    bench.store.run(
        assignments.give_up, work, code="max_retries_exceeded", message="gone", review=True, now=NOW, actor="test"
    )
    answer = ask(bench, "A")
    assert "max_retries_exceeded" in answer.because
    assert "review" in answer.because
    assert "new_status='ready'" in answer.next_call
    bench.store.run(tasks.update_status, "B", "cancelled", now=NOW, actor="test")
    assert "cancelled" in ask(bench, "B").because


def test_an_agent_that_starts_and_one_that_is_being_ended(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.store.run(
        agents.request_kill, agent_id, reason="enough", outcome="release", grace_seconds=10, now=NOW, actor="lead"
    )
    because = ask(bench, agent_id).because
    assert f"is being ended on task A since {NOW}: enough." in because
    assert "until 2026-01-01T00:00:10.000Z to end by itself, then its task goes back to the plan" in because


def test_an_agent_that_waits_for_an_answer(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.store.run(reports.record, agent_id, "question", "which colour?", now=NOW)
    for subject in (agent_id, "A"):
        answer = ask(bench, subject)
        assert f"waits on task A since {NOW} for an answer" in answer.because
        assert "which colour?" in answer.because
        assert answer.next_call.startswith(f"route(action='send', target_agent='{agent_id}'")
    bench.store.run(reports.record, agent_id, "progress", "going on", now=NOW)
    assert "answer" not in ask(bench, "A").because


@pytest.mark.parametrize(
    ("health", "said", "call"), [("stalled", "found it stalled", "restart"), ("warning", "found it not well", "health")]
)
def test_an_agent_that_a_health_check_found_wanting(bench: Any, health: str, said: str, call: str) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.store.run(agents.judged, agent_id, health, "no sign of life for 301 s", now=NOW, actor="supervisor")
    for subject in (agent_id, "A"):
        answer = ask(bench, subject)
        assert f"{said}: no sign of life for 301 s" in answer.because
        assert answer.next_call == f"agents(action='{call}', agent_id='{agent_id}')"
    bench.store.run(agents.judged, agent_id, "healthy", "", now=NOW, actor="supervisor")
    assert "found it" not in ask(bench, agent_id).because


def test_a_stalled_agent_that_is_being_ended(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.store.run(agents.end_stalled, agent_id, "no sign of life", grace_seconds=1, now=NOW, actor="supervisor")
    for subject in (agent_id, "A"):
        assert "is being ended on task A" in ask(bench, subject).because
        assert "It was stalled: no sign of life." in ask(bench, subject).because


def test_an_ended_agent_whose_task_is_tried_again(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A", at=NOW)
    bench.finish(agent_id, "failed", code=3, message="exit code 3.", at=clock.plus(NOW, 10))
    answer = ask(bench, agent_id, now=clock.plus(NOW, 11))
    assert "Restart 1 of its task is due at 2026-01-01T00:00:12.000Z" in answer.because
    assert "due" not in ask(bench, agent_id, now=clock.plus(NOW, 13)).because
    waits = ask(bench, "A", now=clock.plus(NOW, 11))
    assert waits.next_call == f"agents(action='log', agent_id='{agent_id}')", "it goes on by itself"
    bench.store.run(holds.hold, "builder", "quota", "the limit", until=clock.plus(NOW, 99), now=NOW, actor="supervisor")
    waits = ask(bench, "A", now=clock.plus(NOW, 11))
    assert f"no builder can start until 2026-01-01T00:01:39.000Z (quota, since {NOW}): the limit" in waits.because


def test_a_singleton_is_named(bench: Any) -> None:
    bench.add_tasks("C", "D", agent_type="architect")
    dispatch(bench, "C", "D", parallel=3)
    agent_id = bench.add_agent("C", agent_type="architect")
    assert f"max_instances (1) agents of type architect are at work: {agent_id} on task C" in ask(bench, "D").because


@pytest.mark.parametrize("alive", [True, False])
def test_a_message_on_its_way(bench: Any, alive: bool) -> None:
    if alive:
        bench.add_tasks("A")
        bench.add_agent("A")
    draft = messages.Draft("builder", "question", "x")
    sent = bench.store.run(messages.send, draft, sender="lead", agent_types=["builder"], max_queue=9, now=NOW)
    name = sent.message_ids[0]
    assert ("has not polled" if alive else "no live agent") in ask(bench, name).because
    bench.store.run(messages.claim, ["builder"], reader="builder", limit=1, lease_seconds=60, now=NOW)
    assert "until 2026-01-01T00:01:00.000Z to acknowledge" in ask(bench, name, now=NOW).because
    bench.store.run(messages.acknowledge, [name], ["builder"], reader="builder", now=NOW)
    assert "acknowledged" in ask(bench, name).because


def test_a_message_in_a_prompt_was_put_there_and_not_read_by_its_agent(bench: Any) -> None:
    name = situations.in_prompt(bench)
    agent = bench.store.read(agents.get, bench.value("SELECT agent_id FROM agent_lifecycle"))
    bench.store.run(enclosures.settle, agent, now=NOW)
    because = ask(bench, name).because
    assert f"was put into the prompt of {agent['agent_id']}, which started with it at {NOW}." in because
    assert "acknowledged" not in because


def test_a_dispatch_and_what_is_unknown(bench: Any) -> None:
    bench.add_tasks("A")
    assert "1 ready" in ask(bench, dispatch(bench, "A")).because
    for subject in ("nope", "", "merge-9", "99999999999999999999"):
        with pytest.raises(NotFound):
            ask(bench, subject)


@pytest.mark.anyio
async def test_the_tool_answers_with_both(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    answer = await call("why", subject="A")
    assert answer["subject_type"] == "task"
    assert answer["because"]
    assert answer["next_call"]
    assert (await call.fails("why", subject="B"))["code"] == "not_found"
    assert (await call.fails("why"))["code"] == "invalid_input"


def test_an_agent_whose_process_was_not_found_is_not_said_to_work(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    seen = replace(BOUNDS, gone=frozenset([agent_id]))
    for subject in ("A", agent_id):
        answer = ask(bench, subject, seen)
        assert f"Agent {agent_id} ran on task A" in answer.because
        assert "its process is gone" in answer.because


def test_an_answer_that_was_not_read_yet_is_not_asked_for_again(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.store.run(reports.record, agent_id, "question", "Which colour?", now=NOW)
    assert ask(bench, "A").next_call == f"route(action='send', target_agent='{agent_id}', content='…')"
    draft = messages.Draft(agent_id, "answer", "red")
    bench.store.run(messages.send, draft, sender="lead", agent_types=["builder"], max_queue=9, now=NOW)
    answer = ask(bench, "A")
    assert "has not polled its mail since" in answer.because
    assert answer.next_call.startswith("agents(action='log'")


def test_a_question_that_was_left_behind_can_still_be_answered(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.store.run(reports.record, agent_id, "question", "Which colour?", now=NOW)
    bench.end_agent(agent_id)
    work = bench.value("SELECT orchestrator_task_id FROM orchestrator_task")
    bench.store.run(
        assignments.give_up, work, code="non_retryable_error", message="it asked", review=True, now=NOW, actor="test"
    )
    assert f"route(action='send', target_agent='{agent_id}', content='…') answers it" in ask(bench, "A").because


def test_an_escalated_error_of_a_task_at_work_is_not_to_be_recovered_from(bench: Any) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")
    note = error_events.Note("agent_failed", "It died.", "escalated", "A")
    assert ask(bench, bench.store.run(error_events.note, note, now=NOW, actor="test")).next_call == "why(subject='A')"


def test_times_are_told_by_the_readers_clock() -> None:
    today = clock.now()
    said = clock.in_local_times(f"since {today}, until {NOW}.")
    assert said.startswith(f"since {clock.local_time(today)}, until 20")
    assert "Z" not in said


def test_a_task_that_is_ready_by_its_counter_alone_is_not_said_to_be_next(bench: Any) -> None:
    bench.add_tasks("A", "B", status="ready")
    bench.add_edge("A", "B")
    bench.add_edge("B", "A")
    bench.store.run(lambda tx: tx.run("UPDATE specs_task SET status = 'ready', unmet_blockers = 0"))
    dispatch(bench, "A", "B")
    assert "can never start" in ask(bench, "A").because
