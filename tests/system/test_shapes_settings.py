"""Whatever git is configured to do, in whatever environment and repository: the same work arrives, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CREWYARD = [sys.executable, "-m", "crewyard.server.cli"]

# Both change one line; the second one there finds the other's beside its own, in whatever style, and keeps both.
AGENT = r"""
import os, re, subprocess, time
task, attempt, folder = os.environ["CREWYARD_TASK_ID"], os.environ["CREWYARD_ATTEMPT"], "@FOLDER@"
if attempt == "1":
    text = open("shared.txt", newline="").read()
    open("shared.txt", "w", newline="").write(text.replace("line 5", f"line 5 of {task}"))
    os.rename("old of " + task, "new of " + task)
    open(f"{task}.txt", "w", newline="").write(f"one {task}\ntwo\n")
    if task == "A":
        subprocess.run(["git", "-c", "core.safecrlf=false", "add", "--all"], check=True)
        subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "Work"], check=True)
    open(f"{folder}/met-{task}", "w").close()
    while not all(os.path.exists(f"{folder}/met-{each}") for each in "AB"):
        time.sleep(0.01)
else:
    text = open("shared.txt", newline="").read()
    text = re.sub(r"(?m)^\|{7}[^=]*?^(?========)", "", text)
    open("shared.txt", "w", newline="").write(re.sub(r"(?m)^(<{7}|={7}|>{7}).*\n", "", text))
"""


def make(yard: Any, end: str = "\n") -> Path:
    """A plan of two tasks that conflict, each with something more; a third one's check leaves a file behind."""
    program = yard.folder / "agent.py"
    program.write_text(AGENT.replace("@FOLDER@", str(yard.folder)))
    (yard.repo / "shared.txt").write_bytes("".join(f"line {n}{end}" for n in range(10)).encode())
    for task in "AB":
        (yard.repo / f"old of {task}").write_text(f"of {task}\n" * 20)
    yard.git(yard.repo, "add", "--all", ":!crewyard.toml")
    yard.git(yard.repo, "commit", "-qm", "Begin")
    yard.configure(f'[agents.both]\ncommand = ["{sys.executable}", "-I", "-S", "{program}"]\n')
    left = ["sh", "-c", "echo left > left-by-check"]
    both = [{"task_id": task, "agent_type": "both"} for task in "AB"]
    write = "```crew-script\nwrite C.txt C\n```"
    return yard.plan(*both, {"task_id": "C", "check": left, "depends_on": ["A", "B"], "description": write})


def follow(yard: Any) -> None:
    yard.git(yard.repo, "switch", "-qc", "roadmap")


def require_merged(yard: Any, outcome: Any, *, sha: int = 40) -> None:
    assert outcome.code == 0, outcome.err
    git, repo = yard.git, yard.repo
    assert git(repo, "show", "roadmap:A.txt").split() == ["one", "A", "two"]
    assert git(repo, "show", "roadmap:B.txt").split() == ["one", "B", "two"]
    shared = git(repo, "show", "roadmap:shared.txt").splitlines()
    assert sorted(shared) == sorted([*(f"line {n}" for n in range(10) if n != 5), "line 5 of A", "line 5 of B"])
    names = set(git(repo, "ls-tree", "--name-only", "roadmap").splitlines())
    assert {"new of A", "new of B"} <= names
    assert not {"old of A", "old of B", "left-by-check"} & names
    lines = git(repo, "rev-list", "--first-parent", "--parents", "-3", "roadmap").splitlines()
    assert [[len(commit) for commit in line.split()] for line in lines] == [[sha] * 3] * 3, "a merge each"
    salvaged = git(repo, "for-each-ref", "--format=%(refname)", "refs/crewyard/salvage").split()
    assert [git(repo, "show", f"{ref}:left-by-check") for ref in salvaged] == ["left"]
    assert yard.worktrees() == 1
    assert [ref for ref in yard.refs() if "implementation_task" in ref] == []
    if git(repo, "rev-parse", "--abbrev-ref", "HEAD") == "roadmap":
        assert git(repo, "status", "--porcelain", "--untracked-files=no") == ""
        assert (repo / "A.txt").read_text().split() == ["one", "A", "two"]


HOSTILE = {
    "advice.detachedHead": "true", "alias.add": "!false", "alias.merge-tree": "!false", "apply.whitespace": "error",
    "branch.roadmap.mergeOptions": "--squash --no-commit -s ours", "checkout.defaultRemote": "x", "color.ui": "always",
    "color.status": "always", "column.ui": "always", "commit.cleanup": "strip", "commit.status": "true",
    "commit.template": "/nowhere", "commit.verbose": "true", "core.abbrev": "4", "core.commentChar": "C",
    "core.editor": "false", "core.fsmonitor": "/bin/true", "core.logAllRefUpdates": "false", "core.pager": "false",
    "core.preloadIndex": "true", "core.quotePath": "false", "core.sharedRepository": "group", "core.untrackedCache":
    "true", "core.whitespace": "trailing-space", "diff.colorMoved": "zebra", "diff.external": "/bin/false",
    "diff.ignoreSubmodules": "all", "diff.mnemonicPrefix": "true", "diff.noprefix": "true",
    "diff.relative": "true", "diff.renames": "false", "diff.submodule": "log", "diff.wsErrorHighlight": "all",
    "feature.manyFiles": "true", "gc.auto": "1", "grep.fullName": "true", "grep.lineNumber": "true",
    "i18n.commitEncoding": "ISO-8859-1", "i18n.logOutputEncoding": "UTF-16", "index.version": "4",
    "init.defaultBranch": "other", "interactive.singleKey": "true", "log.date": "relative", "log.decorate": "full",
    "log.follow": "true", "log.showSignature": "true", "log.showRoot": "false", "maintenance.auto": "true",
    "merge.autoStash": "true", "merge.branchdesc": "true", "merge.conflictStyle": "zdiff3", "merge.directoryRenames":
    "false", "merge.ff": "only", "merge.log": "true", "merge.renames": "true", "merge.stat": "true",
    "merge.suppressDest": "*", "merge.tool": "none", "merge.verifySignatures": "true", "pager.status": "true",
    "pager.diff": "true", "pull.ff": "only", "pull.rebase": "interactive", "pull.twohead": "ours",
    "push.default": "nothing",
    "rebase.autoStash": "true", "receive.denyCurrentBranch": "refuse", "receive.denyDeletes": "true",
    "rerere.enabled": "true", "rerere.autoUpdate": "true", "safe.bareRepository": "explicit",
    "sequence.editor": "false", "stash.showPatch": "true", "status.branch": "true", "status.relativePaths": "true",
    "status.renames": "false", "status.short": "true", "status.showStash": "true", "status.showUntrackedFiles": "no",
    "status.submoduleSummary": "true", "submodule.recurse": "true", "transfer.fsckObjects": "true",
    "user.useConfigOnly": "true", "versionsort.suffix": "x", "worktree.guessRemote": "true",
}  # fmt: skip


def test_no_setting_of_gits_changes_what_arrives(yard) -> None:
    plan = make(yard)
    follow(yard)
    for name in ("user.name", "user.email"):
        yard.git(yard.repo, "config", "--unset", name)
    for key, value in HOSTILE.items():
        yard.git(yard.repo, "config", key, value)
    yard.git(yard.repo, "config", "core.attributesFile", str(yard.folder / "attributes"))
    (yard.folder / "attributes").write_text("*.txt diff=broken\n")
    yard.git(yard.repo, "config", "diff.broken.textconv", "false")
    yard.git(yard.repo, "config", "diff.broken.command", "false")
    outcome = yard.run(plan)
    for key in HOSTILE:
        yard.git(yard.repo, "config", "--unset", key)
    require_merged(yard, outcome)
    authors = set(yard.git(yard.repo, "log", "-1", "--format=%an <%ae>", "roadmap").splitlines())
    assert authors == {"Crewyard <crewyard@localhost>"}


ENVIRONMENT = {
    "GIT_DIR": "/nowhere", "GIT_WORK_TREE": "/nowhere", "GIT_INDEX_FILE": "/nowhere/index", "GIT_PREFIX": "x/",
    "GIT_COMMON_DIR": "/nowhere", "GIT_OBJECT_DIRECTORY": "/nowhere", "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/nowhere",
    "GIT_NAMESPACE": "other", "GIT_SHALLOW_FILE": "/nowhere", "GIT_GRAFT_FILE": "/nowhere", "GIT_QUARANTINE_PATH": "/x",
    "GIT_ICASE_PATHSPECS": "1", "GIT_NOGLOB_PATHSPECS": "1", "GIT_GLOB_PATHSPECS": "1", "GIT_EXTERNAL_DIFF": "false",
    "GIT_DIFF_OPTS": "-u0", "GIT_EDITOR": "false", "GIT_SEQUENCE_EDITOR": "false", "GIT_PAGER": "false",
    "GIT_ASKPASS": "false", "GIT_MERGE_AUTOEDIT": "yes", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "color.ui",
    "GIT_CONFIG_VALUE_0": "always", "GIT_CEILING_DIRECTORIES": "/", "GIT_DEFAULT_HASH": "sha256",
    "GIT_REFLOG_ACTION": "x", "GIT_OPTIONAL_LOCKS": "0", "GIT_AUTHOR_DATE": "2001-01-01T00:00:00",
    "GIT_REPLACE_REF_BASE": "refs/other", "GIT_IMPLICIT_WORK_TREE": "0", "GIT_TRACE": "1",
    "LANG": "de_DE.UTF-8", "LANGUAGE": "de:fr", "LC_ALL": "de_DE.UTF-8", "LC_MESSAGES": "de_DE.UTF-8",
    "TZ": "Asia/Kabul",
}  # fmt: skip


def test_nothing_in_the_environment_changes_what_arrives(yard) -> None:
    """As where a run is started from a hook, which git gives its own folder and index."""
    plan = make(yard)
    follow(yard)
    hook = yard.repo / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\necho $LC_ALL >> {yard.folder}/languages\n")
    hook.chmod(0o755)
    words = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    require_merged(yard, yard.start(plan, by=["env", *words, *CREWYARD]).finish())
    assert set((yard.folder / "languages").read_text().split()) == {"C"}, "what git says is looked at by its words"


@pytest.mark.parametrize(
    ("settings", "attributes", "end"),
    [
        ({"core.autocrlf": "true", "core.safecrlf": "true"}, "", "\n"),
        ({"core.autocrlf": "input", "core.safecrlf": "true"}, "", "\n"),
        ({"core.autocrlf": "false"}, "", "\r\n"),
        ({"core.eol": "crlf"}, "* text=auto\n", "\n"),
        ({}, "*.txt text eol=crlf\n", "\n"),
    ],
    ids=["true", "input", "dos", "core.eol", "eol=crlf"],
)
def test_ends_of_lines_and_encodings_are_dealt_with_as_git_is_told_to(
    yard, settings: dict[str, str], attributes: str, end: str
) -> None:
    if attributes:
        (yard.repo / ".gitattributes").write_text(attributes)
    plan = make(yard, end)
    for key, value in settings.items():
        yard.git(yard.repo, "config", key, value)
    follow(yard)
    require_merged(yard, yard.run(plan))
    shared = subprocess.run(["git", "-C", yard.repo, "show", "roadmap:shared.txt"], check=True, capture_output=True)
    assert shared.stdout.count(b"\r\n") == (11 if end == "\r\n" else 0)


def remade(yard: Any, *words: str | Path) -> None:
    """The repository is thrown away, and made again by such a git command."""
    shutil.rmtree(yard.repo)
    subprocess.run(["git", *words, yard.repo], check=True, capture_output=True, cwd=yard.folder)
    for name, value in {"user.name": "Test", "user.email": "test@example.org"}.items():
        yard.git(yard.repo, "config", name, value)
    yard.configure("")


def test_a_repository_with_sha256_is_a_repository(yard) -> None:
    remade(yard, "init", "-q", "--object-format=sha256", "--initial-branch=main")
    plan = make(yard)
    require_merged(yard, yard.run(plan), sha=64)


@pytest.mark.parametrize(
    "how", [["--depth=1"], ["--filter=blob:none"], ["--shared"]], ids=["shallow", "partial", "shared"]
)
def test_clones_that_do_not_hold_everything_will_do(yard, how: list[str]) -> None:
    for n in range(3):
        (yard.repo / "history.txt").write_text(f"{n}\n" * 50)
        yard.git(yard.repo, "add", "history.txt")
        yard.git(yard.repo, "commit", "-qm", f"Commit {n}")
    yard.git(yard.repo, "config", "uploadpack.allowFilter", "true")
    origin = yard.folder / "origin"
    yard.repo.rename(origin)
    yard.repo.mkdir()
    remade(yard, "clone", "-q", *how, origin.as_uri() if how != ["--shared"] else origin)
    plan = make(yard)
    before = yard.git(origin, "for-each-ref")
    require_merged(yard, yard.run(plan))
    assert yard.git(origin, "for-each-ref") == before
    assert (yard.repo / ".git/shallow").exists() == (how == ["--depth=1"])


def test_a_repository_in_a_folder_with_an_awkward_name_will_do(yard) -> None:
    there = yard.folder / ' it\'s a "répo" $HOME;\ttwo '
    yard.repo.rename(there)
    yard.repo = there
    require_merged(yard, yard.run(make(yard)))


def test_a_large_file_arrives_and_does_not_pass_through_our_memory(yard) -> None:
    """100 MB, twice what git takes for a big file here."""
    yard.git(yard.repo, "config", "core.bigFileThreshold", "50m")
    yard.git(yard.repo, "config", "core.compression", "0")
    program = yard.folder / "large.sh"
    program.write_text("truncate -s 100M large.bin; printf end >> large.bin\n")
    yard.configure(f'[agents.large]\ncommand = ["sh", "{program}"]\n')
    follow(yard)
    plan = yard.plan({"task_id": "A", "agent_type": "large"}, {"task_id": "B"})
    peak = yard.folder / "peak"
    measured = ["/usr/bin/env", sys.executable, "-c", MEASURE, str(peak), *CREWYARD]
    outcome = yard.start(plan, by=measured).finish()
    assert outcome.code == 0, outcome.err
    assert yard.git(yard.repo, "cat-file", "-s", "roadmap:large.bin") == str(100 * 2**20 + 3)
    assert (yard.repo / "large.bin").stat().st_size == 100 * 2**20 + 3
    assert int(peak.read_text()) < 200 * 1024


# Runs what follows, and puts down the most memory that it had, in KiB, its children apart.
MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""
