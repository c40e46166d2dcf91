"""Merging two commits in memory, with real git: what is settled by itself, what by a person's word, and what is not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from crewyard.server import trials
from crewyard.server.errors import GitError
from crewyard.server.repository import Repository
from crewyard.server.settlements import Settlement
from crewyard.server.trials import Trial

Git = Callable[..., str]
Files = dict[str, str | bytes | None]


@dataclass
class Sides:
    """A repository with a branch for each side, made from files (None: deleted)."""

    repo: Path
    git: Git

    def commit(self, files: Files, message: str = "Change") -> str:
        for name, content in files.items():
            path = self.repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git(self.repo, "add", "--all")
        self.git(self.repo, "commit", "--quiet", "--allow-empty", "-m", message)
        return self.git(self.repo, "rev-parse", "HEAD")

    def attempt(
        self,
        base: Files,
        ours: Files,
        theirs: Files,
        *union: str,
        strategy: str | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> Trial:
        start = self.commit(base)
        self.git(self.repo, "switch", "--quiet", "--create", "task")
        head = self.commit(theirs)
        self.git(self.repo, "switch", "--quiet", "main")
        target = self.commit(ours)
        assert start != head != target
        before()
        return trials.attempt(Repository(self.repo), target, head, list(union), strategy)

    def read(self, trial: Trial, name: str) -> str:
        return self.git(self.repo, "show", f"{trial.tree}:{name}")

    def names(self, trial: Trial) -> list[str]:
        return self.git(self.repo, "ls-tree", "-r", "--name-only", "-z", trial.tree).split("\0")[:-1]


@pytest.fixture
def sides(git_repo: Path, git: Git) -> Sides:
    return Sides(git_repo, git)


def paths(trial: Trial) -> list[str]:
    return [each.path for each in trial.conflicts]


def test_both_sides_the_same_is_no_conflict(sides: Sides) -> None:
    trial = sides.attempt({"f": "a\n"}, {"f": "b\n", "g": "x\n"}, {"f": "b\n", "h": "y\n"})
    assert (paths(trial), trial.settled, sides.read(trial, "f")) == ([], [], "b")


def test_where_only_whitespace_differs_the_targets_is_kept_and_told(sides: Sides) -> None:
    trial = sides.attempt({"f": "a\n1\n2\n3\nz\n"}, {"f": "b c\n1\n2\n3\nz \n"}, {"f": "b  c\n1\n2\n3\nz\t\n"})
    assert trial.settled == [Settlement("f", "whitespace", 2)]
    assert sides.read(trial, "f") == "b c\n1\n2\n3\nz "
    assert trial.settled[0].told("roadmap") == "f: only whitespace differs, roadmap's kept (2 hunks)"


def test_both_sides_additions_are_kept_in_files_that_allow_it_and_in_no_others(sides: Sides) -> None:
    name = 'docs/CHANGES "new" – –x.md'
    files: list[Files] = [{name: "# C\n"}, {name: "# C\nours\n"}, {name: "# C\ntheirs\n"}]
    trial = sides.attempt(*files, "docs/*.md")
    assert trial.settled == [Settlement(name, "union", 1)]
    assert sides.read(trial, name) == "# C\nours\ntheirs"
    again = trials.attempt(Repository(sides.repo), "main", "task", ["*.txt"])
    assert (paths(again), again.settled) == ([name], [])


def test_a_file_that_both_added_is_united_with_what_they_share_once(sides: Sides) -> None:
    trial = sides.attempt({}, {"C.md": "# C\n\n- ours\n\nend\n"}, {"C.md": "# C\n\n- theirs\n\nend\n"}, "C.md")
    assert sides.read(trial, "C.md") == "# C\n\n- ours\n- theirs\n\nend"


def test_one_file_that_needs_an_agent_leaves_all_of_them_to_it(sides: Sides) -> None:
    trial = sides.attempt({"f": "a\n", "g": "a\n"}, {"f": "b\n", "g": "b\n"}, {"f": "b \n", "g": "c\n"})
    assert (paths(trial), trial.settled) == (["f", "g"], [])


UNTOUCHED: dict[str, tuple[Files, Files, Files]] = {
    "a line that was changed": ({"f": "a\n"}, {"f": "x\n"}, {"f": "y\n"}),
    "changed here, deleted there": ({"f": "a\n"}, {"f": "a\nb\n"}, {"f": None}),
    "deleted here, changed there": ({"f": "a\n"}, {"f": None}, {"f": "a\nb\n"}),
    "binary": ({"f": b"\0a"}, {"f": b"\0b"}, {"f": b"\0c"}),
    "binary further on": (
        {"f": b"a\n" * 5000 + b"\0\na\n"},
        {"f": b"a\n" * 5000 + b"\0\nb\n"},
        {"f": b"a\n" * 5000 + b"\0\nb \n"},
    ),
    "kept by LFS": (
        {".gitattributes": "f filter=lfs merge=text\n", "f": ""},
        {"f": "oid 1\n"},
        {"f": "oid 2\n"},
    ),
    "not to be merged by lines": ({".gitattributes": "f -merge\n", "f": "a\n"}, {"f": "a\nx\n"}, {"f": "a\ny\n"}),
    "attributes that conflict": (
        {".gitattributes": "", "f": "a\n"},
        {".gitattributes": "x text\n", "f": "a\nx\n"},
        {".gitattributes": "y text\n", "f": "a\ny\n"},
    ),
}


@pytest.mark.parametrize(("base", "ours", "theirs"), UNTOUCHED.values(), ids=UNTOUCHED)
def test_what_is_not_two_sides_lines_in_a_plain_file_is_left_to_an_agent(
    sides: Sides, base: Files, ours: Files, theirs: Files
) -> None:
    trial = sides.attempt(base, ours, theirs, "*")
    assert "f" in paths(trial)
    assert trial.settled == []


def test_a_link_a_mode_and_a_name_are_left_to_an_agent(sides: Sides, git: Git) -> None:
    base = sides.commit({"f": "a\n", "script": "a\n", "old": "1\n2\n3\n"})
    commits = []
    for n, word in enumerate(("one", "two")):
        git(sides.repo, "switch", "--quiet", "--detach", base)
        (sides.repo / "f").unlink()
        (sides.repo / "f").symlink_to(word)
        git(sides.repo, "mv", "old", f"new-{word}")
        (sides.repo / "script").chmod(0o755 if n else 0o644)
        commits.append(sides.commit({"added": f"{word}\n", "script": "a\nb \n" if n else "a\nb\n"}))
        (sides.repo / "script").chmod(0o644)
    git(sides.repo, "switch", "--quiet", "--detach", base)
    trial = trials.attempt(Repository(sides.repo), *commits, [])
    assert {"f", "old", "new-one", "new-two", "added"} <= set(paths(trial))
    assert trial.settled == []


def test_a_mode_that_one_side_changed_is_not_lost_with_its_whitespace(sides: Sides, git: Git) -> None:
    git(sides.repo, "config", "core.fileMode", "true")
    sides.commit({"script": "a\n"})
    git(sides.repo, "switch", "--quiet", "--create", "task")
    (sides.repo / "script").chmod(0o755)
    git(sides.repo, "commit", "--quiet", "--all", "-m", "Mode")
    (sides.repo / "script").write_text("b \n")
    git(sides.repo, "commit", "--quiet", "--all", "-m", "Text")
    git(sides.repo, "switch", "--quiet", "main")
    sides.commit({"script": "b\n"})
    assert trials.attempt(Repository(sides.repo), "main", "task", []).files == ["script"]
    taken = trials.attempt(Repository(sides.repo), "main", "task", [], "ours")
    assert git(sides.repo, "ls-tree", taken.tree, "script").startswith("100755")


def test_the_users_merge_driver_decides_and_its_failure_is_a_conflict(sides: Sides, git: Git) -> None:
    files: list[Files] = [
        {".gitattributes": "*.lock merge=lock\n", "a.lock": "1\n"},
        {"a.lock": "2\n"},
        {"a.lock": "3\n"},
    ]
    git(sides.repo, "config", "merge.lock.driver", "cat %B >> %A")
    trial = sides.attempt(*files, "*")
    assert (paths(trial), sides.read(trial, "a.lock")) == ([], "2\n3")
    for broken in ("exit 1", "kill -9 $$"):
        git(sides.repo, "config", "merge.lock.driver", broken)
        again = trials.attempt(Repository(sides.repo), "main", "task", ["*"])
        assert paths(again) == ["a.lock"], broken
    git(sides.repo, "config", "merge.lock.driver", "no-such-program")
    with pytest.raises(GitError, match="cannot run no-such-program"):
        trials.attempt(Repository(sides.repo), "main", "task", ["*"])


BASE = "1\n2\n3\n4\n5\n6\n7\n"
OURS, THEIRS = BASE.replace("1", "ours").replace("7", "kept"), BASE.replace("1", "theirs").replace("4", "clean")


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [("ours", OURS.replace("4", "clean")), ("theirs", THEIRS.replace("7", "kept"))],
)
def test_a_side_is_taken_in_the_hunks_that_conflict_and_nowhere_else(sides: Sides, strategy: str, wanted: str) -> None:
    trial = sides.attempt({"f": BASE}, {"f": OURS}, {"f": THEIRS}, strategy=strategy)
    assert trial.settled == [Settlement("f", strategy, 1)]
    assert sides.read(trial, "f") == wanted.rstrip()


@pytest.mark.parametrize(("strategy", "left"), [("ours", ["changed", "image"]), ("theirs", ["edited", "image"])])
def test_a_side_is_taken_whole_where_there_are_no_hunks(sides: Sides, strategy: str, left: list[str]) -> None:
    trial = sides.attempt(
        {"edited": "a\n", "changed": "a\n", "image": b"\0a"},
        {"edited": None, "changed": "a\nours\n", "image": b"\0ours"},
        {"edited": "a\ntheirs\n", "changed": None, "image": b"\0theirs"},
        strategy=strategy,
    )
    assert sides.names(trial) == sorted(["README.md", *left])
    assert sides.read(trial, "image") == f"\0{strategy}"
    assert {each.hunks for each in trial.settled} == {0}


@pytest.mark.parametrize("strategy", ["ours", "theirs"])
def test_of_two_new_names_that_sides_is_taken_with_its_content_and_no_markers(
    sides: Sides, git: Git, strategy: str
) -> None:
    lines = [f"{n}\n" for n in range(20)]
    base = sides.commit({"old": "".join(lines)})
    commits = {}
    for side in ("theirs", "ours"):
        git(sides.repo, "switch", "--quiet", "--detach", base)
        git(sides.repo, "mv", "old", side)
        commits[side] = sides.commit({side: "".join([*lines, f"{side}\n"])})
    trial = trials.attempt(Repository(sides.repo), commits["ours"], commits["theirs"], [], strategy)
    assert trial.conflicts == []
    assert sides.names(trial) == sorted(["README.md", strategy])
    assert sides.read(trial, strategy) == "".join([*lines, strategy])


@pytest.mark.parametrize("strategy", ["ours", "theirs"])
def test_no_side_is_taken_where_git_put_a_path_aside(sides: Sides, strategy: str) -> None:
    """Its name there is none of either side's, so that "its absence" would lose it."""
    sides.commit({"keep": "x\n"})
    trial = sides.attempt({}, {"d": "a file\n"}, {"d/inner": "a folder\n"}, strategy=strategy)
    assert trial.conflicts != []
    assert trial.settled == []


def test_names_that_need_quoting_are_told_in_one_line() -> None:
    assert Settlement("a\nb", "ours", 0).told("roadmap") == '"a\\nb": roadmap\'s side taken (the whole file)'
