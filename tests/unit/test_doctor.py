"""``crewyard doctor``: each check sees what is wrong, names the cure, and changes nothing."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crewyard.server import clock, doctor, holds, kinds, migrate
from crewyard.server.doctor import Examination, Finding, programs
from crewyard.server.doctor.patient import Patient
from crewyard.server.sections import Agent
from crewyard.server.store import Store, Transaction

WITH_AGENT = '[agents.builder]\ncommand = ["sh", "-c", "true"]\n'


@pytest.fixture
def repo(git_repo: Path) -> Path:
    (git_repo / "crewyard.toml").write_text(WITH_AGENT)
    (git_repo / "data" / "crewyard").mkdir(parents=True, mode=0o700)
    Store(git_repo / "data" / "orchestrator.db").close()
    return git_repo


def of(found: Examination, check: str) -> list[Finding]:
    return [each for each in found.findings if each.check == check]


def only(found: Examination, check: str, state: str) -> Finding:
    [finding] = [each for each in of(found, check) if each.state == state]
    return finding


def all_files(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """What lies there, the files that SQLite keeps beside a database while it is read left out."""
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_a_yard_in_order_has_no_problem_and_no_warning(repo: Path) -> None:
    found = doctor.examine(repo)

    assert [each for each in found.findings if each.state != "ok"] == []
    assert (found.problems, found.warnings, found.as_dict()["status"]) == (0, 0, "ok")
    assert {each.check for each in found.findings} == {name for name, _ in doctor.CHECKS}


@pytest.mark.parametrize("damage", ["nothing", "settings", "database", "old"])
def test_a_look_changes_nothing(repo: Path, damage: str) -> None:
    if damage == "settings":
        (repo / "crewyard.toml").write_text("[crew\n")
    if damage == "database":
        (repo / "data" / "orchestrator.db").write_bytes(b"no database" * 500)
    if damage == "old":
        with closing(sqlite3.connect(repo / "data" / "orchestrator.db")) as connection:
            connection.execute("PRAGMA user_version = 1")
    before = all_files(repo)

    doctor.examine(repo)

    assert all_files(repo) == before


def test_outside_of_a_repository_the_rest_is_looked_at_all_the_same(tmp_path: Path) -> None:
    found = doctor.examine(tmp_path)

    assert "git init" in only(found, "repository", "problem").cure
    assert of(found, "git")[0].state == "ok"
    assert of(found, "memory and disk") != []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[crew]\nmax_parallel = 2\nmax_paralel = 3\n", 3),
        ('[agents.a]\ncommand = ["sh"]\n[agents.b]\nkind = "cod"\n', 4),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(repo: Path, text: str, line: int) -> None:
    (repo / "crewyard.toml").write_text(text)
    finding = only(doctor.examine(repo), "configuration", "problem")

    assert f"(line {line})" in finding.what


def test_broken_toml_is_named_with_its_line_and_the_database_is_looked_at(repo: Path) -> None:
    (repo / "crewyard.toml").write_text("[crew]\nmax_parallel = \n")
    found = doctor.examine(repo)

    assert "line 2" in only(found, "configuration", "problem").what
    assert of(found, "database")[0].state == "ok"


def test_a_file_that_is_no_database_is_a_problem_and_the_rest_is_looked_at(repo: Path) -> None:
    (repo / "data" / "orchestrator.db").write_bytes(b"no database" * 500)
    found = doctor.examine(repo)

    assert "backup" in only(found, "database", "problem").cure
    assert of(found, "agent programs")[0].state == "ok"


def test_a_row_that_names_one_that_is_not_there_is_a_problem(repo: Path) -> None:
    with closing(sqlite3.connect(repo / "data" / "orchestrator.db")) as connection, connection:
        connection.execute("INSERT INTO dispatch_task VALUES ('nobody', 'nothing')")
    finding = only(doctor.examine(repo), "database", "problem")

    assert "dispatch_task names a row of" in finding.what


@pytest.mark.parametrize(("version", "state"), [(migrate.VERSION + 1, "problem"), (migrate.VERSION - 1, "warning")])
def test_a_database_of_another_version_is_told_of_and_left_as_it_is(repo: Path, version: int, state: str) -> None:
    path = repo / "data" / "orchestrator.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")

    assert f"schema {version}" in only(doctor.examine(repo), "database", state).what
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == version


def test_what_others_may_read_is_named_with_the_call_that_closes_it(repo: Path) -> None:
    (repo / "data" / "orchestrator.db").chmod(0o644)
    (repo / "crewyard.toml").chmod(0o666)
    found = doctor.examine(repo)
    told = [each for each in of(found, "rights") if each.state == "warning"]

    assert f"`chmod -R go-rwx -- {repo / 'data' / 'orchestrator.db'}`" == told[0].cure
    assert f"`chmod go-w -- {repo / 'crewyard.toml'}`" == told[1].cure


def test_a_program_that_is_not_there_is_a_problem(repo: Path) -> None:
    (repo / "crewyard.toml").write_text('[agents.builder]\ncommand = ["no-such-program-anywhere"]\n')

    assert "no-such-program-anywhere" in only(doctor.examine(repo), "agent programs", "problem").what


def test_a_missing_program_hinders_only_where_somebody_needs_it(repo: Path, insert: Callable[..., None]) -> None:
    missing = '[agents.builder]\ncommand = ["no-such-program-anywhere"]\n'
    (repo / "crewyard.toml").write_text(f'{missing}[agents.code_developer]\ncommand = ["true"]\n')
    assert "no-such-program" in only(doctor.examine(repo), "agent programs", "warning").what

    with closing(Store(repo / "data" / "orchestrator.db")) as store:
        now = clock.now()
        open_task = {"task_id": "A", "title": "A", "agent_type": "builder", "created_at": now, "updated_at": now}
        store.run(lambda tx: insert(tx, "specs_task", **open_task))
    assert "no-such-program" in only(doctor.examine(repo), "agent programs", "problem").what


def test_uncommitted_changes_that_agents_would_not_see_are_a_problem(repo: Path, git: Callable[..., str]) -> None:
    tracked = git(repo, "ls-files").splitlines()[0]
    (repo / tracked).write_text("changed\n")

    assert tracked in only(doctor.examine(repo), "integration branch", "problem").what


def test_a_merge_that_was_left_half_done_is_a_problem(repo: Path) -> None:
    (repo / ".git" / "MERGE_HEAD").write_text("0" * 40 + "\n")

    assert only(doctor.examine(repo), "repository", "problem").cure.endswith("`git merge --abort`.")


def test_work_that_nobody_supervises_is_a_warning(repo: Path) -> None:
    store = Store(repo / "data" / "orchestrator.db")
    store.run(
        lambda tx: tx.run(
            "INSERT INTO dispatch (dispatch_id, scope_key, max_parallel, created_by, created_at) "
            "VALUES ('d', 'k', 1, 'x', ?)",
            (clock.now(),),
        )
    )
    store.close()

    assert "crewyard start" in only(doctor.examine(repo), "supervision", "warning").cure


def test_a_type_of_agent_that_is_not_logged_in_is_a_problem_with_what_it_says(repo: Path) -> None:
    store = Store(repo / "data" / "orchestrator.db")
    message = "agents of type builder are not logged in, their program says: Please run /login. Call `claude`"
    store.run(
        holds.hold, "builder", "failed_starts", message, until=clock.plus(clock.now(), 60), now=clock.now(), actor="x"
    )
    store.close()

    found = only(doctor.examine(repo), "launches", "problem")
    assert "Please run /login" in found.what
    assert "crewyard run" in found.cure


def test_a_branch_that_is_gone_is_a_problem_only_where_head_lacks_what_was_merged(
    repo: Path, git: Callable[..., str], insert: Callable[..., None]
) -> None:
    git(repo, "checkout", "-q", "--detach")
    git(repo, "commit", "-q", "--allow-empty", "-m", "merged")
    merged = git(repo, "rev-parse", "HEAD").strip()
    store = Store(repo / "data" / "orchestrator.db")
    now = clock.now()

    def merge(tx: Transaction) -> None:
        insert(tx, "specs_task", task_id="A", title="A", created_at=now, updated_at=now)
        insert(tx, "orchestrator_task", orchestrator_task_id="o", task_id="A", agent_type="builder", status="merged",
               priority=5, assigned_at=now, created_at=now)  # fmt: skip
        insert(tx, "merge_request", task_id="A", orchestrator_task_id="o", branch_name="b", target_branch="roadmap",
               head_commit=merged, status="merged", merge_commit=merged, created_at=now, ended_at=now)  # fmt: skip

    store.run(merge)
    store.close()
    assert "HEAD has all" in only(doctor.examine(repo), "integration branch", "ok").what
    git(repo, "checkout", "-q", "main")
    assert only(doctor.examine(repo), "integration branch", "problem").cure.startswith(f"`git branch roadmap {merged}`")


def test_a_worktree_that_somebody_removed_is_told_of(repo: Path, insert: Callable[..., None]) -> None:
    store = Store(repo / "data" / "orchestrator.db")
    now = clock.now()

    def lost(tx: Transaction) -> None:
        insert(tx, "specs_task", task_id="A", title="A", created_at=now, updated_at=now)
        insert(tx, "git_worktree_tracker", task_id="A", branch_name="b", worktree_path=str(repo / "gone"),
               status="active", base_branch="main", base_commit="c", created_at=now)  # fmt: skip

    store.run(lost)
    store.close()
    assert any("gone from the disk: A" in each.what for each in of(doctor.examine(repo), "worktrees"))


def test_a_data_folder_that_anybody_may_write_and_samples_that_are_gone_are_told_of(repo: Path) -> None:
    (repo / "data").chmod(0o777)
    (repo / "data" / "metrics.db").unlink()
    found = doctor.examine(repo)
    assert only(found, "rights", "warning").cure == f"`chmod o-w -- {repo / 'data'}`"
    assert "metrics.db is gone" in only(found, "database", "warning").what


def test_where_no_agent_is_configured_the_cure_is_one_that_can_be_followed(repo: Path) -> None:
    (repo / "crewyard.toml").write_text("")
    assert "[agents.code_developer]" in only(doctor.examine(repo), "agent programs", "warning").cure
    (repo / "crewyard.toml").unlink()
    assert "crewyard init" in only(doctor.examine(repo), "agent programs", "warning").cure


# --------------------------------------------------------------------------------- programs and their log-ins


def log_in(agent: Agent, home: Path, **environ: str) -> Finding:
    kind = kinds.of("builder", agent.kind)
    return programs._log_in("builder", agent, kind, kinds.programs()["claude"], {"HOME": str(home), **environ})


def test_a_log_in_is_looked_for_and_what_cannot_be_known_is_said(tmp_path: Path) -> None:
    agent = Agent(kind="claude")
    assert log_in(agent, tmp_path).state == "warning"

    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").touch(mode=0o000)
    finding = log_in(agent, tmp_path)
    assert finding.state == "ok"
    assert "only its provider knows" in finding.what


def test_a_log_in_is_looked_for_where_the_program_was_told_to_keep_it(tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / ".credentials.json").touch()
    moved = {"CLAUDE_CONFIG_DIR": str(tmp_path / "moved")}

    assert log_in(Agent(kind="claude"), tmp_path, **moved).state == "ok"
    assert log_in(Agent(kind="command", command=["claude"]), tmp_path, **moved).state == "warning"  # it is not told


def test_a_key_that_agents_get_by_their_kind_is_a_log_in_and_never_shown(tmp_path: Path) -> None:
    finding = log_in(Agent(kind="claude"), tmp_path, ANTHROPIC_API_KEY="secret-word")

    assert finding.state == "ok"
    assert "secret-word" not in finding.what


def test_a_key_that_agents_do_not_get_is_a_problem_with_the_setting_that_hands_it_on(tmp_path: Path) -> None:
    agent = Agent(kind="command", command=["claude"])
    finding = log_in(agent, tmp_path, ANTHROPIC_API_KEY="secret-word")

    assert (finding.state, finding.cure) == (
        "problem",
        'Add environment = ["ANTHROPIC_API_KEY"] to [agents.builder].',
    )
    handed_on = Agent(kind="command", command=["claude"], environment=["ANTHROPIC_API_KEY"])
    assert log_in(handed_on, tmp_path, ANTHROPIC_API_KEY="secret-word").state == "ok"


@pytest.mark.parametrize(
    ("says", "state", "words"),
    [
        ("echo '99.1.0 (Claude Code)'", "ok", "claude 99.1.0 is there; it may change files"),
        ("echo 1.0.3", "warning", "1.0.3 is older than"),
        ("echo of course", "warning", "does not say its version"),
        ("echo 99.1.0; exit 1", "warning", "gave no answer"),
        ("exec sleep 60", "warning", "gave no answer"),
    ],
)
def test_the_version_of_a_program_is_asked_for_within_bounds(
    repo: Path, monkeypatch: pytest.MonkeyPatch, says: str, state: str, words: str
) -> None:
    monkeypatch.setattr(programs, "VERSION_SECONDS", 0.5 if "sleep" in says else 10.0)
    program = repo.parent / "claude"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    (repo / "crewyard.toml").write_text(f'[agents.builder]\nkind = "claude"\nprogram = "{program}"\n')
    finding = of(doctor.examine(repo), "agent programs")[0]

    assert finding.state == state
    assert words in finding.what


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("", "it may change files of its worktree, commit and run the checks"),
        ('permissions = "run"', "it may start any command"),
        ('permissions = "read"\nallow = ["WebFetch"]', "it may look, and change nothing, and WebFetch"),
        ('arguments = ["--effort", "a b"]', "further arguments: --effort 'a b'"),
    ],
)
def test_what_an_agent_may_do_is_said_in_one_line(repo: Path, settings: str, words: str) -> None:
    program = repo.parent / "claude"
    program.write_text("#!/bin/sh\necho 99.1.0\n")
    program.chmod(0o755)
    (repo / "crewyard.toml").write_text(f'[agents.builder]\nkind = "claude"\nprogram = "{program}"\n{settings}\n')

    assert words in of(doctor.examine(repo), "agent programs")[0].what


def test_every_cure_is_a_sentence_and_only_what_is_wrong_has_one(repo: Path) -> None:
    (repo / "crewyard.toml").write_text('[agents.builder]\ncommand = ["no-such-program-anywhere"]\n')
    (repo / "data" / "orchestrator.db").chmod(0o644)
    for each in doctor.examine(repo).findings:
        assert bool(each.cure) == (each.state != "ok"), each


@pytest.mark.parametrize("kind", kinds.programs())
def test_in_an_empty_home_no_program_looks_logged_in(tmp_path: Path, kind: str) -> None:
    seen = kinds.programs()[kind].signs({"HOME": str(tmp_path)}, ())
    assert (seen.keys, seen.kept_back, seen.files) == ([], [], [])


def test_what_a_check_had_found_stays_where_it_then_fails_and_is_told_at_once(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_: Patient) -> Iterator[Finding]:
        yield Finding("", "ok", "one answered")
        assert told[-1].what == "one answered", "before the next one is asked"
        raise IsADirectoryError("program.json")

    told: list[Finding] = []
    monkeypatch.setattr(doctor, "ON_DEMAND", ((doctor.TRIED, breaks),))
    begun: list[str] = []
    found = doctor.examine(repo, tries=True, begins=begun.append, told=told.append).findings
    assert [each.state for each in found if each.check == doctor.TRIED] == ["ok", "problem"]
    assert (told, begun[-1]) == (found, doctor.TRIED)
