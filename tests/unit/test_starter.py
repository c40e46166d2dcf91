"""``crewyard init`` writes a configuration that holds every setting and that works as it stands."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from crewyard.server import kinds, settings, starter
from crewyard.server.errors import InvalidInput


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty PATH; a test puts into it what is to be found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def test_what_it_writes_changes_no_default(tmp_path: Path, no_programs: Path) -> None:
    starter.write(tmp_path)

    assert settings.load(tmp_path, {}) == settings.Settings()


@pytest.mark.parametrize("program", starter.PROGRAMS)
def test_the_agent_is_the_program_that_is_there_and_could_be_started(
    tmp_path: Path, no_programs: Path, program: str
) -> None:
    put(no_programs, program)
    said = starter.write(tmp_path)

    loaded = settings.load(tmp_path, {})
    agent = loaded.agents["code_developer"]
    assert loaded.default_agent == "code_developer"
    assert agent.command == list(starter.PROGRAMS[program])
    assert "{prompt}" in agent.command
    kinds.of("code_developer", agent.kind).preflight("code_developer", agent, tmp_path)
    assert f"Agents will be {program}" in said


def test_no_agent_is_given_rights_without_limits(no_programs: Path) -> None:
    words = " ".join(word for command in starter.PROGRAMS.values() for word in command)

    assert not re.search(r"skip-permissions|bypass|danger|yolo|full-auto", words)


def test_every_setting_is_in_it_with_its_default_and_its_description(tmp_path: Path, no_programs: Path) -> None:
    text = starter.text(None)
    tables = {**settings.sections(), "agents.code_developer": settings.Agent}
    for section, model in tables.items():
        table = text.split(f"[{section}]\n")[1].split("# ----")[0]
        for name, field in model.model_fields.items():
            if name in ("kind", "command"):  # shown as a person would set them
                continue
            default = field.get_default(call_default_factory=True)
            line = f"# {name} =    # unset" if default is None else f"# {name} = {json.dumps(default)}"
            assert line in table.splitlines()
            assert " ".join((field.description or "").split()) in " ".join(table.replace("\n# ", " ").split())


def test_each_line_may_be_made_active_as_it_stands(no_programs: Path) -> None:
    lines = starter.text(None).splitlines()
    active = [re.sub(r"^# (?=\w+ = |\[)", "", line) for line in lines if not line.endswith("# unset")]

    loaded = settings.Settings.model_validate(tomllib.loads("\n".join(active)))
    assert loaded.agents["code_developer"].command[0] == "claude"


def test_a_configuration_that_is_there_is_left_as_it_is(tmp_path: Path, no_programs: Path) -> None:
    (tmp_path / "crewyard.toml").write_text("[crew]\nmax_parallel = 2\n")
    with pytest.raises(InvalidInput, match="is there already") as refused:
        starter.write(tmp_path)

    assert refused.value.hint
    assert (tmp_path / "crewyard.toml").read_text() == "[crew]\nmax_parallel = 2\n"


def test_it_says_what_to_do_next(tmp_path: Path, no_programs: Path) -> None:
    said = starter.write(tmp_path)

    assert "claude mcp add crewyard -- crewyard serve" in said
    assert "crewyard run PLAN.md" in said
    assert "No agent program was found" in said
