"""``detect_deadlocks`` and the command of that name (R-092, R-095, R-121 to R-126)."""

from typing import Any

import pytest

from crewyard.server import clock, commands, identity, messages

pytestmark = pytest.mark.anyio
TOOL = "detect_deadlocks"


def knot(bench: Any, *names: str) -> None:
    bench.add_tasks(*names)
    for one, other in zip(names, (*names[1:], names[0]), strict=True):
        bench.add_edge(one, other)


async def test_r124_each_circle_comes_with_its_severity_and_a_way_out(bench: Any, call: Any) -> None:
    knot(bench, "A", "B")
    knot(bench, "C", "D", "E")
    found = await call(TOOL, report_level="detailed")
    counts = ("deadlocks_found", "total_tasks", "total_dependencies", "graph_acyclic")
    assert [found[name] for name in counts] == [2, 5, 5, False]
    first, second = found["circular_chains"]
    assert (first["chain"], first["length"], first["severity"]) == (["A", "B", "A"], 2, "critical")
    assert (second["affected_tasks"], second["severity"]) == (["C", "D", "E"], "high")
    assert first["edges"] == [{"from": one, "to": other, "type": "hard", "reason": None} for one, other in ("AB", "BA")]
    dropped = [each["edge"] for each in found["resolution_suggestions"]]
    bench.store.run(
        lambda tx: tx.many(
            "DELETE FROM specs_task_dependency WHERE blocking_task_id = ? AND dependent_task_id = ?",
            [(edge["from"], edge["to"]) for edge in dropped],
        )
    )
    found = await call(TOOL)
    assert (found["deadlocks_found"], found["graph_acyclic"], found["circular_chains"]) == (0, True, [])


async def test_r124_a_chain_that_was_shown_is_explained(bench: Any, call: Any) -> None:
    knot(bench, "A", "B", "C")
    [shown] = (await call(TOOL))["circular_chains"]
    told = await call(TOOL, action="analyze", cycle=shown["chain"])
    assert told["cycle_length"] == 3
    assert [(edge["from"], edge["to"]) for edge in told["edges"]] == [("A", "B"), ("B", "C"), ("C", "A")]
    assert all(set(option) == {"option", "action", "impact"} for option in told["resolution_options"])


async def test_r122_the_command_takes_its_cycle_as_text(bench: Any) -> None:
    knot(bench, "A", "B")
    command = commands.get("detect-deadlocks")
    async with bench.yard.opened():
        answer: Any = await command.run(
            bench.yard, identity.THE_LEAD, command.given({"ACTION": "analyze", "CYCLE": "A, B"})
        )
    assert (answer.cycle_length, answer.severity) == (2, "critical")


async def test_c27_agents_that_wait_for_each_other_are_told_with_what_they_wait_for(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    long_ago = clock.plus(clock.now(), -600)
    one, other = bench.add_agent("A", at=long_ago), bench.add_agent("B", at=long_ago)
    for sender, target in ((one, other), (other, one)):
        bench.store.run(
            messages.send, messages.Draft(target, "question", "which?"), sender=sender, agent_types=set(), max_queue=9,
            now=long_ago,
        )  # fmt: skip
    found = await call(TOOL, report_level="detailed")
    [circle] = found["circular_chains"]
    assert (circle["between"], circle["chain"]) == ("agents", ["A", "B", "A"])
    assert {edge["type"] for edge in circle["edges"]} == {"message"}
    assert one in circle["edges"][0]["reason"]
    assert found["graph_acyclic"] is True


async def test_r092_r095_a_graph_that_agrees_with_itself_is_valid(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    found = await call(TOOL, action="validate")
    assert (found["total_tasks"], found["total_dependencies"], found["valid"], found["issues"]) == (2, 1, True, [])


@pytest.mark.parametrize(
    ("damage", "issues"),
    [
        ("UPDATE specs_task SET unmet_blockers = 2 WHERE task_id = 'B'", {"wrong_counter"}),
        (
            "UPDATE specs_task SET unmet_blockers = 0, status = 'ready' WHERE task_id = 'B'",
            {"wrong_counter", "ready_but_blocked"},
        ),
        (
            "UPDATE specs_task SET status = 'completed', completed_at = 'now' WHERE task_id = 'A'",
            {"unresolved_dependency"},
        ),
        (
            "UPDATE specs_task_dependency SET dependency_status = 'completed', resolved_at = 'now'",
            {"resolved_too_early", "wrong_counter", "pending_without_blockers"},
        ),
        ("DELETE FROM specs_task WHERE task_id = 'A'", {"orphan_dependency"}),
        (
            "INSERT INTO specs_task_dependency (blocking_task_id, dependent_task_id, created_at) VALUES ('B', 'A', '')",
            {"circle", "wrong_counter", "ready_but_blocked"},
        ),
    ],
)
async def test_r092_r095_whatever_does_not_agree_is_named_and_nothing_is_repaired(
    bench: Any, call: Any, damage: str, issues: set[str]
) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    foreign = bench.store._writer
    foreign.execute("PRAGMA foreign_keys = OFF")
    foreign.execute(damage)
    foreign.execute("PRAGMA foreign_keys = ON")
    before = [tuple(row) for row in bench.store.read(lambda tx: tx.all("SELECT * FROM specs_task"))]
    for _ in range(2):
        found = await call(TOOL, action="validate")
        assert found["valid"] is False
        assert {each["issue"] for each in found["issues"]} == issues
    assert [tuple(row) for row in bench.store.read(lambda tx: tx.all("SELECT * FROM specs_task"))] == before


async def test_a_bound_that_was_reached_is_told_and_the_result_fits(bench: Any, call: Any) -> None:
    names = [f"a-task-with-a-long-name-{n:02d}" for n in range(12)]
    bench.add_tasks(*names)
    for one in names:
        for other in names:
            if one != other:
                bench.add_edge(one, other)
    found = await call(TOOL, report_level="detailed")
    assert "Bounded: the first 100 circles." in found["note"]
    assert found["circular_chains"]


@pytest.mark.parametrize(
    "arguments",
    [{"cycle": ["A"]}, {"action": "analyze"}, {"action": "validate", "report_level": "detailed"}, {"action": "mend"}],
)
async def test_what_cannot_be_used_is_refused(call: Any, arguments: dict[str, Any]) -> None:
    assert (await call.fails(TOOL, **arguments))["code"] == "invalid_input"
