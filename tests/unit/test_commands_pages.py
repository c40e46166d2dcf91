"""The set of commands, what each says of itself, and its page (R-027 to R-040)."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import crewyard
from crewyard.server import commands, migrate
from crewyard.server.store import Store

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "commands"
RULES = {
    "find-available-work": "014 015", "create-parallel-tasks": "014 015", "coordinate-dependencies": "014 015",
    "spawn-agent-session": "000 014", "auto-restart-agent": "000 014", "create-worktree": "013 014",
    "merge-completed-work": "013 014", "cleanup-worktrees": "013 014",
}  # fmt: skip
SECTIONS = ("Parameters", "Queries", "Examples", "Success criteria", "Errors", "Related commands")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "make_commands.py"))


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", commands.NAMES)
def test_r027_r028_each_command_tells_what_it_is_and_which_rules_it_keeps(name: str) -> None:
    command = commands.get(name)
    assert command.action == name.replace("-", "_")
    assert len(command.purpose) > 20
    assert set(RULES.get(name, "014").split()) <= {rule.removeprefix("CFR-") for rule in command.rules}
    text = page(name)
    assert f"orchestrator.{command.action}" in text
    for table in (*command.reads, *command.writes):
        assert f"`{table}`" in text


@pytest.mark.parametrize("name", commands.NAMES)
def test_r029_each_page_has_its_sections_examples_and_cross_references(name: str) -> None:
    text, command = page(name), commands.get(name)
    assert [title for title in SECTIONS if f"\n## {title}\n" not in text] == []
    assert text.count("```json") == len(command.examples) >= 2
    assert {commands.get(other).name for other in command.related} == set(command.related)
    for link in re.findall(r"\]\(([\w-]+\.md)\)", text):
        assert (PAGES / link).exists()
    for each in commands.parameters_of(command):
        assert f"| `{each.key}` |" in text
        assert each.meaning, each.key


def test_r030_one_file_for_each_command() -> None:
    files = {path.stem for path in (ROOT / "server" / "commands").glob("*.py")}
    assert files - {"__init__", "base", "described"} == {name.replace("-", "_") for name in commands.NAMES}


def test_r031_r032_the_tables_of_the_documents_are_those_that_commands_use(store: Store) -> None:
    known = {row[0] for row in store.read(lambda tx: tx.all("SELECT name FROM sqlite_schema"))}
    known |= {"metrics.metrics"}
    found = [commands.get(name) for name in commands.NAMES]
    read = {table for command in found for table in command.reads}
    written = {table for command in found for table in command.writes}
    assert read | written <= known
    assert {"agent_lifecycle", "orchestrator_task", "agent_message"} <= written
    assert {"specs_specification", "specs_task", "specs_task_dependency", "agent_lifecycle"} <= read
    assert migrate.VERSION


def test_r033_the_pages_are_what_the_code_makes(script: dict[str, Any], tmp_path: Path) -> None:
    made = script["pages"](None, tmp_path)
    assert set(made) == {path.name for path in PAGES.iterdir()}
    for name, text in made.items():
        assert (PAGES / name).read_text(encoding="utf-8") == text, f"{name}: make docs"


@pytest.mark.parametrize("name", commands.NAMES)
def test_r037_each_command_takes_the_orchestrators_instance(name: str) -> None:
    assert "ORCHESTRATOR_INSTANCE_ID" in [each.key for each in commands.parameters_of(commands.get(name))]


@pytest.mark.parametrize("name", ["ClaudeAgentInvoker", "MessageQueue"])
def test_r038_the_documents_names_can_be_imported(name: str) -> None:
    assert callable(getattr(crewyard, name))


def test_r039_the_documents_lead_to_the_commands_and_their_tests() -> None:
    assert "docs/commands/README.md" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "commands/README.md" in (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
