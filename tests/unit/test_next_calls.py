"""Hints are calls that the tools take, and at a terminal commands that there are."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewyard.server import advice, failures, next_calls
from crewyard.server.errors import CrewyardError
from crewyard.tools import for_lead, for_worker, for_workflows

from .tool_calls import PLACEHOLDER, fault_of, fault_of_line

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("server", "tools", "resources") for path in (ROOT / folder).rglob("*.py"))
# Said of a call of whatever arguments, or in place of an argument's value.
ABOUT_ANY = re.compile(r"=(ID|TASK|IDs|agent_id|dispatch_id)\b")


def texts(path: Path) -> Iterator[str]:
    """The strings of a module; a value that is put in stands as a placeholder."""
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else PLACEHOLDER  # type: ignore[misc]
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def test_each_call_that_a_text_of_ours_names_is_one_that_the_tools_take() -> None:
    known = {tool.name for tool in (*for_lead(), *for_worker(), *for_workflows())}
    faults, seen = [], 0
    for path in SOURCES:
        if path.name == "next_calls.py":
            continue
        for text in texts(path):
            for each in next_calls.found_in(text):
                if each.partition("(")[0] not in known:  # it is on its way
                    continue
                seen += 1
                if (fault := fault_of(ABOUT_ANY.sub("='X'", each))) is not None:
                    faults.append(f"{path.relative_to(ROOT)}: {fault}")
    assert not faults, "\n".join(faults)
    assert seen > 50


def test_the_calls_of_every_tool_are_known() -> None:
    assert {tool.name for tool in (*for_lead(), *for_worker(), *for_workflows())} <= set(next_calls.TOOLS)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("why(subject='A')", "crewyard why A"),
        ('why(subject="it\'s")', """crewyard why 'it'"'"'s'"""),
        ("agents(action='log', agent_id='b-1')", "crewyard logs b-1"),
        ("worktrees(action='merge', task_id='A', approve=true)", "crewyard worktrees approve A"),
        ("worktrees(action='merge', task_id=…, approve=true)", "crewyard worktrees approve TASK"),
        ("assign(action='resume', dispatch_id='d-1')", "crewyard run PLAN"),
        ("why(subject=…)", "crewyard why ID"),
        ("route(action='send', target_agent='b-1', content='…')", "crewyard send b-1 TEXT"),
        ("route(action='send', target_agent='b-1', content='the red one')", "crewyard send b-1 'the red one'"),
        ("route(action='poll')", "crewyard command route-inter-agent-messages ACTION=deliver"),
        (
            "handle_agent_errors(action='recover', error_id='err-1', recovery_strategy='manual_intervention')",
            "crewyard command handle-agent-errors ACTION=recover ERROR_ID=err-1 RECOVERY_STRATEGY=manual_intervention",
        ),
        (
            "handle_agent_errors(action='escalate', task_id='A')",
            "crewyard command handle-agent-errors ACTION=escalate TASK_ID=A",
        ),
        (
            "handle_agent_errors(action='recover', error_id=…)",
            "crewyard command handle-agent-errors ACTION=recover ERROR_ID=ERROR",
        ),
        (
            "detect_deadlocks(action='analyze', cycle=['A', 'B'])",
            "crewyard command detect-deadlocks ACTION=analyze CYCLE=A,B",
        ),
        ("worktrees(action='cleanup', all=True)", "crewyard command cleanup-worktrees ACTION=cleanup_all"),
        ("worktrees(action='cleanup', dry_run=true)", "crewyard command cleanup-worktrees ACTION=list_candidates"),
        (
            "worktrees(action='cleanup', task_id='A', force=True)",
            "crewyard command cleanup-worktrees TASK_ID=A FORCE_CLEANUP=true",
        ),
        ("worktrees(action='cleanup', task_id='A')", "crewyard command cleanup-worktrees TASK_ID=A"),
        (
            "queues(action='assign', workflow='a', project_id='P-1', worker_id='a-1')",
            "crewyard workflow /assign a P-1 a-1",
        ),
        ("projects(action='status')", "crewyard workflow /backlog"),
        ("projects(action='dispatch', path='list', batch=true)", "crewyard workflow /batch-process list"),
        ("workers(action='scale_up', workflow='all', emergency=true)", "crewyard workflow /emergency-scale-up all"),
        ("workers(action='health', worker_id='a-1')", "crewyard workflow /health a-1"),
        ("agents(1)", None),
        ("agents(action=)", None),
        ("no call", None),
    ],
)
def test_a_call_is_typed_as_a_command(call: str, line: str | None) -> None:
    assert next_calls.command_line(call) == line


def test_a_hint_at_a_terminal_names_commands_where_there_are_any() -> None:
    hint = "agents(action='list') shows them; report(action='question') asks the lead."
    assert next_calls.for_terminal(hint) == "`crewyard status` shows them; report(action='question') asks the lead."


def test_a_call_reads_as_it_was_made() -> None:
    made = next_calls.call("plan", action="update", task_id="it's", new_status="ready")
    assert next_calls.parsed(made) == ("plan", {"action": "update", "task_id": "it's", "new_status": "ready"})


def calls_of_texts() -> list[str]:
    """What texts of ours name, but for an agent's own tool."""
    named = {
        each
        for path in SOURCES
        if path.name != "next_calls.py"
        for text in texts(path)
        for each in next_calls.found_in(text)
    }
    return sorted(each for each in named if not each.startswith("report("))


@pytest.mark.parametrize("call", calls_of_texts())
def test_each_call_that_a_text_of_ours_names_has_a_command_line_that_can_be_typed(call: str) -> None:
    assert fault_of_line(call) is None


def subclasses(kind: type[CrewyardError]) -> Iterator[type[CrewyardError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from subclasses(each)


def recorded_codes() -> set[str]:
    """The codes that are written as text, not as an error's class."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                found.add(node.value.value)
    return {code for code in found if isinstance(code, str)}


def test_each_error_has_its_sentence() -> None:
    importlib.import_module("crewyard.server.prover")  # defines two of its own
    codes = {kind.code for kind in subclasses(CrewyardError) if kind.__module__.startswith("crewyard.")}
    from crewyard.server.consequences import FAILURES

    recorded = {*codes, *recorded_codes(), *FAILURES.values(), *failures.BY_CODE}
    assert sorted(recorded - set(advice.ADVICE)) == []
    assert all(text.endswith(".") and len(text) < 120 for text in advice.ADVICE.values())
