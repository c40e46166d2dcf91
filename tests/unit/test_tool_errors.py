"""``handle_agent_errors`` and the command of that name: found, handled, recovered from, escalated (R-158 to R-162)."""

from typing import Any

import anyio
import pytest

from crewyard.server import clock, commands, dispatches, error_events, holds, identity, reports
from crewyard.server.commands import handle_agent_errors
from crewyard.server.error_events import Note
from crewyard.server.errors import CrewyardError

pytestmark = pytest.mark.anyio
TOOL = "handle_agent_errors"


def broken(bench: Any, task_id: str = "A", *, times: int = 1, **how: Any) -> str:
    """The task's agent failed that often; returns the id of the last error."""
    if not bench.value("SELECT count(*) FROM specs_task WHERE task_id = ?", task_id):
        bench.add_tasks(task_id)
    for n in range(times):
        at = clock.plus(clock.now(), n)
        bench.finish(bench.add_agent(task_id, at=at), "failed", at=at, **({"code": 1} | how))
    return last(bench, task_id)


def last(bench: Any, task_id: str) -> str:
    return str(bench.value("SELECT error_id FROM error_events WHERE task_id = ? ORDER BY rowid DESC", task_id))


async def begins(bench: Any, task_id: str, work: Any) -> Any:
    """Do ``work`` while an agent is started on the task as soon as one is wanted, as a supervisor does."""

    async def supervise() -> None:
        while not bench.value(
            "SELECT count(*) FROM orchestrator_task WHERE task_id = ? AND status = 'assigned' AND not_before IS NULL",
            task_id,
        ):
            await anyio.sleep(0.01)
        agent_type = bench.value(
            "SELECT agent_type FROM orchestrator_task WHERE task_id = ? ORDER BY rowid DESC", task_id
        )
        bench.add_agent(task_id, agent_type=agent_type)

    async with anyio.create_task_group() as group:
        group.start_soon(supervise)
        return await work


# ----------------------------------------------------------------------------------------------------------- detect


async def test_r161_errors_are_listed_with_what_is_known_of_them(bench: Any, call: Any) -> None:
    first, second = broken(bench, "A"), broken(bench, "B", error="resource_exhaustion")
    found = await call(TOOL)
    assert found["errors_found"] == 2
    assert [each["error_id"] for each in found["errors"]] == [second, first]
    error = found["errors"][1]
    assert (error["task_id"], error["severity"], error["retryable"]) == ("A", "medium", True)
    assert error["agent_id"] == bench.value("SELECT agent_id FROM agent_lifecycle WHERE task_id = 'A'")
    assert error["timestamp"] == bench.row("error_events", error_id=first)["timestamp"]
    assert [each["task_id"] for each in (await call(TOOL, task_id="B"))["errors"]] == ["B"]
    assert (await call(TOOL, cursor=second))["errors"][0]["error_id"] == first


async def test_r159_what_comes_more_often_than_the_threshold_is_called_repeated(bench: Any) -> None:
    broken(bench, times=3)
    command = commands.get("handle-agent-errors")
    async with bench.yard.opened():
        for threshold, repeated in (("3", False), ("2", True)):
            answer: Any = await command.run(
                bench.yard, identity.THE_LEAD, command.given({"ERROR_THRESHOLD": threshold})
            )
            assert [(each.occurrences, each.repeated) for each in answer.errors] == [(3, repeated)] * 3


async def test_r161_what_is_resolved_is_no_longer_listed(bench: Any, call: Any) -> None:
    error_id = broken(bench)
    bench.store.run(error_events.resolve, "A", "it went on", now=clock.now(), actor="test")
    assert (await call(TOOL))["errors_found"] == 0
    refused = await call.fails(TOOL, action="recover", error_id=error_id)
    assert refused["code"] == "illegal_transition"


# ----------------------------------------------------------------------------------------------------------- handle


async def test_r161_handling_what_is_tried_again_by_itself_changes_nothing(bench: Any, call: Any) -> None:
    error_id = broken(bench)
    before = dict(bench.row("orchestrator_task"))
    done = await call(TOOL, action="handle", error_id=error_id)
    assert (done["recovery_action"], done["details"]["attempt"], done["details"]["message_sent"]) == ("retry", 1, False)
    assert done["details"]["next_attempt_at"] == before["not_before"]
    assert dict(bench.row("orchestrator_task")) == before


@pytest.mark.parametrize("obstacle", ["hold", "endless hold", "pause", "taken back", "no supervisor"])
async def test_r161_handling_tells_what_is_in_the_way_of_what_follows(bench: Any, obstacle: str) -> None:
    bench.add_tasks("A")
    dispatch_id = bench.store.run(
        dispatches.open_or_join, ["A"], max_parallel=1, agent_type=None, now=clock.now(), actor="test"
    )[0]["dispatch_id"]
    error_id = broken(bench)
    bench.store.run(
        lambda tx: tx.run("UPDATE orchestrator_task SET not_before = ?, dispatch_id = ?", (clock.now(), dispatch_id))
    )
    until = clock.plus(clock.now(), 99) if obstacle == "hold" else None
    if "hold" in obstacle:
        bench.store.run(
            holds.hold, "builder", "quota", "the limit is reached", until=until, now=clock.now(), actor="test"
        )
    elif obstacle == "pause":
        bench.store.run(dispatches.change, dispatch_id, "paused", now=clock.now(), actor="test")
    elif obstacle == "taken back":
        bench.store.run(dispatches.change, dispatch_id, "cancelled", now=clock.now(), actor="test")
    else:
        bench.yard.supervise = bench.operations.supervisor_at_hand
    command = commands.get("handle-agent-errors")
    async with bench.yard.opened():
        answer: Any = await command.run(
            bench.yard, identity.THE_LEAD, command.given({"ACTION": "handle", "ERROR_ID": error_id})
        )
    reason = {"pause": "is paused", "taken back": "no dispatch works it off", "no supervisor": "Nobody supervises"}
    assert reason.get(obstacle, "the limit is reached") in answer.message
    assert answer.details.next_attempt_at == until, "what is past is no time to come"


async def test_r158_handling_what_no_attempt_mends_calls_a_person(bench: Any, call: Any) -> None:
    bench.add_tasks("A", files='["src/a.py"]')
    bench.finish(bench.add_agent("A"), "failed", error="spawn_failed", message="There is no such program.")
    done = await call(TOOL, action="handle", task_id="A")
    assert (done["recovery_action"], done["escalation_level"]) == ("escalate", "high")
    assert (done["details"]["message_sent"], done["files_affected"]) == (True, ["src/a.py"])
    assert bench.row("error_events")["status"] == "escalated"
    assert "no such program" in bench.alerts("lead")[-1]["message"]


async def test_r159_handling_what_comes_too_often_calls_a_person(bench: Any) -> None:
    broken(bench, times=3)
    command = commands.get("handle-agent-errors")
    async with bench.yard.opened():
        given = command.given({"ACTION": "handle", "TASK_ID": "A", "ERROR_THRESHOLD": "2"})
        answer: Any = await command.run(bench.yard, identity.THE_LEAD, given)
    assert (answer.recovery_action, answer.told) == ("escalate", ["lead"])


async def test_r158_handling_a_task_that_failed_starts_it_anew(bench: Any, call: Any) -> None:
    error_id = broken(bench, times=4)
    assert bench.row("specs_task")["status"] == "failed"
    bench.store.run(lambda tx: tx.run("DELETE FROM error_events WHERE error_id <> ?", (error_id,)))
    done = await begins(bench, "A", call(TOOL, action="handle", error_id=error_id))
    assert done["new_agent_id"] == bench.row("agent_lifecycle", status="running")["agent_id"]
    assert bench.row("error_events")["status"] == "recovering"


# ---------------------------------------------------------------------------------------------------------- recover


async def test_r161_recovering_starts_the_task_anew_and_names_the_new_agent(bench: Any, call: Any) -> None:
    error_id = broken(bench)
    done = await begins(bench, "A", call(TOOL, action="recover", error_id=error_id))
    assert done["new_agent_id"] == bench.row("agent_lifecycle", status="running")["agent_id"]
    assert bench.row("error_events")["recoveries"] == 1
    assert bench.operations.calls[-1] == ("require_fit", {"agent_types": {"builder"}})


async def test_r158_what_no_attempt_mends_is_tried_after_somebody_has_mended_it(bench: Any, call: Any) -> None:
    error_id = broken(bench, error="spawn_failed")
    refused = await call.fails(TOOL, action="recover", error_id=error_id)
    assert (refused["code"], bench.row("specs_task")["status"]) == ("non_retryable_error", "failed")
    recover = call(TOOL, action="recover", error_id=error_id, recovery_strategy="manual_intervention")
    assert (await begins(bench, "A", recover))["new_agent_id"]
    assert bench.row("error_events")["status"] == "recovering"


@pytest.mark.parametrize("times", [1, 4])
async def test_r158_the_fallback_is_another_type_of_agent(bench: Any, call: Any, times: int) -> None:
    error_id = broken(bench, times=times)
    recover = call(TOOL, action="recover", error_id=error_id, recovery_strategy="fallback_path")
    done = await begins(bench, "A", recover)
    row = bench.row("agent_lifecycle", agent_id=done["new_agent_id"])
    assert (row["agent_type"], row["status"], row["task_id"]) == ("architect", "running", "A")


async def test_r159_recoveries_of_a_task_are_bounded_until_it_goes_on(bench: Any) -> None:
    error_id = broken(bench)
    command = commands.get("handle-agent-errors")
    given = command.given({"ACTION": "recover", "ERROR_ID": error_id, "RETRY_MAX": "1"})
    async with bench.yard.opened():
        await begins(bench, "A", command.run(bench.yard, identity.THE_LEAD, given))
        bench.finish(bench.row("agent_lifecycle", status="running")["agent_id"], "failed", code=1)
        with pytest.raises(CrewyardError) as caught:
            await command.run(bench.yard, identity.THE_LEAD, given)
    assert caught.value.code == "max_retries_exceeded"
    assert bench.value("SELECT count(*) FROM agent_lifecycle") == 2


@pytest.mark.parametrize("strategy", ["automatic_retry", "manual_intervention", "fallback_path"])
async def test_r159_recovering_again_before_an_agent_has_begun_is_told_and_counts_once(
    bench: Any, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    monkeypatch.setattr(handle_agent_errors, "START_SECONDS", 0.0)
    error_id = broken(bench)
    command = commands.get("handle-agent-errors")
    given = command.given({"ACTION": "recover", "ERROR_ID": error_id, "RECOVERY_STRATEGY": strategy})
    said = []
    async with bench.yard.opened():
        for _ in range(5):
            answer: Any = await command.run(bench.yard, identity.THE_LEAD, given)
            said.append(answer.message)
            bench.store.run(
                holds.hold, "*", "merges_wait", "merges have waited long", until=None,
                now=clock.now(), actor="test",
            )  # fmt: skip
            work = dict(bench.row("orchestrator_task", status="assigned"))
    assert said[0].startswith("It is recorded.")
    assert all(each.startswith("It is recovering already.") for each in said[1:])
    assert all("merges have waited long" in each for each in said[1:])
    assert bench.row("error_events")["recoveries"] == 1
    assert work["agent_type"] == ("architect" if strategy == "fallback_path" else "builder")
    assert bench.value("SELECT count(*) FROM event WHERE kind = 'error_recovery'") == 1


async def test_r158_a_task_that_an_agent_works_on_is_not_recovered_from_under_it(bench: Any, call: Any) -> None:
    error_id = broken(bench)
    agent_id = bench.add_agent("A")
    for strategy in ("automatic_retry", "fallback_path"):
        refused = await call.fails(TOOL, action="recover", error_id=error_id, recovery_strategy=strategy)
        assert (refused["code"], refused["details"]["agent_id"]) == ("illegal_transition", agent_id)
    assert bench.row("agent_lifecycle", agent_id=agent_id)["kill_requested_at"] is None
    assert bench.row("error_events")["recoveries"] == 0


# --------------------------------------------------------------------------------------------------------- escalate


async def test_r161_r162_escalating_tells_whom_the_level_concerns_once(bench: Any, call: Any) -> None:
    bench.add_tasks("other", "A", files='["src/a.py"]')
    bench.end_agent(bench.add_agent("other", agent_type="architect"))
    bench.employ("project_manager")
    error_id = broken(bench)
    done = await call(TOOL, action="escalate", error_id=error_id, escalation_level="critical")
    assert (done["escalation_level"], done["files_affected"]) == ("critical", ["src/a.py"])
    assert "task A" in done["escalation_message"]
    for box in ("lead", "project_manager", "architect"):
        [alert] = bench.alerts(box)
        assert (alert["error_id"], alert["level"], alert["files"]) == (error_id, "critical", ["src/a.py"])
    again = await call(TOOL, action="escalate", error_id=error_id, escalation_level="high")
    assert (again["escalation_level"], again["note"]) == ("critical", "Whom this level concerns was told before.")
    assert len(bench.alerts("lead")) == 1
    assert bench.row("orchestrator_task", task_id="A")["status"] == "assigned", "what follows by itself goes on"


async def test_r118_a_question_that_ends_an_agent_calls_a_person_and_is_not_tried_again(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.store.run(reports.record, agent_id, "question", "which colour?", now=clock.now())
    bench.finish(agent_id, "completed", code=0)
    [error] = (await call(TOOL))["errors"]
    assert (error["error_class"], error["retryable"], error["status"]) == ("needs_answer", False, "escalated")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"action": "handle"}, "invalid_input"),
        ({"action": "recover", "error_id": "err-0"}, "error_not_found"),
        ({"action": "escalate", "task_id": "nobody"}, "task_not_found"),
        ({"action": "handle", "task_id": "A"}, "error_not_found"),
        ({"action": "recover", "task_id": "A", "escalation_level": "high"}, "invalid_input"),
        ({"action": "escalate", "task_id": "A", "escalation_level": "huge"}, "invalid_input"),
    ],
)
async def test_what_cannot_be_done_is_refused_and_changes_nothing(
    bench: Any, call: Any, arguments: dict[str, Any], code: str
) -> None:
    bench.add_tasks("A")
    before = bench.value("SELECT count(*) FROM event")
    assert (await call.fails(TOOL, **arguments))["code"] == code
    assert bench.value("SELECT count(*) FROM event") == before


async def test_an_error_of_no_task_has_nothing_to_start_anew(bench: Any, call: Any) -> None:
    bench.store.run(
        error_events.note, Note("deadlock", "a circle", "open", subject="tasks: A"), now=clock.now(), actor="test"
    )
    error_id = bench.row("error_events")["error_id"]
    recover = {"action": "recover", "error_id": error_id, "recovery_strategy": "manual_intervention"}
    assert (await call.fails(TOOL, **recover))["code"] == "non_retryable_error"
    assert (await call(TOOL, action="handle", error_id=error_id))["escalation_level"] == "high"


async def test_however_many_errors_there_are_a_result_fits_and_leads_on(bench: Any, call: Any) -> None:
    bench.add_tasks(*(f"T{n}" for n in range(60)))
    for n in range(60):
        bench.store.run(
            error_events.note, Note("agent_failed", "x" * 900, "open", f"T{n}"), now=clock.now(), actor="test"
        )
    seen: list[str] = []
    cursor = ""
    while True:
        found = await call(TOOL, cursor=cursor)
        seen += [each["task_id"] for each in found["errors"]]
        if not (cursor := found.get("next_cursor", "")):
            break
    assert seen == [f"T{n}" for n in reversed(range(60))]
