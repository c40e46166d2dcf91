"""What follows from an agent's end, for its task and for the launches of its type: one transaction (R-116 to R-120).

Told apart: done, failed, killed, out of time, out of memory, lost, its provider's limit, waiting for a person.
"""

from dataclasses import dataclass

from . import (
    agents,
    alerts,
    assignments,
    attempts,
    backoff,
    clock,
    denials,
    endings,
    failed_starts,
    failures,
    holds,
    kinds,
    launches,
    log_ins,
    reports,
)
from .agents import Exit
from .kinds import Heard
from .reports import Report
from .store import Row, Transaction
from .wording import cut, stopped

FAILURES = {"killed": "killed", "timeout": "agent_timeout", "lost": "agent_lost", "failed": "agent_failed"}
LONGEST_QUOTA_PAUSE = 3600.0
LONGER_TIMEOUT = 2.0
BELIEVED_TIMES = 3
WORDS_LENGTH = 200
QUESTION_LENGTH = 8_000


@dataclass(frozen=True)
class Rules:
    """The settings that decide."""

    policy: backoff.Policy
    starts: failed_starts.Limits
    quota_pause_seconds: float


def of_end(
    tx: Transaction, agent_id: str, how: Exit, *, code: str | None, heard: Heard, rules: Rules, now: str, actor: str
) -> None:
    """Record how the agent ended and what follows. ``heard`` is what its output tells."""
    how = _by_its_output(tx, agent_id, how, heard, now, actor)
    report = reports.last(tx, agent_id)
    if how.status == "failed" and how.code is not None and report is not None and report.kind == "complete":
        how = Exit("completed", how.at, how.code, message=f"{how.message} It had reported to be complete.")
    agent = agents.ended(tx, agent_id, how, actor=actor)
    limit = heard.limit if _may_be(tx, agent, how, "quota") else None
    login = _of_login(tx, agent, how, heard) if limit is None else None
    if limit is None:
        _for_its_type(tx, agent, how, login, rules, now, actor)
    assignment = assignments.get(tx, agent["orchestrator_task_id"])
    if assignment["status"] not in ("assigned", "running"):
        return
    if limit is not None:
        _wait_for_quota(tx, agent, limit, rules, now, actor)
    elif login is not None:
        _wait_for_login(tx, agent, login, now, actor)
    elif how.status == "completed":
        _after_its_word(tx, agent, how, report, heard, rules, now, actor)
    elif report is not None and how.status in ("failed", "timeout") and reports.waits(tx, agent_id):
        _ask_a_person(tx, agent, report, now, actor)
    elif how.status == "killed" and agent["kill_code"] is None:
        _as_asked(tx, agent, assignment, now, actor)
    elif how.status == "killed":
        how = Exit("killed", how.at, how.code, how.signal, agent["kill_reason"])
        _try_again(tx, agent, how, agent["kill_code"], heard, rules, now, actor)
    else:
        _try_again(tx, agent, how, code or FAILURES[how.status], heard, rules, now, actor)


def _for_its_type(
    tx: Transaction, agent: Row, how: Exit, login: str | None, rules: Rules, now: str, actor: str
) -> None:
    """What an end that is no provider's limit says of agents of its type, whatever becomes of its task."""
    agent_type = agent["agent_type"]
    if login is not None:
        program = kinds.named(agent["kind"]).program
        cure = program.log_in_cure if program else "Log its program in, or hand on its key by `environment`."
        log_ins.hold(tx, agent, login, cure, pause=rules.quota_pause_seconds, now=now, actor=actor)
        return
    failed_starts.note(tx, agent, rules.starts, now=now, actor=actor)
    for reason in ("quota", log_ins.REASON):
        hold = holds.get(tx, agent_type, reason)
        if hold is not None and how.status in ("completed", "timeout") and agent["created_at"] >= hold["until"]:
            holds.lift(tx, agent_type, reason, now=now, actor=actor)


def _by_its_output(tx: Transaction, agent_id: str, how: Exit, heard: Heard, now: str, actor: str) -> Exit:
    """Take in what its program told beside its exit code; some end with 0 though they failed."""
    if heard.denied:
        denials.note(tx, agents.get(tx, agent_id), heard.denied, now=now, actor=actor)
    if heard.question is not None and not reports.waits(tx, agent_id):
        reports.record(tx, agent_id, "question", cut(heard.question, QUESTION_LENGTH), now=now)
    if how.status == "completed" and heard.error is not None:
        words = endings.last_words(heard.error, WORDS_LENGTH)
        return Exit(
            "failed", how.at, how.code, message=f"It ended with exit code 0, and failed. Its last words: {words}"
        )
    return how


def _after_its_word(
    tx: Transaction, agent: Row, how: Exit, report: Report | None, heard: Heard, rules: Rules, now: str, actor: str
) -> None:
    """It ended well, as far as its exit goes. What it reported of a failure counts; otherwise the evidence decides."""
    if report is not None and reports.waits(tx, agent["agent_id"]):
        _ask_a_person(tx, agent, report, now, actor)
    elif report is not None and report.kind == "failed":
        how = Exit("failed", how.at, how.code, message=f"It reported to have failed: {report.summary}")
        _try_again(tx, agent, how, "agent_failed", heard, rules, now, actor)


def _ask_a_person(tx: Transaction, agent: Row, report: Report, now: str, actor: str) -> None:
    """It asked something, or cannot go on, and ended so: another one would ask the same."""
    assignment = assignments.get(tx, agent["orchestrator_task_id"])
    said = f"{agent['agent_id']} reported: {report.kind}. {report.summary}"
    if refused := denials.told(tx, agent["agent_id"]):
        said = f"{stopped(said)} {refused}"
    _give_up(tx, assignment, "non_retryable_error", said, now, actor, review=True)


def _of_login(tx: Transaction, agent: Row, how: Exit, heard: Heard) -> str | None:
    """Its words that it is not logged in: told as such by its program, else by words that only such programs say."""
    was_killed = how.status == "failed" and how.signal is not None
    if heard.login is not None and how.status in ("failed", "timeout") and not was_killed:
        return heard.login
    return log_ins.words_of(how.message or "") if _may_be(tx, agent, how, log_ins.CODE) else None


def _wait_for_login(tx: Transaction, agent: Row, said: str, now: str, actor: str) -> None:
    """Nobody but a person can help: its task waits with all others of its type, and nothing is counted."""
    message = f"{agent['agent_type']} was not logged in: {endings.last_words(said, WORDS_LENGTH)}"
    told = alerts.OF_ERRORS["critical"][1]
    assignment_id = agent["orchestrator_task_id"]
    attempts.wait(tx, assignment_id, code=log_ins.CODE, message=message, until=None, told=told, now=now, actor=actor)


def _may_be(tx: Transaction, agent: Row, how: Exit, reason: str) -> bool:
    """A task that says so again and again, while others of its type do well, only prints the words."""
    if how.status != "failed" or how.code is None:
        return False
    said = tx.all(
        "SELECT r.timestamp FROM agent_restart_log r JOIN agent_lifecycle a USING (agent_id) "
        "WHERE a.orchestrator_task_id = ? AND r.reason = ? ORDER BY r.timestamp",
        (agent["orchestrator_task_id"], reason),
    )
    if len(said) < BELIEVED_TIMES:
        return True
    return not tx.value(
        "SELECT 1 FROM agent_lifecycle WHERE agent_type = ? AND status = 'completed' AND completed_at > ? LIMIT 1",
        (agent["agent_type"], said[0]["timestamp"]),
    )


def _wait_for_quota(tx: Transaction, agent: Row, limit: endings.Quota, rules: Rules, now: str, actor: str) -> None:
    """Its provider's limit is no fault of the agent's or the task's: all launches of the type wait for its end."""
    agent_type = agent["agent_type"]
    hold = holds.get(tx, agent_type, "quota")
    is_news = hold is None or agent["created_at"] >= hold["until"]
    times = hold["times"] if hold else 0
    pause = backoff.delay(times + 1, rules.quota_pause_seconds, max(LONGEST_QUOTA_PAUSE, rules.quota_pause_seconds))
    until = limit.until or (clock.plus(now, pause) if is_news or hold is None else hold["until"])
    message = f"the provider's limit of {agent_type} is reached, it says: {limit.said}"
    if is_news:
        holds.hold(tx, agent_type, "quota", message, until=until, now=now, actor=actor, again=hold is not None)
    if hold is None:
        alerts.alert(
            tx, "high", f"Limit of {agent_type} reached", f"{stopped(message)} Waiting until {until}.", now=now
        )
    agents.met_limit(tx, agent["agent_id"], limit.said, now=now, actor=actor)
    assignment_id = agent["orchestrator_task_id"]
    if launches.count(tx, assignment_id) >= rules.policy.max_launches:
        _give_up(tx, assignments.get(tx, assignment_id), "max_retries_exceeded", message, now, actor, review=True)
    else:
        attempts.wait(tx, assignment_id, code="quota", message=message, until=None, now=now, actor=actor)


def _try_again(
    tx: Transaction, agent: Row, how: Exit, code: str, heard: Heard, rules: Rules, now: str, actor: str
) -> None:
    if code == "agent_failed" and endings.is_program_broken(heard.text, agent["workspace"]):
        code = "syntax_error"
    tail = f"The end of its output:\n\n```\n{heard.text.rstrip()}\n```" if heard.text.strip() else ""
    code, message = failures.named(code, how.message or ""), f"{agent['agent_id']}: {how.message or ''}"
    if refused := denials.told(tx, agent["agent_id"]):
        message = f"{stopped(message)} {refused}"
    verdict = attempts.failed(
        tx,
        agent["orchestrator_task_id"],
        code=code,
        message=message,
        tail=tail,
        exited_at=how.at,
        policy=rules.policy,
        now=now,
        actor=actor,
        lasted=(agent["duration_ms"] or 0) / 1000,
    )
    if verdict.delay_seconds is not None and code == "agent_timeout":  # with a longer time
        longer = LONGER_TIMEOUT * agent["timeout_seconds"]
        assignments.note(tx, agent["orchestrator_task_id"], timeout_seconds=longer)


def _as_asked(tx: Transaction, agent: Row, assignment: Row, now: str, actor: str) -> None:
    """Somebody had it ended, and said what is to become of its task."""
    reason = agent["kill_reason"] or "ended on request"
    assignment_id = assignment["orchestrator_task_id"]
    if agent["kill_outcome"] == "fail":
        _give_up(tx, assignment, "killed", reason, now, actor, review=False)
    elif agent["kill_outcome"] == "restart":
        attempts.wait(tx, assignment_id, code="restarted", message=reason, until=None, now=now, actor=actor)
        attempts.begin_anew(tx, assignment_id, now=now, actor=actor)
    else:
        assignments.release(tx, assignment_id, why=reason, now=now, actor=actor)


def _give_up(tx: Transaction, assignment: Row, code: str, message: str, now: str, actor: str, *, review: bool) -> None:
    assignment_id = assignment["orchestrator_task_id"]
    assignments.give_up(tx, assignment_id, code=code, message=message, review=review, now=now, actor=actor)
