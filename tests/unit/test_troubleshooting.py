"""The troubleshooting document: every error with what it means and what helps, as the code has it."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import advice

from .tool_calls import fault_of_typed

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "troubleshooting.md"
COMMANDS = {code: commands for codes in advice.COMMANDS.values() for code, commands in codes.items()}


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "make_troubleshooting.py"))


def test_the_document_is_what_the_code_says(script: dict[str, Any]) -> None:
    assert script["document"]() == DOCUMENT.read_text(), "make docs"


def test_each_error_that_has_advice_has_its_place_and_its_meaning_in_the_document(script: dict[str, Any]) -> None:
    """Which codes there are is looked at in test_next_calls; a new one without its cure fails there, then here."""
    assert sorted(set(advice.ADVICE) ^ set(COMMANDS)) == []
    assert sorted(set(advice.ADVICE) - set(script["meanings"]())) == []
    assert sorted(set(advice.MEANINGS) - set(advice.ADVICE)) == []
    assert sum(map(len, advice.COMMANDS.values())) == len(COMMANDS)


def test_each_command_that_helps_can_be_typed() -> None:
    ours = {line for lines in COMMANDS.values() for line in lines if line.startswith("crewyard ")}

    assert [fault for line in sorted(ours) if (fault := fault_of_typed(line))] == []
    assert len(ours) > 15


def test_what_a_terminal_says_can_be_looked_up(script: dict[str, Any]) -> None:
    """Sampled: that the words are found where they are raised, whatever those modules become."""
    said = script["messages"]()

    assert any("uncommitted changes" in text for text in said["dirty_working_directory"])
    assert any("`crewyard run PLAN`" in text for text in said["invalid_input"])
    assert sum(map(len, said.values())) > 150


def test_the_doctors_findings_are_in_it(script: dict[str, Any]) -> None:
    rows = script["findings"]().splitlines()[2:]

    assert {row.split(" | ")[0].removeprefix("| ") for row in rows} >= {
        "repository",
        "database",
        "agent programs",
        "rights",
    }
    assert all(row.count(" | ") == 2 for row in rows)
