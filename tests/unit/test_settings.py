"""crewyard.toml and its environment variables: what is right is taken, what is wrong is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from crewyard.server import settings
from crewyard.server.errors import ConfigurationError
from crewyard.server.settings import Settings
from crewyard.server.workflow_sections import Stage, Worker, Workflows

ROOT = Path(__file__).resolve().parents[2]


def load(root: Path, text: str = "", **environ: str) -> Settings:
    if text:
        (root / "crewyard.toml").write_text(text)
    return settings.load(root, environ)


def test_without_a_file_every_key_has_its_default(tmp_path: Path) -> None:
    loaded = load(tmp_path)

    assert (loaded.crew.integration_branch, loaded.crew.max_parallel, loaded.crew.data_dir) == ("roadmap", 4, "data")
    assert loaded.crew.worktree_path == ".worktrees/implementation_task-{task_id}"
    assert loaded.messages.lease_seconds == 60
    assert loaded.merge.authorized_roles == ["architect"]


def test_the_file_of_the_contract_is_read(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """
        [crew]
        integration_branch = "main"
        max_parallel = 2
        worktree_path = "../worktrees/task-{task_id}"
        profile = "team"
        on_exit = "stop"
        [agents.code_developer]
        kind = "claude"
        max_instances = 4
        timeout_seconds = 3600
        [agents.builder]
        kind = "command"
        command = ["python3", "tools/agent.py", "{prompt_file}"]
        [merge]
        check = ["make", "test"]
        auto_approve = false
        """,
    )

    assert (loaded.crew.max_parallel, loaded.crew.on_exit) == (2, "stop")
    assert loaded.agents["builder"].command == ["python3", "tools/agent.py", "{prompt_file}"]
    assert loaded.agents["code_developer"].timeout_seconds == 3600.0
    assert loaded.merge.auto_approve is False


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "[crew]\nmax_parallel = 2\n",
        CREWYARD_CREW_MAX_PARALLEL="8",
        CREWYARD_CREW_INTEGRATION_BRANCH="2026",
        CREWYARD_MERGE_CHECK='["make", "test"]',
        CREWYARD_MERGE_AUTO_APPROVE="False",
        CREWYARD_MESSAGES_LEASE_SECONDS="2.5",
        CREWYARD_AGENT_ID="not a setting",
    )

    assert (loaded.crew.max_parallel, loaded.crew.integration_branch) == (8, "2026")
    assert (loaded.merge.check, loaded.merge.auto_approve) == (["make", "test"], False)
    assert loaded.messages.lease_seconds == 2.5


WRONG_FILES = {
    "[crew]\nmax_paralel = 2": ("crew.max_paralel", "max_parallel"),
    "[crw]\nmax_parallel = 2": ("crw", "crew"),
    "[agents.builder]\ncomand = ['x']": ("agents.builder.comand", "command"),
    "[merge]\nchek = ['make']": ("merge.chek", "check"),
    "[merge]\nqqq = 1": ("merge.qqq", "auto_approve"),
    "crew = 3": ("crew", "docs/configuration.md"),
    "[crew]\nmax_parallel = 'four'": ("crew.max_parallel", "docs/configuration.md"),
    "[crew]\nmax_parallel = '4'": ("crew.max_parallel", "docs/configuration.md"),
    "[crew]\nmax_parallel = true": ("crew.max_parallel", "docs/configuration.md"),
    "[crew]\nmax_parallel = 0": ("crew.max_parallel", "docs/configuration.md"),
    "[crew]\nmax_parallel = 1.5": ("crew.max_parallel", "docs/configuration.md"),
    "[crew]\nprofile = 'fast'": ("crew.profile", "Known here: task, team"),
    "[crew]\ngrace_period_seconds = -1": ("crew.grace_period_seconds", "docs/configuration.md"),
    "[crew]\ngrace_period_seconds = inf": ("crew.grace_period_seconds", "docs/configuration.md"),
    "[crew]\nrestart_backoff_seconds = 1e300": ("crew.restart_backoff_seconds", "docs/configuration.md"),
    "[crew]\nworktree_path = 'w'": ("crew.worktree_path", "docs/configuration.md"),
    "[crew]\nbranch_name = 'a b-{task_id}'": ("crew.branch_name", "docs/configuration.md"),
    "[crew]\nintegration_branch = '-x'": ("crew.integration_branch", "docs/configuration.md"),
    "[crew]\ndata_dir = '/var/x'": ("crew.data_dir", "docs/configuration.md"),
    "[crew]\ndata_dir = '../x'": ("crew.data_dir", "docs/configuration.md"),
    "[crew]\ndata_dir = ''": ("crew.data_dir", "docs/configuration.md"),
    "[agents.builder]\nkind = 'command'": ("agents.builder", "docs/configuration.md"),
    "[agents.builder]\nkind = 'claude'\ncommand = ['x']": ("agents.builder", "docs/configuration.md"),
    "[agents.builder]\nkind = 'cmd'": ("agents.builder.kind", "'command'"),
    "[agents.builder]\nkind = 'cladue'": ("agents.builder.kind", "'claude'"),
    "[agents.builder]\nkind = 'claude'\npermissions = 'all'": ("agents.builder.permissions", "read, edit, run"),
    "[agents.builder]\nkind = 'claude'\nprogram = ''": ("agents.builder.program", "docs/configuration.md"),
    "[agents.builder]\nkind = 'claude'\nmodel = ''": ("agents.builder.model", "docs/configuration.md"),
    "[agents.builder]\nkind = 'claude'\nallow = 'Bash'": ("agents.builder.allow", '["a", "b"]'),
    "[agents.builder]\nkind = 'claude'\narguments = ['-x', 3]": ("agents.builder.arguments.1", "docs/configuration.md"),
    "[agents.builder]\ncommand = ['x']\nmodel = 'y'": ("takes no model", "docs/configuration.md"),
    "[agents.builder]\nkind = 'scripted'\nallow = ['y']": ("takes no allow", "docs/configuration.md"),
    "[agents.builder]\ncommand = 'make test'": ("agents.builder.command", '["a", "b"]'),
    "[agents.builder]\ncommand = ['make', 3]": ("agents.builder.command.1", "docs/configuration.md"),
    "[agents.'two words']\nkind = 'claude'": ("two words", "docs/configuration.md"),
    "[messages]\nlease_seconds = 0": ("messages.lease_seconds", "docs/configuration.md"),
    "[messages]\nredelivery_seconds = 30": ("messages.redelivery_seconds", '["a", "b"]'),
    "[messages]\nredelivery_seconds = [30, -1]": ("messages.redelivery_seconds.1", "docs/configuration.md"),
    "[messages]\ncount_first_attempt = 'no'": ("messages.count_first_attempt", "docs/configuration.md"),
    "[messages]\nexpire_after_hours = 0": ("messages.expire_after_hours", "docs/configuration.md"),
    "[messages]\nretention_days = 0": ("messages.retention_days", "docs/configuration.md"),
    "[messages]\nmax_queue = 0": ("messages.max_queue", "docs/configuration.md"),
    "[worktree]\npool = -1": ("worktree.pool", "docs/configuration.md"),
    "[worktree]\nkeep_pool = 1": ("worktree.keep_pool", "docs/configuration.md"),
    "[worktree]\nsetup = 'make'": ("worktree.setup", '["a", "b"]'),
    "[worktree]\nsetup_timeout_seconds = 0": ("worktree.setup_timeout_seconds", "docs/configuration.md"),
    "[worktree]\nsparse = ['../x']": ("worktree.sparse", "docs/configuration.md"),
    "[worktree]\nsparse = ['*.md']": ("worktree.sparse", "docs/configuration.md"),
    "[worktree]\nsparse = ['--stdin']": ("worktree.sparse", "docs/configuration.md"),
    "[worktree]\npols = 1": ("worktree.pols", "pool"),
    "[merge]\ncheck_timeout_seconds = 0": ("merge.check_timeout_seconds", "docs/configuration.md"),
    "[merge]\nwaiting_alert_seconds = 0": ("merge.waiting_alert_seconds", "docs/configuration.md"),
    "[merge]\nauthorized_roles = ['an architect']": ("merge.authorized_roles", "docs/configuration.md"),
    "[http]\nallowed_hosts = ['https://example.org']": ("http.allowed_hosts", "docs/configuration.md"),
    "[http]\nallowed_hosts = ['example.org:80']": ("http.allowed_hosts", "docs/configuration.md"),
    "[http]\nallowed_hosts = 'example.org'": ("http.allowed_hosts", '["a", "b"]'),
    "[monitoring]\nfull_hours = 0": ("monitoring.full_hours", "docs/configuration.md"),
    "[monitoring]\nkeep_days = 1e300": ("monitoring.keep_days", "docs/configuration.md"),
    "[monitoring]\nfull_hours = 49": ("monitoring", "docs/configuration.md"),
    "[monitoring]\ndetailed_days = 29": ("monitoring", "docs/configuration.md"),
    "[launch]\nmax_memory_percent = 101": ("launch.max_memory_percent", "docs/configuration.md"),
    "[launch]\nmax_disk_percent = -1": ("launch.max_disk_percent", "docs/configuration.md"),
    "[worktree]\ngc = 'no'": ("worktree.gc", "docs/configuration.md"),
}
STAGE = "[workflows.stages.genesis]\nagent = 'scripted'\n"
WRONG_WORKFLOWS = {
    "[workflows]\n": ("workflows.stages", ""),
    "[workflows]\nstages = {}": ("stages is empty", ""),
    "[workflows.stages.genesis]\n": ("workflows.stages.genesis.agent", ""),
    "[workflows.stages.genesis]\nagent = 'nobody'": ("there is no agent type 'nobody'", ""),
    "[workflows.stages.review]\nagent = 'scripted'": ("'review' is no name for a stage", ""),
    "[workflows.stages.'two words']\nagent = 'scripted'": ("'two words' is no name for a stage", ""),
    f"{STAGE}agnet = 'x'": ("workflows.stages.genesis.agnet", "'agent'"),
    f"{STAGE}min_workers = -1": ("workflows.stages.genesis.min_workers", ""),
    f"{STAGE}min_workers = 4": ("min_workers is above max_workers", ""),
    f"{STAGE}max_workers = 0": ("workflows.stages.genesis.max_workers", ""),
    f"{STAGE}emergency_max = 2": ("emergency_max is below max_workers", ""),
    f"{STAGE}routing = 'random'": ("workflows.stages.genesis.routing", "least_loaded"),
    f"{STAGE}target_per_hour = 0": ("workflows.stages.genesis.target_per_hour", ""),
    f"{STAGE}hands_over = 'deployd'": ("workflows.stages.genesis.hands_over", "'deployed'"),
    f"{STAGE}check = 'make'": ("workflows.stages.genesis.check", '["a", "b"]'),
    f"{STAGE}output = {{ type = 'obj' }}": ("workflows.stages.genesis.output", ""),
    f"{STAGE}[[workflows.stages.genesis.workers]]\nname = 'Genesis-01'": ("is no name for a worker", ""),
    f"{STAGE}[[workflows.stages.genesis.workers]]\nname = 'a'\nnam = 'a'": ("workers.0.nam", "'name'"),
    f"{STAGE}[[workflows.stages.genesis.workers]]\nname = 'a'\nspecialities = ['']": ("specialities", ""),
    f"{STAGE}[[workflows.stages.genesis.workers]]\nname = 'a'\nagent = 'nobody'": ("no agent type 'nobody'", ""),
    f"{STAGE}[[workflows.stages.genesis.workers]]\nname = 'a'\n[[workflows.stages.genesis.workers]]\nname = 'a'": (
        "the worker a is there twice", "",
    ),
    f"{STAGE}[workflows]\nscale_up_dept = 3": ("workflows.scale_up_dept", "'scale_up_depth'"),
    f"{STAGE}[workflows]\nscale_up_depth = 0": ("workflows.scale_up_depth", ""),
    f"{STAGE}[workflows]\nscale_down_depth = -1": ("workflows.scale_down_depth", ""),
    f"{STAGE}[workflows]\nscale_up_utilisation = 101": ("workflows.scale_up_utilisation", ""),
    f"{STAGE}[workflows]\nscale_down_utilisation = 80": ("scale_down_utilisation is not below", ""),
    f"{STAGE}[workflows]\nwatch_seconds = 0": ("workflows.watch_seconds", ""),
    f"{STAGE}[workflows]\npeak_hours = [24]": ("workflows.peak_hours.0", ""),
    f"{STAGE}[workflows]\nrouting = 'nearst'": ("workflows.routing", "'nearest'"),
    f"{STAGE}[workflows]\nroutes = {{ web = 'dev-09' }}": ("routes names 'dev-09'", ""),
    f"{STAGE}[workflows]\nshared_state = '/var/x'": ("workflows", ""),
    f"{STAGE}[workflows]\nshared_state = 'x/.GIT/y'": ("lies in git's own folder", ""),
    f"{STAGE}[workflows]\nadministrators = 'lead'": ("workflows.administrators", '["a", "b"]'),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG_WORKFLOWS, ids=lambda text: text.replace("\n", " "))
def test_what_is_wrong_in_the_workflows_is_named_with_its_cure(tmp_path: Path, text: str) -> None:
    key, cure = WRONG_WORKFLOWS[text]

    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)

    assert str(tmp_path / "crewyard.toml") in caught.value.message
    assert key in caught.value.message
    assert cure in caught.value.hint


@pytest.mark.parametrize("text", WRONG_FILES, ids=lambda text: text.replace("\n", " "))
def test_what_is_wrong_in_the_file_is_named_with_its_cure(tmp_path: Path, text: str) -> None:
    key, cure = WRONG_FILES[text]

    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)

    assert str(tmp_path / "crewyard.toml") in caught.value.message
    assert key in caught.value.message
    assert cure in caught.value.hint
    assert caught.value.code == "invalid_input"


WRONG_VARIABLES = {
    "CREWYARD_CREW_MAX_PARALLEL": ("four", "docs/configuration.md"),
    "CREWYARD_CREW_MAX_PARALEL": ("4", "CREWYARD_CREW_MAX_PARALLEL"),
    "CREWYARD_CREW_PROFILE": ("fast", "task, team"),
    "CREWYARD_CREW_DATA_DIR": ("/var/x", "docs/configuration.md"),
    "CREWYARD_CREW_BRANCH_NAME": ("no task", "docs/configuration.md"),
    "CREWYARD_MERGE_CHECK": ("make test", '["a", "b"]'),
    "CREWYARD_MERGE_UNION": ('["a"', '["a", "b"]'),
    "CREWYARD_MERGE_AUTO_APPROVE": ("perhaps", "docs/configuration.md"),
    "CREWYARD_MESSAGES_LEASE_SECONDS": ("", "docs/configuration.md"),
    "CREWYARD_PLANS_SUBTASK": ("auto", "CREWYARD_PLANS_SUBTASKS"),
}


@pytest.mark.parametrize("variable", WRONG_VARIABLES)
def test_what_is_wrong_in_the_environment_is_named_with_its_cure(tmp_path: Path, variable: str) -> None:
    value, cure = WRONG_VARIABLES[variable]

    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, "[crew]\nmax_parallel = 3\n", **{variable: value})

    assert variable in caught.value.message
    assert cure in caught.value.hint


@pytest.mark.parametrize("broken", [b"[crew\n", b"\xff\xfe", b"[crew]\nmax_parallel = 1\nmax_parallel = 2\n"])
def test_broken_toml_is_told_with_its_file(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "crewyard.toml").write_bytes(broken)

    with pytest.raises(ConfigurationError, match=r"crewyard\.toml"):
        settings.load(tmp_path, {})


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "crewyard.toml").mkdir()

    with pytest.raises(ConfigurationError, match=r"crewyard\.toml cannot be read"):
        settings.load(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "backoff"),
    [
        ("", (2.0, 120.0)),
        ("profile = 'team'", (60.0, 240.0)),
        ("restart_backoff_seconds = 0.1", (0.1, 120.0)),
        ("profile = 'team'\nrestart_backoff_cap_seconds = 0", (60.0, 0.0)),
    ],
)
def test_the_profile_gives_the_delays_and_a_key_of_its_own_comes_before(
    tmp_path: Path, text: str, backoff: tuple[float, float]
) -> None:
    assert load(tmp_path, f"[crew]\n{text}\n").backoff == backoff


@pytest.mark.parametrize(
    ("agents", "default"),
    [
        ((), "code_developer"),
        (("builder",), "builder"),
        (("builder", "tester"), "code_developer"),
        (("code_developer", "builder"), "code_developer"),
    ],
)
def test_a_task_without_an_agent_gets_the_default_or_the_only_one(
    tmp_path: Path, agents: tuple[str, ...], default: str
) -> None:
    text = "".join(f"[agents.{name}]\nkind = 'scripted'\n" for name in agents)

    assert load(tmp_path, text).default_agent == default


def test_every_setting_has_a_variable_and_a_description() -> None:
    tables = {"agents": settings.Agent, "workflows": Workflows, "stages": Stage, "workers": Worker}
    for section, model in {**settings.sections(), **tables}.items():
        for key, field in model.model_fields.items():
            assert field.description, f"{section}.{key}"
            assert section in tables or f"CREWYARD_{section}_{key}".upper() in settings.variables()


def test_the_document_of_all_settings_is_current() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_configuration.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert made.returncode == 0, made.stderr
