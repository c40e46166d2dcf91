"""What goes wrong is recorded with its class, told to whom it concerns, and over when its task went on (R-158, …)."""

from pathlib import Path
from typing import Any

import pytest

from crewyard.server import (
    agents,
    assignments,
    backoff,
    clock,
    error_events,
    failures,
    holds,
    lease,
    merges,
    process,
    tasks,
)
from crewyard.server.crew import Crew
from crewyard.server.error_events import Note
from crewyard.server.repository import Repository
from crewyard.server.settings import Settings
from crewyard.server.store import Store, Transaction
from crewyard.server.supervisor import Supervisor, partial_named

NOW = "2026-01-01T00:00:00.000Z"
LAST = "It ended with exit code 1. Its last words: "


def later(seconds: float) -> str:
    return clock.plus(NOW, seconds)


def started(bench: Any, task_id: str = "A", *, at: str = NOW, **facts: Any) -> str:
    if not bench.value("SELECT count(*) FROM specs_task WHERE task_id = ?", task_id):
        bench.add_tasks(task_id)
    return str(bench.add_agent(task_id, at=at, **facts))


def errors(bench: Any) -> list[Any]:
    rows: list[Any] = bench.store.read(lambda tx: tx.all("SELECT * FROM error_events ORDER BY rowid"))
    return rows


def assign(tx: Transaction, task_id: str) -> None:
    assignments.create(tx, tasks.get(tx, task_id), agent_type="builder", dispatch_id=None, now=NOW, actor="test")


def prove(bench: Any, task_id: str = "A", *, no_change: bool = False) -> None:
    work = bench.store.read(assignments.of_task, task_id)
    bench.store.run(assignments.proven, work["orchestrator_task_id"], no_change=no_change, now=NOW, actor="test")


def conflict(bench: Any, *, limit: int = 3) -> None:
    """Proven work of task A is merged, and conflicts in f."""
    prove(bench)
    work = bench.store.read(assignments.of_task, "A")["orchestrator_task_id"]
    request = bench.store.run(
        merges.enqueue, work, head="1" * 40, target="main", approved_by=None, now=NOW, actor="test"
    )
    bench.store.run(merges.claim, request["merge_id"], now=NOW, actor="test")
    bench.store.run(
        merges.refused, request["merge_id"], want="conflicted", code="merge_conflicts", message="It conflicts in f.",
        files=["f"], prompt="p", limit=limit, now=NOW, actor="test",
    )  # fmt: skip


def placed(bench: Any) -> str:
    agent_id = started(bench)
    work = bench.store.read(assignments.of_task, "A")["orchestrator_task_id"]
    bench.store.run(assignments.placed, work, path="/w/A", branch="b")
    bench.finish(agent_id, "completed", code=0, at=later(60))
    return agent_id


# ------------------------------------------------------------------------------------------------ classes, severities


@pytest.mark.parametrize(
    ("how", "error", "expected"),
    [
        ({"status": "failed", "code": 7}, None, ("process_died", "medium", 1, "retry")),
        ({"status": "lost"}, None, ("process_died", "medium", 1, "retry")),
        ({"status": "timeout"}, None, ("task_timeout", "medium", 1, "longer_timeout")),
        ({"status": "failed"}, "resource_exhaustion", ("resource_exhausted", "medium", 1, "wait")),
        (
            {
                "status": "failed",
                "code": 1,
                "said": '  File "/opt/agent.py", line 1\n    a b\n      ^\nSyntaxError: bad\n',
            },
            None,
            ("syntax_error", "high", 0, "manual_review"),
        ),
        (
            {"status": "failed", "code": 1, "message": f"{LAST}Error: connect ETIMEDOUT 10.0.0.1:443"},
            None,
            ("network_timeout", "low", 1, "backoff"),
        ),
        (
            {"status": "failed", "code": 1, "message": f"{LAST}OSError: [Errno 28] No space left on device"},
            None,
            ("resource_exhausted", "medium", 1, "wait"),
        ),
        (
            {"status": "failed", "code": 1, "message": f"{LAST}Invalid API key · Please run /login"},
            None,
            ("authentication_failure", "critical", 1, "log_in"),
        ),
        ({"status": "failed"}, "never_heard_of", ("unknown", "medium", 0, "manual_review")),
    ],
)
def test_r158_r160_an_end_is_recorded_with_its_class_and_what_follows_agrees_with_it(
    bench: Any, how: dict[str, Any], error: str | None, expected: tuple[str, str, int, str]
) -> None:
    agent_id = started(bench)
    bench.finish(agent_id, how["status"], error=error, at=later(60), **{k: how[k] for k in how if k != "status"})
    [row] = errors(bench)
    assert (row["error_class"], row["severity"], row["retryable"], row["recovery_action"]) == expected
    assert (row["agent_id"], row["task_id"], row["timestamp"]) == (agent_id, "A", later(60))
    is_tried_again = bench.row("specs_task")["status"] == "assigned"
    assert is_tried_again == bool(row["retryable"])
    assert row["status"] == ("recovering" if is_tried_again else "escalated")


@pytest.mark.parametrize("code", sorted(failures.BY_CODE))
def test_r118_r160_each_code_is_tried_again_just_if_its_class_says_so(code: str) -> None:
    verdict = backoff.after_failure(code, 0, backoff.Policy(max_restarts=3, base=2.0, cap=120.0))
    assert (verdict.delay_seconds is not None) == failures.of(code).retryable


@pytest.mark.parametrize(
    "cited",
    [
        "FAILED test_db.py::t - sqlite3.DatabaseError: file is not a database",
        "sqlite3.DatabaseError: database disk image is malformed",
        "error: object file .git/objects/ab/cd is empty",
        "fatal: bad object HEAD",
        "AssertionError: 401 Unauthorized != 200",
        "401 Unauthorized",
        "AuthenticationError: authentication failed",
        "E   Invalid API key · Please run /login",
        "SyntaxError: invalid syntax",
        "FAILED test_net.py::t - OSError: Network request timed out",
        "AssertionError: database is locked",
        "assert MemoryError",
    ],
)
def test_r158_r160_what_an_agents_last_line_only_cites_makes_no_class(bench: Any, cited: str) -> None:
    said = f"{'.' * 40}\n{cited}\n"
    bench.finish(started(bench), "failed", code=1, at=later(60), message=LAST + cited, said=said)
    [row] = errors(bench)
    assert (row["error_class"], row["severity"], row["status"]) == ("process_died", "medium", "recovering")
    assert bench.row("specs_task")["status"] == "assigned", "it is tried again"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("git gc failed in /r: error: object file .git/objects/ab/cd is empty", "corruption"),
        ("git log failed in /r: warning: x\nfatal: bad object HEAD", "data_loss"),
        ("git fetch failed in /r: fatal: Authentication failed for 'https://x'", "authentication_failure"),
        ("git fetch failed in /r: fatal: unable to access 'https://x'", "network_timeout"),
        ("git add failed in /r: the file 'object file x is empty' is ignored", "git_error"),
    ],
)
def test_r160_what_git_says_of_our_own_calls_makes_the_class(said: str, code: str) -> None:
    assert failures.named("git_error", said) == code


def test_r160_words_of_the_work_itself_make_no_class() -> None:
    said = "It reported to have failed: the tests tell of a SyntaxError and of a database that is locked"
    assert failures.named("agent_failed", said) == "agent_failed"
    assert failures.named("check_failed", f"{LAST}Error: connect ETIMEDOUT") == "check_failed"


def test_r160_a_providers_limit_waits_and_is_no_second_alert(bench: Any) -> None:
    bench.finish(started(bench), "failed", code=1, said="Claude AI usage limit reached", at=later(60))
    [row] = errors(bench)
    assert (row["error_class"], row["severity"], row["status"]) == ("provider_limit", "medium", "recovering")
    assert len(bench.alerts("lead")) == 1


def test_what_a_person_wants_ended_is_no_error(bench: Any) -> None:
    for task_id, outcome in (("A", "restart"), ("B", "fail"), ("C", "release")):
        agent_id = started(bench, task_id)
        bench.store.run(
            agents.request_kill, agent_id, reason="It was time.", outcome=outcome, grace_seconds=1, now=NOW,
            actor="lead",
        )  # fmt: skip
        bench.finish(agent_id, "killed", at=later(60))
    assert errors(bench) == []


# ------------------------------------------------------------------------------------------------- history, resolution


def test_r158_an_error_is_over_in_the_transaction_that_proves_the_next_attempt(bench: Any) -> None:
    bench.finish(started(bench), "failed", code=7, at=later(60))
    bench.finish(started(bench, at=later(70)), "completed", code=0, at=later(90))
    assert [row["status"] for row in errors(bench)] == ["recovering"]
    prove(bench)
    [row] = errors(bench)
    assert (row["status"], row["resolution"]) == ("resolved", "the evidence of its work holds")
    kinds = [event["kind"] for event in bench.store.read(lambda tx: tx.all("SELECT kind FROM event ORDER BY event_id"))]
    assert [kind for kind in kinds if kind.startswith("error_")] == ["error_recovering", "error_resolved"]


def test_r158_the_whole_history_stays_and_waits_for_a_person_when_no_attempt_is_left(bench: Any) -> None:
    for n in range(4):
        bench.finish(started(bench, at=later(100 * n)), "failed", code=n + 1, at=later(100 * n + 60))
    rows = errors(bench)
    assert [row["status"] for row in rows] == ["escalated"] * 4
    assert {row["error_class"] for row in rows} == {"process_died"}
    assert rows[-1]["escalation_level"] == "critical"
    bench.store.run(tasks.update_status, "A", "ready", now=NOW, actor="lead")
    assert [row["status"] for row in errors(bench)] == ["escalated"] * 4, "nobody works it off"
    bench.store.run(assign, "A")
    assert [row["status"] for row in errors(bench)] == ["recovering"] * 4
    work = bench.store.read(assignments.of_task, "A")
    bench.store.run(assignments.release, work["orchestrator_task_id"], why="taken back", now=NOW, actor="lead")
    assert [row["status"] for row in errors(bench)] == ["open"] * 4
    bench.store.run(tasks.update_status, "A", "cancelled", now=NOW, actor="lead")
    assert {(row["status"], row["resolution"]) for row in errors(bench)} == {("resolved", "its task was cancelled")}


def test_r160_a_conflict_is_recorded_with_its_files_and_over_when_it_was_reworked(bench: Any) -> None:
    placed(bench)
    conflict(bench)
    [row] = errors(bench)
    assert (row["error_class"], row["severity"], row["recovery_action"]) == ("git_conflict", "high", "rework")
    assert (row["status"], row["files"], row["attempt"]) == ("recovering", '["f"]', 1)
    bench.finish(started(bench, at=later(70)), "completed", code=0, at=later(90))
    prove(bench)
    assert [row["status"] for row in errors(bench)] == ["resolved"]


def test_r160_a_conflict_that_comes_too_often_waits_for_a_person(bench: Any) -> None:
    placed(bench)
    conflict(bench, limit=0)
    [row] = errors(bench)
    assert (row["status"], row["error_class"], row["files"]) == ("escalated", "git_conflict", '["f"]')


def test_what_is_in_the_way_of_a_merge_is_recorded_and_over_with_the_merge(bench: Any) -> None:
    placed(bench)
    prove(bench)
    work = bench.store.read(assignments.of_task, "A")["orchestrator_task_id"]
    request = bench.store.run(merges.enqueue, work, head="1" * 40, target="m", approved_by=None, now=NOW, actor="t")
    bench.store.run(merges.claim, request["merge_id"], now=NOW, actor="t")
    said = "git fetch failed: Could not resolve host"
    bench.store.run(
        merges.requeue, request["merge_id"], now=NOW, actor="t", why=said, code="git_error", retry_seconds=1.0
    )
    [row] = errors(bench)
    assert (row["error_class"], row["severity"], row["status"]) == ("network_timeout", "low", "recovering")
    bench.store.run(merges.claim, request["merge_id"], now=NOW, actor="t")
    bench.store.run(merges.succeeded, request["merge_id"], merges.Merged("2" * 40, 1, 1, 1), now=NOW, actor="t")
    assert [row["status"] for row in errors(bench)] == ["resolved"]


def test_who_alone_can_clear_a_checkout_is_told_that_it_is_in_the_way_of_a_merge_once(bench: Any) -> None:
    placed(bench)
    prove(bench)
    work = bench.store.read(assignments.of_task, "A")["orchestrator_task_id"]
    request = bench.store.run(merges.enqueue, work, head="1" * 40, target="m", approved_by=None, now=NOW, actor="t")
    for _ in range(3):
        bench.store.run(merges.claim, request["merge_id"], now=NOW, actor="t")
        bench.store.run(
            merges.requeue, request["merge_id"], now=NOW, actor="t", why="local changes to f are in the way",
            code="dirty_working_directory", retry_seconds=1.0,
        )  # fmt: skip
    [alert] = bench.alerts("lead")
    assert (alert["level"], alert["message"]) == ("high", "local changes to f are in the way.")
    assert {row["status"] for row in errors(bench)} == {"recovering"}


# ------------------------------------------------------------------------------------------------------ who is told


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("corruption", {"lead", "project_manager", "architect"}),
        ("merge_conflicts", {"lead", "architect", "code_developer"}),
        ("agent_failed", {"code_developer"}),
        ("network_timeout", set()),
    ],
)
@pytest.mark.parametrize("with_types", [True, False])
def test_r162_c38_who_is_told_follows_from_the_severity(
    bench: Any, code: str, told: set[str], *, with_types: bool
) -> None:
    if with_types:
        bench.employ("architect", "code_developer", "project_manager")
    bench.add_tasks("A")
    bench.store.run(error_events.note, Note(code, "words", "open", "A"), now=NOW, actor="test")
    everyone = {"lead", "project_manager", "architect", "code_developer"}
    wanted = told if with_types else told & {"lead"}
    assert {box for box in everyone if bench.alerts(box)} == wanted
    for box in wanted:
        [alert] = bench.alerts(box)
        assert alert["sound"] is False
        assert alert["error_id"] == errors(bench)[0]["error_id"]
        assert alert["message"] == "words."
        assert ("next" in alert) == (box == "lead"), "agents have none of the lead's tools"


def test_r162_what_an_agent_has_not_read_of_an_error_expires_with_it(bench: Any) -> None:
    bench.employ("architect", "code_developer", "project_manager")
    bench.add_tasks("A", "B")
    for task_id in ("A", "B"):
        bench.store.run(error_events.note, Note("merge_conflicts", "words", "open", task_id), now=NOW, actor="test")
    bench.store.run(error_events.resolve, "A", "it went on", now=later(1), actor="test")
    waiting = bench.store.read(
        lambda tx: tx.all(
            "SELECT to_agent, content ->> '$.task_id' AS task_id FROM agent_message "
            "WHERE status = 'pending' AND message_type = 'alert' ORDER BY to_agent, id"
        )
    )
    assert [tuple(row) for row in waiting] == [
        ("architect", "B"), ("code_developer", "B"), ("lead", "A"), ("lead", "B"),
    ]  # fmt: skip


def test_r287_what_is_said_of_the_last_attempt_ends_before_what_follows_is_said(bench: Any) -> None:
    for n in range(4):
        at = later(100 * n)
        bench.finish(started(bench, at=at), "failed", code=1, message=f"{LAST}no such thing", at=later(100 * n + 60))
    [alert] = bench.alerts("lead")
    assert alert["message"].endswith("Its last words: no such thing. Given up after 4 attempts.")


def test_r162_the_same_again_is_kept_and_told_once(bench: Any) -> None:
    bench.employ("code_developer")
    for n in range(3):
        bench.finish(started(bench, at=later(100 * n)), "failed", code=1, at=later(100 * n + 60))
    assert len(errors(bench)) == 3
    assert len(bench.alerts("code_developer")) == 1
    assert bench.alerts("lead") == [], "it is told by the report of each attempt"


def test_r162_the_last_restart_is_told_once_to_each(bench: Any) -> None:
    bench.employ("architect", "project_manager")
    for n in range(4):
        bench.finish(started(bench, at=later(100 * n)), "failed", code=1, at=later(100 * n + 60))
    for box in ("lead", "project_manager", "architect"):
        assert [alert["level"] for alert in bench.alerts(box)] == ["critical"], box


def test_r013_nobody_of_the_crew_can_ask_for_sound(bench: Any) -> None:
    bench.add_tasks("A")
    bench.store.run(error_events.note, Note("data_loss", "words", "open", "A"), now=NOW, actor="test")
    contents = bench.store.read(lambda tx: tx.all("SELECT content ->> '$.sound' AS sound FROM agent_message"))
    assert {row["sound"] for row in contents} == {0}


# ------------------------------------------------------------------------------------------------------------- damage


def test_r160_a_damaged_database_is_told_once_as_far_as_it_can_be(bench: Any, database: Path, git_repo: Path) -> None:
    bench.employ("project_manager")
    bench.add_tasks("A")
    crew = Crew.of(Repository.discover(git_repo), Settings(), bench.store)
    me = process.myself()
    holder = lease.Holder("test", me.pid, me.start_time, me.boot_id)
    crew.term = bench.store.run(lease.acquire, holder, now=clock.now(), uptime=clock.uptime())
    page, size = (
        bench.value("SELECT rootpage FROM sqlite_master WHERE name = 'launch_hold'"),
        bench.value("PRAGMA page_size"),
    )
    bench.store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    fresh = Store(database)
    crew.store = fresh
    supervisor = Supervisor(crew)
    for _ in range(2):
        supervisor._guarded(partial_named(fresh.read, holds.listed))
    fresh.close()
    [row] = errors(bench)
    assert (row["error_class"], row["severity"], row["status"]) == ("corruption", "critical", "open")
    assert "malformed" in row["message"]
    for box in ("lead", "project_manager"):
        assert [alert["level"] for alert in bench.alerts(box)] == ["critical"]
