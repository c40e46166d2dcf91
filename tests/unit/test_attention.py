"""What waits for a person, and what goes on by itself: read from a real database."""

from typing import Any

from crewyard.server import (
    assignments,
    attempts,
    attention,
    backoff,
    clock,
    dispatches,
    error_events,
    messages,
    progress,
    reports,
)

NOW = "2026-01-01T00:00:00.000Z"
SOON = clock.plus(NOW, 1)


def needs(bench: Any) -> list[attention.Need]:
    found: list[attention.Need] = bench.store.read(attention.needs, auto_approve=True)
    return found


def asked(bench: Any, kind: str = "question") -> str:
    bench.add_tasks("A")
    agent_id = str(bench.add_agent("A", at=NOW))
    bench.store.run(reports.record, agent_id, kind, "Which colour?", now=NOW)
    return agent_id


def answer(bench: Any, agent_id: str) -> None:
    draft = messages.Draft(agent_id, "answer", "red")
    bench.store.run(messages.send, draft, sender="lead", agent_types=["builder"], max_queue=9, now=SOON)


def work_of(bench: Any) -> str:
    return str(bench.value("SELECT orchestrator_task_id FROM orchestrator_task"))


def test_a_question_is_shown_with_what_answers_it_until_the_answer_is_read(bench: Any) -> None:
    agent_id = asked(bench)
    [need] = needs(bench)
    assert (need.subject, need.what) == ("A", "waits for your answer: Which colour?")
    assert (need.call, need.agent_id) == ("crewyard send A TEXT", agent_id)
    answer(bench, agent_id)
    assert needs(bench)[0].what.startswith("has not read your answer yet")
    bench.store.run(messages.claim, [agent_id], reader=agent_id, limit=1, lease_seconds=60, now=SOON)
    assert needs(bench) == []


def test_an_agent_that_is_blocked_waits_for_a_word(bench: Any) -> None:
    asked(bench, "blocked")
    assert needs(bench)[0].what == "is blocked, and waits for your word: Which colour?"


def test_the_table_of_a_run_says_who_asks_and_what_to_type(bench: Any) -> None:
    agent_id = asked(bench)
    [line] = bench.store.read(progress.table, ["A"], SOON)
    assert (line.state, line.note) == ("asks", "`crewyard send A TEXT` answers: Which colour?")
    answer(bench, agent_id)
    [line] = bench.store.read(progress.table, ["A"], SOON)
    assert (line.state, line.note) == ("asks", "it has not read your answer yet")


def test_the_plain_lines_of_a_run_say_who_asks_and_what_to_type(bench: Any) -> None:
    agent_id = asked(bench)
    _, lines = bench.store.read(progress.told, 0, frozenset(["A"]))
    assert lines[-1].endswith(f"A: {agent_id} asks (`crewyard send A TEXT` answers): Which colour?")


def test_every_failed_task_is_shown_not_only_those_in_review(bench: Any) -> None:
    asked(bench, "progress")
    bench.store.run(
        assignments.give_up, work_of(bench), code="killed", message="enough", review=False, now=NOW, actor="test"
    )
    [need] = needs(bench)
    assert (need.subject, need.what, need.call) == ("A", "failed: enough", "crewyard why A")


def test_a_grave_error_of_no_failed_task_is_shown(bench: Any) -> None:
    note = error_events.Note("corruption", "git misses an object", "escalated")
    name = bench.store.run(error_events.note, note, now=NOW, actor="test")
    [need] = needs(bench)
    assert (need.what, need.call) == ("git misses an object", f"crewyard why {name}")


def test_a_restart_to_come_is_known_until_its_time(bench: Any) -> None:
    agent_id = asked(bench, "progress")
    bench.end_agent(agent_id, "failed", code=3)
    bench.store.run(
        attempts.failed, work_of(bench), code="agent_failed", message="exit code 3", tail="", exited_at=NOW,
        policy=backoff.Policy(3, 2.0, 120.0), now=NOW, actor="test",
    )  # fmt: skip
    [delay] = bench.store.read(attention.delays, NOW)
    assert (delay.task_id, delay.attempt, delay.because) == ("A", 2, "exit code 3")
    assert bench.store.read(attention.delays, delay.until) == []


def test_ready_tasks_count_as_left_where_no_dispatch_has_them(bench: Any) -> None:
    bench.add_tasks("A", "B")
    bench.store.run(dispatches.open_or_join, ["A"], max_parallel=1, agent_type=None, now=NOW, actor="lead")
    assert bench.store.read(attention.left_ready) == 1


def test_mail_that_waits_for_nobody_who_lives_is_not_counted(bench: Any) -> None:
    agent_id = asked(bench, "progress")
    for to in ("lead", "architect", agent_id, "builder"):
        draft = messages.Draft(to, "answer", "x")
        bench.store.run(messages.send, draft, sender="system", agent_types=["builder", "architect"], max_queue=9,
                        now=NOW)  # fmt: skip
    assert bench.store.read(attention.unread) == 2
    assert {row["to_agent"] for row in bench.store.read(attention.unread_messages, 9)} == {agent_id, "builder"}
