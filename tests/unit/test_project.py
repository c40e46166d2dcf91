"""What the project promises about itself."""

import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import crewyard
from crewyard.server import next_calls, slash_commands

from .tool_calls import fault_of

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("server", "tools", "resources")
LOCKS = ("requirements.lock", "requirements-dev.lock")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_no_module_of_server_hides_one_of_pythons_or_of_a_dependency() -> None:
    """`mcp dev server/app.py` puts server/ first on sys.path: server/queue.py would break anyio."""
    taken = set(sys.stdlib_module_names) | set(packages_distributions())
    ours = {
        path.stem for path in (ROOT / "server").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert (ours - {"__init__"}) & taken == set()


def test_the_folders_a_person_sees_are_the_package() -> None:
    links = {path.name: path for path in (ROOT / "src" / "crewyard").iterdir() if path.name != "__pycache__"}

    assert set(links) == {"__init__.py", "schema.sql", *FOLDERS}
    for name, link in links.items():
        assert link.is_symlink()
        assert link.readlink() == Path("../..") / name
        assert link.resolve() == ROOT / name
    assert Path(crewyard.__file__).resolve() == ROOT / "__init__.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_of_our_own_are_relative(path: Path) -> None:
    """Only the files that are run by their path have no package to be relative to."""
    absolute = re.findall(r"^\s*(?:from|import) crewyard\b.*", path.read_text(), re.MULTILINE)

    assert not absolute or path in (ROOT / "server" / "app.py", ROOT / "server" / "runner" / "__main__.py")


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_exact_versions_with_hashes_and_names_no_place(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))

    assert "://" not in text
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def wanted(requirements: list[object]) -> set[str]:
    names = (re.match(r"[A-Za-z0-9_.-]+", text) for text in requirements if isinstance(text, str))
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in names if match}


def test_the_locks_hold_every_dependency_that_pyproject_names() -> None:
    groups = PYPROJECT["dependency-groups"]
    run = wanted(PYPROJECT["project"]["dependencies"]) | wanted(groups["install"])

    assert run <= locked("requirements.lock").keys()
    assert run | wanted(groups["dev"]) <= locked("requirements-dev.lock").keys()


def test_what_is_tested_is_what_is_installed_to_run() -> None:
    run, dev = locked("requirements.lock"), locked("requirements-dev.lock")

    assert {name: dev.get(name) for name in run} == run


def test_a_client_starts_the_server_from_a_fresh_clone() -> None:
    server = json.loads((ROOT / ".mcp.json").read_text())["mcpServers"]["crewyard"]
    script = server["args"][-1]

    assert server["command"] == "sh"
    assert "venv >&2" in script, "stdout is the protocol's"
    assert script.endswith("exec .venv/bin/crewyard serve"), "signals must reach the server, not a shell"


def test_the_rules_for_contributors_fit_in_one_reading() -> None:
    assert len((ROOT / "AGENTS.md").read_text().splitlines()) < 130


@pytest.mark.parametrize("document", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text())

    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_every_dependency_is_accounted_for() -> None:
    documents = "".join(path.read_text() for path in ROOT.glob("docs/*.md")).lower()

    missing = {name for name in wanted(PYPROJECT["project"]["dependencies"]) if f"`{name}" not in documents}
    assert missing == set()


def test_the_plugin_is_of_the_packages_version_and_brings_each_slash_command() -> None:
    plugin = json.loads((ROOT / "plugin" / ".claude-plugin" / "plugin.json").read_text())
    [offered] = json.loads((ROOT / ".claude-plugin" / "marketplace.json").read_text())["plugins"]

    assert (plugin["name"], plugin["version"]) == ("crewyard", crewyard.__version__)
    assert (ROOT / offered["source"]).resolve() == ROOT / "plugin"
    assert {path.stem for path in (ROOT / "plugin" / "commands").iterdir()} == {
        each.name for each in slash_commands.ALL
    }


@pytest.mark.parametrize("command", slash_commands.ALL, ids=lambda command: command.name)
def test_each_call_that_the_plugin_names_is_one_that_the_tools_take(command: slash_commands.SlashCommand) -> None:
    for call in next_calls.found_in((ROOT / "plugin" / "commands" / f"{command.name}.md").read_text()):
        assert fault_of(call.replace("=ID", "='X'")) is None
