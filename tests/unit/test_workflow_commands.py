"""Slash commands as they are typed: each is a call of a tool, and what is wrong is named with what would be right."""

import re
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import next_calls
from crewyard.server.errors import InvalidInput
from crewyard.server.workflow_commands import WorkflowCommand, commands, is_emergency, lines
from crewyard.tools import for_lead, for_workflows

from .tool_calls import fault_of

STAGES = ["genesis", "development", "content"]
ALL = commands(STAGES)
DOCUMENT = {
    "status": "R-203", "queues": "R-204", "assign": "R-206", "rebalance": "R-207", "priority": "R-208",
    "instances": "R-210", "health": "R-211", "restart": "R-212", "scale-up": "R-213", "scale-down": "R-214",
    "dispatch-genesis": "R-215", "trigger-development": "R-217", "trigger-content": "R-218",
    "emergency-stop": "R-219", "metrics": "R-220", "bottlenecks": "R-221", "forecast": "R-222", "alerts": "R-223",
    "emergency-scale-up": "R-224", "priority-triage": "R-225", "alert-administrators": "R-226",
    "health-check": "R-227", "restart-failed-instances": "R-228", "incident-report": "R-229",
}  # fmt: skip
TYPED = {
    "/status": [
        "queues(action='status')", "workers(action='list')", "analytics(action='metrics')",
        "analytics(action='bottlenecks')", "monitor_resource_usage(action='check')",
    ],
    "/queues": ["queues(action='status')"],
    "/assign development P-7 dev-02": [
        "queues(action='assign', workflow='development', project_id='P-7', worker_id='dev-02')"
    ],
    "/rebalance": ["queues(action='rebalance')"],
    "/priority P-7 urgent": ["queues(action='priority', project_id='P-7', level='urgent')"],
    "/instances": ["workers(action='list')"],
    "/health dev-02": ["workers(action='health', worker_id='dev-02')"],
    "/restart dev-02": ["workers(action='restart', worker_id='dev-02')"],
    "/scale-up content": ["workers(action='scale_up', workflow='content')"],
    "/scale-down content": ["workers(action='scale_down', workflow='content')"],
    "/dispatch-genesis A shop for tea": ["projects(action='dispatch', input='A shop for tea')"],
    "/trigger-development https://example.org/shop": [
        "projects(action='trigger', project_id='https://example.org/shop', workflow='development')"
    ],
    "/trigger-content P-7": ["projects(action='trigger', project_id='P-7', workflow='content')"],
    "/emergency-stop P-7": ["projects(action='emergency_stop', project_id='P-7')"],
    "/metrics": ["analytics(action='metrics')"],
    "/bottlenecks": ["analytics(action='bottlenecks')"],
    "/forecast": ["analytics(action='forecast')"],
    "/alerts": ["analytics(action='alerts')"],
    "/emergency-scale-up all": ["workers(action='scale_up', workflow='all', emergency=True)"],
    "/priority-triage urgent": ["queues(action='triage', level='urgent')"],
    "/alert-administrators capacity-exceeded": [
        "analytics(action='alert_administrators', reason='capacity-exceeded')"
    ],
    "/health-check all": ["workers(action='health', workflow='all')"],
    "/restart-failed-instances": ["workers(action='restart_failed')"],
    "/incident-report The disk was full.": [
        "analytics(action='incident_report', reason='reported', details='The disk was full.')"
    ],
}  # fmt: skip
FURTHER = {
    "/queues review": "queues(action='status', workflow='review')",
    "/backlog P-7": "projects(action='status', project_id='P-7')",
    "/batch-process my list.txt": "projects(action='dispatch', path='my list.txt', batch=True)",
    "/dispatch-genesis level=high kind=web It's a shop, isn't it?": (
        "projects(action='dispatch', input=\"It's a shop, isn't it?\", level='high', kind='web')"
    ),
    "/dispatch-genesis docs/Shop.MD": "projects(action='dispatch', path='docs/Shop.MD')",
    "/dispatch-genesis https://example.org/a/b/README.md": (
        "projects(action='dispatch', input='https://example.org/a/b/README.md')"
    ),
    '/dispatch-genesis "a b"': "projects(action='dispatch', input='a b')",
    "/dispatch-genesis\nA shop\n\n  with indents": "projects(action='dispatch', input='A shop\\n\\n  with indents')",
    "/dispatch-genesis width=3 is enough": "projects(action='dispatch', input='width=3 is enough')",
    "assign project_id=P-7 development dev-02": (
        "queues(action='assign', workflow='development', project_id='P-7', worker_id='dev-02')"
    ),
    "/review P-7 return workflow=genesis the issues are too big": (
        "queues(action='review', project_id='P-7', exit='return', workflow='genesis', why='the issues are too big')"
    ),
    "/trigger-content P-7 https://shop.example.org": (
        "projects(action='trigger', project_id='P-7', workflow='content', input='https://shop.example.org')"
    ),
    "/metrics 1.5": "analytics(action='metrics', hours=1.5)",
    "/emergency-scale-up": "workers(action='scale_up', workflow='all', emergency=True)",
    "/priority-triage": "queues(action='triage', level='urgent')",
    "/health-check": "workers(action='health', workflow='all')",
    "/feedback P-7 positive They like it.": (
        "analytics(action='feedback', project_id='P-7', rating='positive', details='They like it.')"
    ),
}


def calls_of(line: str, stages: list[str] = STAGES) -> list[str]:
    command, given = lines.read(line, stages)
    return command.calls(given)


def test_each_of_the_documents_24_commands_is_there_once_with_its_requirement() -> None:
    names = [command.name for command in ALL]
    assert len(set(names)) == len(names)
    assert len(DOCUMENT) == 24
    assert {name: command.requirement for command in ALL if (name := command.name) in DOCUMENT} == DOCUMENT
    assert {re.split(r"[ \n]", line)[0].removeprefix("/") for line in TYPED} == set(DOCUMENT)


@pytest.mark.parametrize(("line", "calls"), TYPED.items(), ids=[each.split()[0] for each in TYPED])
def test_r203_to_r229_each_command_of_the_document_is_a_call_that_the_tools_take(line: str, calls: list[str]) -> None:
    assert calls_of(line) == calls


@pytest.mark.parametrize(("line", "call"), FURTHER.items(), ids=[*FURTHER])
def test_arguments_are_read_by_place_and_by_name(line: str, call: str) -> None:
    assert calls_of(line) == [call]


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_each_step_is_a_call_that_its_tool_takes(command: WorkflowCommand) -> None:
    samples = {"level": "high", "number": 2, "choice": ""}
    given = {
        each.name: samples.get(each.kind, "x") or each.choices[0] for each in command.arguments if not each.or_file
    }
    assert [fault for call in command.calls(given) if (fault := fault_of(call))] == []


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_each_argument_is_used_and_each_value_is_one_of_them(command: WorkflowCommand) -> None:
    asked = {name for step in command.steps for value in step.arguments.values() if isinstance(value, str)
             for name in re.findall(r"{(\w+)}", value)}  # fmt: skip
    assert asked == {each.name for each in command.arguments}


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("/emergency-stop P-1", True),
        ("health-check", True),
        ("/resume P-1", True),
        ("/assign emergency-stop", False),
        ("/emergency", False),
        (" ", False),
    ],
)
def test_an_emergency_command_is_known_by_its_name(line: str, is_one: bool) -> None:
    assert is_emergency(line) == is_one


def test_r230_an_overload_scales_all_up_then_triages_then_alerts() -> None:
    assert calls_of("/emergency-overload") == [
        "workers(action='scale_up', workflow='all', emergency=True)",
        "queues(action='triage', level='urgent')",
        "analytics(action='alert_administrators', reason='capacity-exceeded')",
    ]


def test_r231_a_critical_failure_stops_checks_restarts_and_reports() -> None:
    assert calls_of("/emergency-failure P-7 the build host is gone") == [
        "projects(action='emergency_stop', project_id='P-7', why='the build host is gone')",
        "workers(action='health', workflow='all')",
        "workers(action='restart_failed')",
        "analytics(action='incident_report', reason='critical-failure of P-7', details='the build host is gone')",
    ]


WRONG = {
    "": ("No command was given", "lists them"),
    "/asign development P-7 dev-02": ("There is no command '/asign'", "'/assign'"),
    "/qqqqqqq": ("There is no command", "/dispatch-genesis"),
    "/assign development P-7": ("needs worker_id", "/assign <workflow> <project_id> <worker_id>"),
    "/assign development P-7 dev-02 now": ("'now' is one too many", "/assign <workflow>"),
    "/rebalance development now": ("takes no more arguments", "/rebalance [workflow]"),
    "/status now": ("takes no arguments", "/status"),
    "/metrics soon": ("hours is a number", ""),
    "/dispatch-genesis": ("needs input", "[location=…] <input…>"),
    '/dispatch-genesis "  "': ("needs input", ""),
}


@pytest.mark.parametrize(("line", "says"), WRONG.items())
def test_what_is_wrong_is_named_with_what_would_be_right(line: str, says: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        lines.read(line, STAGES)
    assert says[0] in refused.value.message
    assert says[1] in refused.value.hint


def test_another_pipeline_has_commands_of_its_own_stages() -> None:
    names = [command.name for command in commands(["plan", "build", "ship"])]
    assert {"dispatch-plan", "trigger-build", "trigger-ship"} <= set(names)
    assert not any("genesis" in name for name in names)
    assert calls_of("/trigger-ship P-1", ["plan", "build", "ship"]) == [
        "projects(action='trigger', project_id='P-1', workflow='ship')"
    ]


def actions() -> list[tuple[str, str]]:
    tools: dict[str, Any] = {tool.name: tool for tool in for_workflows()}
    return [(name, each) for name, tool in tools.items() for each in tool.parameters["properties"]["action"]["enum"]]


@pytest.mark.parametrize(("tool", "action"), actions())
def test_each_action_of_the_tools_has_a_command_and_a_line_to_type(tool: str, action: str) -> None:
    steps = [step for command in ALL for step in command.steps]
    assert any((step.tool, step.arguments.get("action")) == (tool, action) for step in steps)
    assert next_calls.command_line(f"{tool}(action='{action}')")


def test_steps_name_tools_that_there_are() -> None:
    assert {step.tool for command in ALL for step in command.steps} <= {
        tool.name for tool in (*for_lead(), *for_workflows())
    }


def test_the_guide_has_each_command_as_it_is_typed() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "workflows.md").read_text()
    rows = re.findall(r"^\| `(/[^`]*)` \| (.*) \|$", guide, re.MULTILINE)
    assert rows == [(command.usage, command.purpose) for command in ALL]
