"""The examples of the commands' pages, done anew."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import commands

ROOT = Path(__file__).resolve().parents[2]
# Their values are the machine's and the hour's; how our own mail is told together is a matter of moments.
MEASURED = ("monitor-resource-usage", "generate-activity-summary", "route-inter-agent-messages")
INNER = {"json_each", "json_tree"}


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "make_commands.py"))


@pytest.fixture(scope="module")
def examples(script: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = script["run_examples"](tmp_path_factory.mktemp("examples") / "project")
    return found


@pytest.mark.parametrize("name", commands.NAMES)
def test_r029_the_answers_on_the_page_are_what_the_examples_really_answer(
    name: str, script: dict[str, Any], examples: dict[str, Any]
) -> None:
    shown, found = script["kept"](name)[0], examples[name].outputs
    if name in MEASURED:
        shown, found = ([sorted(json.loads(text)) for text in texts] for texts in (shown, found))
    assert shown == found, "make docs"


@pytest.mark.parametrize("name", commands.NAMES)
def test_r031_r032_a_command_uses_the_tables_that_it_says(name: str, examples: dict[str, Any]) -> None:
    command, seen = commands.get(name), examples[name]
    writes = {table.rpartition(".")[2] for table in command.writes}
    reads = {table.rpartition(".")[2] for table in command.reads}
    assert seen.written <= writes
    if not command.acts:  # where it acts, a supervisor looks at all tables
        assert seen.read - INNER <= reads | writes
