"""The short way in takes what it knows word for word, and finds the yards that git finds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewyard.server import locating
from crewyard.server.entry import Asked, of_serve, of_status
from crewyard.server.errors import GitError, InvalidInput
from crewyard.server.repository import Repository
from crewyard.server.store import Store


@pytest.fixture
def found(git_repo: Path) -> Path:
    (git_repo / "data").mkdir()
    Store(git_repo / "data" / "orchestrator.db").close()
    return git_repo


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("status", Asked()),
        ("status --json", Asked(as_json=True)),
        ("status --watch --repo=x", Asked(Path("x"), watch=True)),
        ("status --repo x --json", Asked(Path("x"), as_json=True)),
        ("status --help", None),
        ("status --repo", None),
        ("status --repo --json", None),
        ("status --jso", None),
        ("status more", None),
        ("--version", None),
        ("top", None),
        ("", None),
    ],
)
def test_only_a_call_for_the_status_that_is_wholly_known_goes_the_short_way(words: str, asked: Asked | None) -> None:
    assert of_status(words.split()) == asked


@pytest.mark.parametrize(
    ("words", "repo"),
    [
        ("serve", Path()),
        ("serve --repo x", Path("x")),
        ("serve --repo=x", Path("x")),
        ("serve --http 127.0.0.1:0", None),
        ("serve --help", None),
        ("status", None),
    ],
)
def test_only_a_server_that_a_client_starts_goes_the_short_way(words: str, repo: Path | None) -> None:
    assert of_serve(words.split()) == repo


def test_the_yard_is_found_from_any_folder_in_it_as_git_finds_it(found: Path, git: Callable[..., str]) -> None:
    below = found / "a" / "b"
    below.mkdir(parents=True)
    git(found, "worktree", "add", "-q", str(found / ".worktrees" / "x"))

    for start in (found, below, found / ".worktrees" / "x"):
        assert locating.locate(start).root == Repository.discover(start).root == found


def test_a_work_tree_that_lies_elsewhere_is_left_to_git(found: Path, git: Callable[..., str]) -> None:
    elsewhere = found.parent / "elsewhere"
    elsewhere.mkdir()
    git(found, "config", "core.worktree", str(elsewhere))

    with pytest.raises((InvalidInput, GitError), match="elsewhere"):
        locating.locate(found)


def test_where_there_is_no_repository_git_says_so(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="is no git repository"):
        locating.locate(tmp_path)


def test_a_repository_inside_another_is_its_own(found: Path, git: Callable[..., str]) -> None:
    inner = found / "inner"
    inner.mkdir()
    git(inner, "init", "-q")

    with pytest.raises((InvalidInput, GitError), match=r"no yard|no commit"):
        locating.locate(inner)


def test_the_data_folder_of_the_settings_is_used(found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found / "data").rename(found / "kept")
    (found / "crewyard.toml").write_text('[crew]\ndata_dir = "kept"\n')
    assert locating.locate(found).files.database == found / "kept" / "orchestrator.db"

    (found / "kept").rename(found / "other")
    monkeypatch.setenv("CREWYARD_CREW_DATA_DIR", "other")
    assert locating.locate(found).files.database == found / "other" / "orchestrator.db"


def test_a_configuration_is_checked_once_and_again_when_anything_of_it_changes(
    found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found / "crewyard.toml").write_text("[crew]\nmax_parallel = 2\n")
    located = locating.locate(found)
    located.files.own.mkdir()
    assert locating.check(located) is None
    assert located.files.configuration_checked.exists()

    monkeypatch.setenv("CREWYARD_CREW_MAX_PARALLEL", "none")
    assert "CREWYARD_CREW_MAX_PARALLEL" in (locating.check(located) or "")
    monkeypatch.delenv("CREWYARD_CREW_MAX_PARALLEL")
    (found / "crewyard.toml").write_text("[crew]\nmax_paralel = 2\n")
    assert "Did you mean 'max_parallel'?" in (locating.check(located) or "")
