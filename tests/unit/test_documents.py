"""The documents say what the code does."""

import re
import tomllib
import typing
from pathlib import Path

import documents
import pytest
from documents import ENDLESS, NOT_RUN, OUTPUT, PAGES, SHELL

from crewyard import tools
from crewyard.server import kinds, readers, settings, states
from crewyard.server.states import Machine

from .tool_calls import fault_of_typed

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
MODULES = sorted(path.stem for path in (ROOT / "server").glob("*.py") if path.stem != "__init__")


LANGUAGES = {SHELL, "text", "json", "jsonl", "toml", "yaml", "markdown", "mermaid", "python", "sql"}
COMMAND_PAGES = sorted((ROOT / "docs" / "commands").glob("*.md"))


def blocks(language: str, document: str) -> list[str]:
    return re.findall(rf"^```{language}\b[^\n]*\n(.*?)^```", document, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("machine", states.MACHINES, ids=lambda machine: machine.subject)
def test_each_state_diagram_is_the_machine_of_the_code(machine: Machine) -> None:
    [diagram] = blocks(
        "mermaid", ARCHITECTURE.split(f"\n### {machine.subject}: `{machine.table}`\n")[1].split("\n##")[0]
    )
    drawn = re.findall(r"^  (\S+) --> (\S+)$", diagram, re.MULTILINE)

    moves = {(have, want) for have, wants in machine.moves.items() for want in wants}
    assert {(have, want) for have, want in drawn if "[*]" not in (have, want)} == moves
    assert {have for have, want in drawn if want == "[*]"} == {
        have for have, wants in machine.moves.items() if not wants
    }
    assert len(drawn) == len(set(drawn))


@pytest.mark.parametrize("module", MODULES)
def test_each_module_has_its_place_in_the_architecture(module: str) -> None:
    table = ARCHITECTURE.split("\n## Modules\n")[1].split("\n## ")[0]

    assert f"`{module}`" in table


def test_the_architecture_names_no_module_that_is_not_there() -> None:
    table = ARCHITECTURE.split("| --- | --- |\n")[1].split("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`([a-z_]+)`", row.split("|")[2])}

    assert named - {"run", "init", "status"} <= set(MODULES)


def test_the_readmes_table_of_tools_is_what_the_lead_sees() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*)\|", README, re.MULTILINE))
    actions = {
        tool.name: set(tool.parameters["properties"].get("action", {}).get("enum", ())) for tool in tools.for_lead()
    }

    assert {name: set(re.findall(r"`(\w+)`", text)) for name, text in rows.items()} == actions


def test_the_readme_names_the_workers_tools() -> None:
    sentence = " ".join(README.split()).split("has four tools: ")[1].split(". The")[0]

    assert set(re.findall(r"`(\w+)`", sentence)) == {tool.name for tool in tools.for_worker()}


def test_the_readmes_configuration_is_accepted() -> None:
    [text] = blocks("toml", README)
    loaded = settings.Settings.model_validate(tomllib.loads(text))

    assert {agent.kind for agent in loaded.agents.values()} <= set(kinds.KINDS)


def test_the_readmes_plan_is_read_without_a_warning() -> None:
    [text] = blocks("markdown", README)
    draft = readers.read_plan(text.encode(), name="README.md")

    assert draft.warnings == ()
    assert [(task.task_id, task.depends_on) for task in draft.tasks] == [("index", ()), ("query", ("index",))]


def test_the_commands_of_the_readme_exist() -> None:
    from crewyard.server import cli

    commands = {
        command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback
    }
    groups = {group.name for group in cli.app.registered_groups}
    named = set(re.findall(r"\bcrewyard ((?!--|add)[a-z]+)\b", "\n".join([*blocks("sh", README), *_spans(README)])))

    assert named - (commands | groups) == {"serve"} - commands
    assert {"run", "init", "status", "logs", "plan"} <= named


def test_the_commands_that_may_end_with_one_are_those_that_say_so() -> None:
    """``run`` has a table of its own."""
    from crewyard.server import cli

    table = README.split("| Command | ends with 1 where |")[1].split("\n\n")[0]
    said = {
        command.name or command.callback.__name__
        for command in cli.app.registered_commands
        if command.callback and re.search(r"\b1\s+(when|where)\b", command.callback.__doc__ or "")
    }

    assert set(re.findall(r"^\| `crewyard ([a-z]+)` \|", table, re.MULTILINE)) == said - {"run"}


def test_every_target_of_make_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"\bmake ([a-z-]+)", "\n".join([*blocks("sh", README), *_spans(README)]))) <= targets


def test_the_example_of_the_demonstration_is_a_plan_without_warnings() -> None:
    text = (ROOT / "server" / "demonstration" / "plan.md").read_bytes()

    assert readers.read_plan(text, name="plan.md").warnings == ()


def _spans(document: str) -> list[str]:
    return typing.cast("list[str]", re.findall(r"`([^`\n]+)`", document))


@pytest.mark.parametrize(("document", "most"), [("reliability.md", 30), ("security.md", 20)])
def test_each_test_that_a_document_names_as_its_proof_is_there(document: str, most: int) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / document).read_text()))
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)\(", written, re.MULTILINE))

    assert len(named) > most
    assert named - there == set()


@pytest.mark.parametrize("page", [*PAGES, *COMMAND_PAGES], ids=lambda page: page.name)
def test_each_block_says_what_it_is_so_that_no_command_is_left_untried(page: Path) -> None:
    """What tests/system/test_docs.py runs is whatever is `sh`, but for what a mark says is needed."""
    for block in documents.blocks(page):
        marks = set(block.marks) - {block.file}
        assert block.language in LANGUAGES, f"{block.where}: {block.language or 'no language'}"
        assert marks <= ({*NOT_RUN, ENDLESS} if block.language == SHELL else {OUTPUT}), f"{block.where}: {marks}"
        assert block.language != "text" or not re.search(r"(?m)^\s*\$ |^crewyard ", block.text), (
            f"{block.where}: use sh"
        )


@pytest.mark.parametrize("page", [*PAGES, *COMMAND_PAGES], ids=lambda page: page.name)
def test_each_command_that_a_document_names_can_be_typed(page: Path) -> None:
    """Also those that are not run: in marked blocks, and within sentences and tables."""
    whole = {line for block in documents.blocks(page) if block.language == SHELL for line in block.lines}
    named = {span for span in documents.spans(page) if "…" not in span and "NAME" not in span}
    faults = {
        line: fault_of_typed(re.split(r" [>|&;]", line)[0]) for line in whole | named if re.match("crewyard ", line)
    }

    may_be_short = re.compile(r"Missing argument|Missing parameter|requires an argument| needs ")
    assert [
        fault for line, fault in faults.items() if fault and (line in whole or not may_be_short.search(fault))
    ] == []


@pytest.mark.parametrize("page", [*PAGES, *COMMAND_PAGES], ids=lambda page: page.name)
def test_each_link_to_a_heading_leads_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", page.read_text()):
        there = (page.parent / target).resolve() if target else page
        assert anchor in documents.headings(there), f"{page.name}: {target}#{anchor}"


def test_each_page_of_documents_is_in_the_readmes_index() -> None:
    index = README.split("\n## Documents\n")[1]

    assert {path.name for path in (ROOT / "docs").glob("*.md")} - set(re.findall(r"docs/([\w-]+\.md)", index)) == set()
