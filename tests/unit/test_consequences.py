"""What follows from each way in which an agent can end, for its task and for others of its type (R-116 to R-120)."""

import json
from typing import Any

import pytest

from crewyard.server import (
    agents,
    attempts,
    attention,
    clock,
    denials,
    endings,
    failed_starts,
    holds,
    launches,
    messages,
    reports,
    why,
)
from crewyard.server.kinds import Heard

NOW = "2026-01-01T00:00:00.000Z"
OPEN = why.Bounds("builder", {}, auto_approve=True)
LIMIT = "Claude AI usage limit reached"


def later(seconds: float) -> str:
    return clock.plus(NOW, seconds)


def started(bench: Any, task_id: str = "A", *, at: str = NOW, **facts: Any) -> str:
    if not bench.value("SELECT count(*) FROM specs_task WHERE task_id = ?", task_id):
        bench.add_tasks(task_id)
    return str(bench.add_agent(task_id, at=at, **facts))


def of_kind(bench: Any, agent_id: str, kind: str) -> None:
    bench.store.run(lambda tx: tx.run("UPDATE agent_lifecycle SET kind = ? WHERE agent_id = ?", (kind, agent_id)))


def kill(bench: Any, agent_id: str, outcome: str, code: str | None = None) -> None:
    bench.store.run(
        agents.request_kill, agent_id, reason="It was time.", outcome=outcome, grace_seconds=1, now=NOW, actor="lead",
        code=code,
    )  # fmt: skip


def work(bench: Any, task_id: str = "A") -> Any:
    return bench.row("orchestrator_task", task_id=task_id)


def status(bench: Any, task_id: str = "A") -> str:
    return str(bench.row("specs_task", task_id=task_id)["status"])


# --------------------------------------------------------------------------------------------- ends and failures


def test_an_agent_that_ended_well_is_not_believed_yet(bench: Any) -> None:
    bench.finish(started(bench), "completed", code=0, at=later(60))
    assert (work(bench)["status"], status(bench)) == ("running", "in_progress")


def test_a_failed_one_is_followed_by_another_that_knows_of_it(bench: Any) -> None:
    bench.finish(started(bench), "failed", code=7, message="exit code 7.", said="oops", at=later(60))
    row = work(bench)
    assert (row["status"], row["retry_count"], row["error_code"]) == ("assigned", 1, "agent_failed")
    assert row["not_before"] == later(62), "the delay counts from the exit"
    assert "exit code 7" in row["next_prompt"]
    assert "oops" in row["next_prompt"]
    log = bench.row("agent_restart_log")
    assert (log["reason"], log["attempt_number"], log["backoff_seconds"]) == ("agent_failed", 1, 2.0)


@pytest.mark.parametrize(
    ("end", "error", "code"),
    [("failed", None, "agent_failed"), ("lost", None, "agent_lost"), ("failed", "startup_failed", "startup_failed")],
)
def test_each_failure_has_its_code(bench: Any, end: str, error: str | None, code: str) -> None:
    bench.finish(started(bench), end, error=error, at=later(60))
    assert work(bench)["error_code"] == code


def test_one_that_ran_out_of_time_gets_twice_as_long_and_at_most_two_restarts(bench: Any) -> None:
    waits = []
    for n in range(3):
        agent_id = started(bench, at=later(1000 * n))
        bench.store.run(
            lambda tx, agent_id=agent_id: tx.run(
                "UPDATE agent_lifecycle SET timeout_seconds = coalesce((SELECT json_extract(metadata, "
                "'$.timeout_seconds') FROM orchestrator_task), 60) WHERE agent_id = ?",
                (agent_id,),
            )
        )
        bench.finish(agent_id, "timeout", at=later(1000 * n + 60))
        waits.append(json.loads(work(bench)["metadata"]).get("timeout_seconds"))
    assert waits == [120, 240, 240]
    assert (status(bench), bench.row("specs_task")["needs_review"]) == ("failed", 1)


def test_one_that_was_too_large_waits_longer_and_at_most_twice(bench: Any) -> None:
    due = []
    for n in range(3):
        agent_id = started(bench, at=later(1000 * n))
        bench.finish(agent_id, "failed", error="resource_exhaustion", at=later(1000 * n + 60))
        due.append(work(bench)["not_before"])
    assert due[:2] == [later(68), later(1076)]
    assert status(bench) == "failed"


def test_after_the_last_restart_a_person_is_told_what_each_attempt_did(bench: Any) -> None:
    bench.employ("project_manager")
    for n in range(4):
        bench.finish(started(bench, at=later(100 * n)), "failed", code=n + 1, at=later(100 * n + 60))
    task = bench.row("specs_task")
    assert (task["status"], task["error_code"], task["needs_review"]) == ("failed", "max_retries_exceeded", 1)
    for box in ("lead", "project_manager"):
        [alert] = bench.alerts(box)
        assert (alert["level"], alert["sound"], alert["agent_id"]) == ("critical", False, "orchestrator")
        assert [each["exit_code"] for each in alert["attempts"]] == [1, 2, 3, 4]


def test_a_healthy_time_takes_back_the_restarts_before_it(bench: Any) -> None:
    for n in range(3):
        bench.finish(started(bench, at=later(1000 * n)), "failed", code=1, at=later(1000 * n + 60))
    assert work(bench)["retry_count"] == 3
    bench.finish(started(bench, at=later(4000)), "failed", code=1, at=later(4600))
    assert (work(bench)["retry_count"], status(bench)) == (1, "assigned")


# ------------------------------------------------------------------------------------------------ ended on request


@pytest.mark.parametrize(("outcome", "task"), [("fail", "failed"), ("release", "ready"), ("restart", "assigned")])
def test_one_that_was_ended_on_request_leaves_its_task_as_asked(bench: Any, outcome: str, task: str) -> None:
    bench.finish(started(bench), "failed", code=1, at=later(10))
    agent_id = started(bench, at=later(20))
    kill(bench, agent_id, outcome)
    bench.finish(agent_id, "killed", signal=15, at=later(30))
    assert status(bench) == task
    assert bench.row("specs_task")["needs_review"] == 0
    assert bench.alerts("lead") == [], "whoever asked knows"
    if outcome == "restart":
        row = work(bench)
        assert (row["retry_count"], row["not_before"]) == (0, None), "by hand: at once, and counted anew"
        assert "It was time." in row["next_prompt"]


def test_a_stalled_one_that_was_ended_counts_as_a_failure(bench: Any) -> None:
    agent_id = started(bench)
    bench.store.run(agents.end_stalled, agent_id, "no sign of life for 301 s", grace_seconds=1, now=NOW, actor="test")
    bench.finish(agent_id, "killed", signal=9, said="thinking", at=later(400))
    row = work(bench)
    assert (row["status"], row["retry_count"], row["error_code"]) == ("assigned", 1, "agent_stalled")
    assert row["not_before"] == later(402)
    assert "stalled: no sign of life for 301 s" in row["next_prompt"]
    assert "thinking" in row["next_prompt"]


def test_what_somebody_else_has_dealt_with_is_left_alone(bench: Any) -> None:
    agent_id = started(bench)
    bench.store.run(lambda tx: tx.run("UPDATE orchestrator_task SET status = 'cancelled'"))
    bench.finish(agent_id, "failed", code=1, at=later(60))
    assert bench.row("agent_lifecycle")["status"] == "failed"
    assert work(bench)["status"] == "cancelled"


# ---------------------------------------------------------------------------------------------------- its own word


@pytest.mark.parametrize("kind", ["question", "blocked"])
@pytest.mark.parametrize("end", ["completed", "failed", "timeout"])
def test_a_question_waits_for_a_person_and_is_no_failure_to_repeat(bench: Any, kind: str, end: str) -> None:
    bench.employ("project_manager")
    agent_id = started(bench)
    bench.store.run(reports.record, agent_id, kind, "which colour?", now=later(50))
    bench.finish(agent_id, end, code=0 if end == "completed" else 1, at=later(60))
    task = bench.row("specs_task")
    assert (task["status"], task["error_code"], task["needs_review"]) == ("failed", "non_retryable_error", 1)
    assert "which colour?" in task["error_message"]
    assert work(bench)["retry_count"] == 0
    for box in ("lead", "project_manager"):
        levels = [alert["level"] for alert in bench.alerts(box)]
        assert levels == ["high", "critical"], "when it asks, and when its task waits for the answer"


def test_who_went_on_after_a_question_and_failed_is_tried_again(bench: Any) -> None:
    agent_id = started(bench)
    for kind in ("question", "progress"):
        bench.store.run(reports.record, agent_id, kind, "x", now=later(50))
    bench.finish(agent_id, "failed", code=1, at=later(60))
    assert (work(bench)["status"], work(bench)["retry_count"]) == ("assigned", 1)


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_question_that_was_answered_is_none_any_more(bench: Any, end: str) -> None:
    agent_id = started(bench)
    bench.store.run(reports.record, agent_id, "question", "which colour?", now=later(50))
    send = {"sender": "lead", "agent_types": [], "max_queue": 9, "now": later(51)}
    bench.store.run(messages.send, messages.Draft(agent_id, "answer", "blue"), **send)
    assert bench.store.read(reports.waits, agent_id)
    bench.store.run(messages.claim, [agent_id], reader=agent_id, limit=1, lease_seconds=60, now=later(52))
    assert not bench.store.read(reports.waits, agent_id)
    bench.finish(agent_id, end, code=0 if end == "completed" else 1, at=later(60))
    assert work(bench)["status"] == ("running" if end == "completed" else "assigned"), "the evidence decides; or again"
    assert bench.row("specs_task")["needs_review"] == 0


def test_a_failure_that_it_reports_counts_although_it_exits_with_nought(bench: Any) -> None:
    agent_id = started(bench)
    bench.store.run(reports.record, agent_id, "failed", "the tests do not pass", now=later(50))
    bench.finish(agent_id, "completed", code=0, at=later(60))
    assert (work(bench)["status"], work(bench)["retry_count"]) == ("assigned", 1)
    assert "the tests do not pass" in work(bench)["next_prompt"]


def test_one_that_reported_to_be_complete_is_looked_at_although_it_exits_otherwise(bench: Any) -> None:
    agent_id = started(bench)
    bench.store.run(reports.record, agent_id, "complete", "done", now=later(50))
    bench.finish(agent_id, "failed", code=1, message="exit code 1.", at=later(60))
    assert (bench.row("agent_lifecycle")["status"], work(bench)["status"]) == ("completed", "running")


# -------------------------------------------------------------------------------------------------- providers' limits


def test_a_providers_limit_is_no_failure_and_holds_the_type_until_it_is_over(bench: Any) -> None:
    bench.employ("project_manager")
    reset = int(clock.parse(later(3600)).timestamp())
    bench.finish(started(bench), "failed", code=1, said=f"{LIMIT}|{reset}", at=later(60))
    row = work(bench)
    assert (row["status"], row["retry_count"], row["error_code"], row["not_before"]) == ("assigned", 0, "quota", None)
    hold = bench.row("launch_hold")
    assert (hold["scope"], hold["reason"], hold["until"]) == ("builder", "quota", later(3600))
    assert LIMIT in hold["message"]
    assert bench.store.read(holds.in_force, "architect", later(61)) is None
    for box in ("lead", "project_manager"):
        assert [alert["level"] for alert in bench.alerts(box)] == ["high"]


def test_where_it_names_no_time_the_pause_grows_with_each_trial_that_fails(bench: Any) -> None:
    now, pauses = 0.0, []
    for _ in range(6):
        agent_id = started(bench, at=later(now + 1))
        bench.finish(agent_id, "failed", code=1, said=LIMIT, at=later(now + 3))
        until = bench.row("launch_hold")["until"]
        pauses.append(clock.seconds_between(later(now + 3), until))
        now = clock.seconds_between(NOW, until)
    assert pauses == [300, 600, 1200, 2400, 3600, 3600]
    assert len(bench.alerts("lead")) == 1, "told once"
    assert work(bench)["next_prompt"].count(LIMIT) == 1


def test_agents_that_meet_one_limit_together_count_it_once(bench: Any) -> None:
    names = [started(bench, task_id) for task_id in "ABC"]
    for n, agent_id in enumerate(names):
        bench.finish(agent_id, "failed", code=1, said=LIMIT, at=later(60 + n))
    hold = bench.row("launch_hold")
    assert (hold["times"], hold["until"]) == (1, later(360))
    assert len(bench.alerts("lead")) == 1


def test_one_that_works_again_ends_the_hold(bench: Any) -> None:
    bench.finish(started(bench), "failed", code=1, said=LIMIT, at=later(10))
    bench.finish(started(bench, at=later(400)), "completed", code=0, at=later(460))
    assert bench.value("SELECT count(*) FROM launch_hold") == 0


def test_one_that_was_nearly_done_when_the_limit_came_says_nothing_of_it(bench: Any) -> None:
    before = started(bench, "B")
    bench.finish(started(bench), "failed", code=1, said=LIMIT, at=later(10))
    bench.finish(before, "completed", code=0, at=later(11))
    assert bench.store.read(holds.in_force, "builder", later(12)) is not None


@pytest.mark.parametrize("end", [("completed", 0), ("timeout", None), ("lost", None), ("killed", None)])
def test_only_a_failure_can_be_a_limit(bench: Any, end: tuple[str, int | None]) -> None:
    bench.finish(started(bench), end[0], code=end[1], said=LIMIT, at=later(60))
    assert bench.value("SELECT count(*) FROM launch_hold") == 0


def test_a_limit_is_no_failed_start_though_its_agent_died_at_once(bench: Any) -> None:
    for task_id in "ABC":
        bench.finish(started(bench, task_id), "failed", code=1, said=LIMIT, at=later(1))
    assert [row["reason"] for row in bench.store.read(holds.listed)] == ["quota"]


def test_not_even_limits_launch_a_task_for_ever(bench: Any) -> None:
    for n in range(20):
        bench.finish(started(bench, at=later(10_000 * n)), "failed", code=1, said=LIMIT, at=later(10_000 * n + 60))
    task = bench.row("specs_task")
    assert (task["status"], task["error_code"], task["needs_review"]) == ("failed", "max_retries_exceeded", 1)
    assert LIMIT in task["error_message"]


@pytest.mark.parametrize("code", [0, 1])
def test_a_limit_that_a_program_tells_of_by_itself_counts_whatever_its_exit_code(bench: Any, code: int) -> None:
    heard = Heard("no words of it", error="429", limit=endings.Quota("five hours are used up", later(3600)))
    bench.finish(started(bench), "failed" if code else "completed", code=code, heard=heard, at=later(60))
    assert (work(bench)["error_code"], work(bench)["retry_count"]) == ("quota", 0)
    assert bench.row("launch_hold")["until"] == later(3600)


def test_a_limit_that_one_task_alone_tells_of_again_and_again_is_not_believed(bench: Any) -> None:
    heard = Heard("said", limit=endings.Quota("limit", later(1)))
    for n in range(3):
        bench.finish(started(bench, at=later(100 * n)), "failed", code=1, heard=heard, at=later(100 * n + 60))
    bench.finish(started(bench, "B", at=later(310)), "completed", code=0, at=later(350))
    bench.finish(started(bench, at=later(400)), "failed", code=1, heard=heard, at=later(460))
    assert (work(bench)["error_code"], work(bench)["retry_count"]) == ("agent_failed", 1)


# --------------------------------------------------------------------------------------- what its program tells of it

NOT_IN = Heard("Not logged in", login="Not logged in · Please run /login")


def test_one_that_is_not_logged_in_holds_its_type_at_once_and_counts_for_nothing(bench: Any) -> None:
    bench.employ("project_manager", "architect")
    names = [started(bench, task_id) for task_id in "ABC"]
    for agent_id in names:
        bench.finish(agent_id, "failed", code=1, heard=NOT_IN, at=later(2))
    [hold] = bench.store.read(holds.listed)
    assert (hold["scope"], hold["reason"], hold["until"]) == ("builder", "not_logged_in", later(302))
    for words in ("not logged in", "Please run /login", "Log its program in", "crewyard run"):
        assert words in hold["message"]
    for task_id in "ABC":
        row = work(bench, task_id)
        assert (row["status"], row["retry_count"], row["error_code"]) == ("assigned", 0, "authentication_failure")
        assert bench.store.read(launches.count, row["orchestrator_task_id"]) == 0
    for box in ("lead", "project_manager"):
        [alert] = bench.alerts(box)
        assert (alert["level"], alert["title"]) == ("high", "Agents of type builder are not logged in")
    assert bench.alerts("architect") == [], "once is enough"
    assert bench.store.read(holds.in_force, "architect", later(3)) is None


def test_the_plan_waits_for_a_log_in_for_ever_and_is_tried_less_and_less_often(bench: Any) -> None:
    now, pauses = 0.0, []
    for _ in range(30):
        agent_id = started(bench, at=later(now + 1))
        bench.finish(agent_id, "failed", code=1, heard=NOT_IN, at=later(now + 1))
        until = bench.row("launch_hold")["until"]
        pauses.append(round(clock.seconds_between(later(now + 1), until)))
        now = clock.seconds_between(NOW, until)
    assert pauses[:6] == [300, 301, 603, 1207, 2415, 3600]
    assert set(pauses[6:]) == {3600}
    assert status(bench) == "assigned", "it is not burnt"
    assert bench.store.read(failed_starts.given_up, bench.rules.starts) == []
    assert len(bench.alerts("lead")) == 1
    bench.store.run(holds.lift_troubles, now=later(now), actor="run")
    assert bench.store.read(holds.listed) == [], "a person began anew"


def test_a_trial_after_a_missing_log_in_is_passed_after_a_minute_or_by_a_good_end(bench: Any) -> None:
    bench.finish(started(bench), "failed", code=1, heard=NOT_IN, at=later(2))
    agent_id = started(bench, at=later(400))
    for seconds, held in ((430, 1), (459, 1), (460, 0)):
        bench.store.run(holds.end_passed_trials, 5.0, now=later(seconds), actor="test")
        assert len(bench.store.read(holds.listed)) == held
    bench.finish(agent_id, "failed", code=1, heard=NOT_IN, at=later(500))
    bench.finish(started(bench, at=later(900)), "completed", code=0, at=later(910))
    assert bench.store.read(holds.listed) == []


def test_a_plain_program_that_says_that_it_is_not_logged_in_is_believed_unless_it_only_prints_so(bench: Any) -> None:
    message = "It ended with exit code 1. Its last words: Not logged in · Please run /login"
    for n in range(3):
        bench.finish(started(bench, at=later(500 * n)), "failed", code=1, message=message, at=later(500 * n + 1))
    assert work(bench)["retry_count"] == 0
    assert "Not logged in" in bench.row("launch_hold")["message"]
    bench.finish(started(bench, "B", at=later(2000)), "completed", code=0, at=later(2060))
    bench.finish(started(bench, at=later(3000)), "failed", code=1, message=message, at=later(3060))
    assert (work(bench)["retry_count"], bench.store.read(holds.listed)) == (1, [])


def test_a_missing_log_in_and_a_limit_are_no_failed_starts_of_the_row_that_follows(bench: Any) -> None:
    bench.finish(started(bench, "A"), "failed", code=1, heard=NOT_IN, at=later(1))
    bench.finish(started(bench, "B"), "failed", code=1, said=LIMIT, at=later(2))
    bench.store.run(holds.lift_troubles, now=later(10), actor="run")
    bench.finish(started(bench, "C", at=later(11)), "failed", code=1, at=later(12))
    assert bench.store.read(holds.listed) == []


def test_whoever_waits_for_a_log_in_is_told_of_it(bench: Any) -> None:
    started(bench)
    bench.finish(str(work(bench)["assigned_agent"]), "failed", code=1, heard=NOT_IN, at=later(2))
    [need] = bench.store.read(attention.needs, auto_approve=True)
    assert (need.subject, need.call) == ("builder", "crewyard doctor")
    assert "not logged in" in need.what
    because = bench.store.read(why.explain, "A", now=later(3), bounds=OPEN).because
    assert "no builder can start until" in because
    assert because.count("Please run /login") == 1


def test_a_conversation_that_could_not_begin_for_want_of_a_log_in_is_not_gone_on_with(bench: Any) -> None:
    first = started(bench)
    bench.finish(first, "failed", code=1, heard=NOT_IN, at=later(2))
    second = started(bench, at=later(400))
    facts = json.loads(bench.row("agent_lifecycle", agent_id=second)["metadata"])
    assert facts["resumed"] is False


@pytest.mark.parametrize("end", ["failed", "completed"])
def test_what_an_agent_was_refused_is_told_once_a_type_with_the_setting_that_allows_it(bench: Any, end: str) -> None:
    bench.add_tasks("B")
    heard = Heard("I give up", denied=["Bash(npm test)", "Bash(npm test)", "WebFetch"])
    for n, task_id in enumerate("AAB"):
        agent_id = started(bench, task_id, at=later(100 * n))
        of_kind(bench, agent_id, "claude")
        bench.finish(agent_id, end, code=int(end == "failed"), message="It ended.", heard=heard, at=later(100 * n + 9))
        if end == "completed" and task_id == "A":
            bench.store.run(
                attempts.failed, work(bench)["orchestrator_task_id"], code="no_evidence", message="Nothing was done.",
                tail="", exited_at=later(100 * n + 9), policy=bench.rules.policy, now=later(100 * n + 9), actor="test",
            )  # fmt: skip
    told = [alert for alert in bench.alerts("lead") if "denied" in alert]
    assert [alert["denied"] for alert in told] == [["Bash(npm test)", "WebFetch"]]
    assert told[0]["level"] == "warning"
    assert 'allow = ["Bash(npm test)", "WebFetch"]' in told[0]["message"]
    assert "[agents.builder]" in told[0]["message"]
    assert bench.value("SELECT count(*) FROM event WHERE kind = 'agent_denied'") == 3
    because = bench.store.read(why.explain, "A", now=later(3), bounds=OPEN).because
    assert 'allow = ["Bash(npm test)", "WebFetch"]' in because
    if end == "failed":
        row = work(bench)
        assert "It was not allowed: Bash(npm test), WebFetch." in row["error_message"]
        assert "It was not allowed: Bash(npm test), WebFetch." in row["next_prompt"]
        assert "crewyard.toml" not in row["next_prompt"], "an agent is not to allow itself more"


def test_a_program_that_takes_no_single_permissions_is_not_told_to(bench: Any) -> None:
    agent_id = started(bench)
    of_kind(bench, agent_id, "codex")
    bench.finish(agent_id, "completed", code=0, heard=Heard(denied=["patch rejected: outside"]), at=later(9))
    [alert] = bench.alerts("lead")
    assert "allow =" not in alert["message"]
    assert "permissions in [agents.builder]" in alert["message"]


def test_another_refusal_of_the_same_type_is_told_by_itself(bench: Any) -> None:
    for n, what in enumerate((["a"], ["a", "b"], ["b"])):
        bench.finish(started(bench, f"T{n}"), "completed", code=0, heard=Heard(denied=what), at=later(9))
    assert [alert["denied"] for alert in bench.alerts("lead")] == [["a"], ["b"]]


def test_refusals_without_end_are_bounded(bench: Any) -> None:
    agent_id = started(bench)
    bench.finish(agent_id, "completed", code=0, heard=Heard(denied=[f"{n} " + "x" * 900 for n in range(99)]))
    assert len(bench.store.read(denials.told, agent_id)) < 20 * 210
    assert bench.store.read(denials.told, started(bench, "B")) == ""


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_what_a_program_asks_when_it_ends_waits_for_a_person(bench: Any, end: str) -> None:
    agent_id = started(bench)
    heard = Heard("…", question="Which colour?")
    bench.finish(agent_id, end, code=int(end == "failed"), heard=heard, at=later(60))
    assert (status(bench), bench.row("specs_task")["needs_review"]) == ("failed", 1)
    assert bench.row("agent_report")["summary"] == "Which colour?"
    assert [alert["level"] for alert in bench.alerts("lead")] == ["high", "critical"]
    assert bench.alerts("lead")[0]["reply_to"] == agent_id


def test_an_error_counts_although_the_program_exits_with_nought(bench: Any) -> None:
    bench.finish(started(bench), "completed", code=0, heard=Heard("…", error="API Error: ETIMEDOUT"), at=later(60))
    assert bench.row("agent_lifecycle")["status"] == "failed"
    assert (work(bench)["status"], work(bench)["error_code"]) == ("assigned", "network_timeout")
    assert "exit code 0, and failed" in work(bench)["next_prompt"]
