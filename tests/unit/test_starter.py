"""``crewyard init`` writes a configuration that holds every setting and that works as it stands."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from crewyard.server import kinds, settings, starter, usual_checks
from crewyard.server.errors import ConfigurationError, GitError, InvalidInput
from crewyard.server.repository import Repository


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH with git alone; a test puts into it what is to be found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in ("/usr/bin/git", "/usr/local/bin/git", "/opt/homebrew/bin/git"):
        if Path(place).exists() and not (folder / "git").exists():
            (folder / "git").symlink_to(place)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def init(repo: Path) -> str:
    return starter.begin(Repository.discover(repo))


def test_what_it_writes_changes_no_default(git_repo: Path, no_programs: Path) -> None:
    init(git_repo)

    assert settings.load(git_repo, {}) == settings.Settings()


@pytest.mark.parametrize("kind", kinds.programs())
def test_the_agent_is_the_program_that_is_there_and_could_be_started(
    git_repo: Path, no_programs: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = kinds.programs()[kind]
    put(no_programs, program.name)
    monkeypatch.setenv(program.keys[0], "a key")
    said = init(git_repo)

    loaded = settings.load(git_repo, {})
    agent = loaded.agents["code_developer"]
    assert (loaded.default_agent, agent) == ("code_developer", settings.Agent.model_validate({"kind": kind}))
    kinds.of("code_developer", agent.kind).preflight("code_developer", agent, git_repo)
    assert f"Agents will be {kind}" in said


def test_each_further_program_is_a_type_of_its_own_and_none_is_chosen_in_place_of_the_first(
    git_repo: Path, no_programs: Path
) -> None:
    for program in kinds.programs().values():
        put(no_programs, program.name)
    init(git_repo)

    first, *others = kinds.programs()
    loaded = settings.load(git_repo, {})
    assert {name: agent.kind for name, agent in loaded.agents.items()} == {
        "code_developer": first,
        **{name: name for name in others},
    }
    assert loaded.default_agent == "code_developer"


def test_no_agent_is_given_rights_without_limits(git_repo: Path, no_programs: Path) -> None:
    for program in kinds.programs().values():
        put(no_programs, program.name)
    init(git_repo)

    for agent in settings.load(git_repo, {}).agents.values():
        assert (agent.permissions, agent.allow, agent.arguments) == (None, [], [])


def test_every_setting_is_in_it_with_its_default_and_its_description() -> None:
    text = starter.text([], None)
    tables = {**settings.sections(), "agents.code_developer": settings.Agent}
    for section, model in tables.items():
        table = text.split(f"[{section}]\n")[1].split("# ----")[0]
        for name, field in model.model_fields.items():
            if (section, name) == ("agents.code_developer", "kind"):  # shown as a person would set it
                continue
            default = field.get_default(call_default_factory=True)
            line = f"# {name} =    # unset" if default is None else f"# {name} = {json.dumps(default)}"
            assert line in table.splitlines()
            assert " ".join((field.description or "").split()) in " ".join(table.replace("\n# ", " ").split())


def test_each_line_may_be_made_active_as_it_stands() -> None:
    usual = usual_checks.Usual("a sign", ["make", "test"], ["make", "ready"])
    for found in ([], list(kinds.programs())):
        lines = starter.text(found, usual).splitlines()
        active = [re.sub(r"^# (?=\w+ = |\[)", "", line) for line in lines if not line.endswith("# unset")]

        loaded = settings.Settings.model_validate(tomllib.loads("\n".join(active)))
        assert loaded.agents["code_developer"].kind == "claude"


def test_a_configuration_that_is_there_is_left_as_it_is_and_the_rest_is_done(git_repo: Path, no_programs: Path) -> None:
    (git_repo / "crewyard.toml").write_text('[crew]\ndata_dir = "kept"\n')
    said = init(git_repo)

    assert (git_repo / "crewyard.toml").read_text() == '[crew]\ndata_dir = "kept"\n'
    assert "was left as it is" in said
    assert "See whether all is ready:" in said
    assert "/kept/crewyard/" in (git_repo / ".git/info/exclude").read_text().splitlines()


def test_a_configuration_without_agents_is_told_the_tables_that_it_lacks(git_repo: Path, no_programs: Path) -> None:
    put(no_programs, "claude")
    put(no_programs, "codex")
    file = git_repo / "crewyard.toml"
    file.write_text("[merge]\nauto_approve = false\n")
    said = init(git_repo)
    tables = said[said.index("[agents.") :].split("\n\n")[0]
    file.write_text(file.read_text() + tables)
    agents = settings.load(git_repo, {}).agents
    assert {name: agent.kind for name, agent in agents.items()} == {"code_developer": "claude", "codex": "codex"}
    assert "put this at its end" not in init(git_repo)


def test_a_link_that_leads_nowhere_is_no_configuration(git_repo: Path, no_programs: Path) -> None:
    (git_repo / "crewyard.toml").symlink_to("missing.toml")
    with pytest.raises(InvalidInput, match="leads nowhere"):
        init(git_repo)


def test_a_configuration_that_is_there_and_wrong_is_refused(git_repo: Path, no_programs: Path) -> None:
    (git_repo / "crewyard.toml").write_text("[crew]\nmax_paralel = 2\n")
    with pytest.raises(ConfigurationError, match="max_paralel"):
        init(git_repo)


def test_our_files_are_kept_out_of_git_once_and_no_branch_is_made(
    git_repo: Path, no_programs: Path, git: Callable[..., str]
) -> None:
    init(git_repo)
    init(git_repo)
    (git_repo / ".worktrees" / "x").mkdir(parents=True)
    (git_repo / ".worktrees" / "x" / "file").touch()

    lines = (git_repo / ".git/info/exclude").read_text().splitlines()
    assert lines.count("/.worktrees/") == 1
    assert git(git_repo, "status", "--porcelain").split() == ["??", "crewyard.toml"]
    assert git(git_repo, "branch", "--format=%(refname:short)").split() == ["main"]


def test_outside_of_a_repository_it_says_what_to_do_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(GitError) as refused:
        init(tmp_path)

    assert "git init" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_it_names_the_line_for_each_client_that_is_there_and_the_next_steps(git_repo: Path, no_programs: Path) -> None:
    said = init(git_repo)
    assert "No agent program was found" in said
    assert "run PLAN.md --agent scripted" in said
    assert not [line for line in ("doctor --try", "mcp add") if line in said], "what cannot work yet"
    (git_repo / "crewyard.toml").unlink()

    put(no_programs, "crewyard")
    for program in kinds.programs().values():
        put(no_programs, program.name)
    said = init(git_repo)
    assert said.count(" mcp add crewyard") == len(kinds.programs())
    assert "claude mcp add crewyard -- crewyard serve" in said
    assert [name for name in kinds.programs() if f"from {name}, in every folder:" in said] == ["codex", "opencode"]
    assert "run PLAN.md\n" in said
    assert "doctor --try" in said


# ------------------------------------------------------------------------------------ how its tests are called


@pytest.mark.parametrize(
    ("files", "check", "setup"),
    [
        ({"Makefile": "all: x\n\ntest: all\n\ttrue\n"}, ["make", "test"], []),
        ({"Makefile": "test := 1\nlatest:\n"}, None, []),
        ({"package.json": '{"scripts": {"test": "vitest"}}', "package-lock.json": ""}, ["npm", "test"], ["npm", "ci"]),
        ({"package.json": '{"scripts": {"test": "vitest"}}', "pnpm-lock.yaml": ""}, ["pnpm", "test"],
         ["pnpm", "install"]),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, None, []),
        ({"package.json": '{"scripts": [', "go.mod": "module x"}, ["go", "test", "./..."], []),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, ["python3", "-m", "pytest"], []),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n", "uv.lock": ""}, ["uv", "run", "pytest"], []),
        ({"pyproject.toml": "[project]\n"}, None, []),
        ({"pyproject.toml": "[tool\n", "pytest.ini": ""}, ["python3", "-m", "pytest"], []),
        ({"Cargo.toml": ""}, ["cargo", "test"], []),
        ({"Cargo.toml": "", "Makefile": "test:\n"}, ["make", "test"], []),
        ({"package.json": "[1]", "README": ""}, None, []),
    ],
)  # fmt: skip
def test_the_check_that_suits_the_project_is_proposed_in_a_remark(
    tmp_path: Path, files: dict[str, str], check: list[str] | None, setup: list[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    usual = usual_checks.of(tmp_path)

    assert (usual and (usual.check, usual.setup)) == (check and (check, setup))
    text = " ".join(starter.text([], usual).replace("\n# ", " ").split())
    assert (f"most likely: check = {json.dumps(check)}" in text) == (check is not None)
    assert settings.Settings.model_validate(tomllib.loads(starter.text([], usual))).merge.check == []


def test_r250_r251_r252_r256_r257_r258_r259_workflows_are_those_of_document_003(
    git_repo: Path, no_programs: Path
) -> None:
    put(no_programs, "claude")
    starter.begin(Repository.discover(git_repo), workflows=True)

    found = settings.load(git_repo, {}).workflows
    assert found is not None
    stages = found.stages
    assert {name: (stage.min_workers, stage.max_workers) for name, stage in stages.items()} == {
        "genesis": (2, 3), "development": (3, 5), "content": (2, 3),
    }  # fmt: skip
    assert {name: (stage.target_per_hour, stage.per_worker) for name, stage in stages.items()} == {
        "genesis": (8, False), "development": (3, True), "content": (5, False),
    }  # fmt: skip
    assert [worker.name for stage in stages.values() for worker in stage.workers] == [
        *(f"genesis-0{number}" for number in (1, 2, 3)),
        *(f"dev-0{number}" for number in range(1, 6)),
        *(f"content-0{number}" for number in (1, 2, 3)),
    ]
    assert {stage.agent for stage in stages.values()} == {"code_developer"}
    assert stages["development"].hands_over == "deployed"
    assert found.max_hours == 6


def test_workflows_without_an_agent_program_are_simulated(git_repo: Path, no_programs: Path) -> None:
    starter.begin(Repository.discover(git_repo), workflows=True)

    found = settings.load(git_repo, {}).workflows
    assert found is not None
    assert {stage.agent for stage in found.stages.values()} == {"scripted"}


def test_a_configuration_that_is_there_is_told_the_workflows_that_it_lacks(git_repo: Path, no_programs: Path) -> None:
    file = git_repo / "crewyard.toml"
    file.write_text('[agents.builder]\nkind = "scripted"\n')
    said = starter.begin(Repository.discover(git_repo), workflows=True)
    tables = said[said.index("[workflows]") : said.index("See whether all is ready")]
    file.write_text(file.read_text() + tables)

    found = settings.load(git_repo, {}).workflows
    assert found is not None
    assert {stage.agent for stage in found.stages.values()} == {"builder"}
    assert "put this at its end" not in starter.begin(Repository.discover(git_repo), workflows=True)


def test_every_setting_of_workflows_may_be_made_active_as_it_stands(git_repo: Path, no_programs: Path) -> None:
    starter.begin(Repository.discover(git_repo), workflows=True)
    lines = (git_repo / "crewyard.toml").read_text().split("[workflows]\n")[1].splitlines()
    active = [re.sub(r"^# (?=\w+ = )", "", line) for line in lines]
    loaded = settings.Settings.model_validate(tomllib.loads("\n".join(["[workflows]", *active])))

    assert loaded == settings.Settings.model_validate({"workflows": settings.load(git_repo, {}).workflows})
