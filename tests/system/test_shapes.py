"""Whatever agents put into files, links, modes and names reaches the integration branch byte for byte."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

# Does the steps of its task and attempt, with names and contents as bytes (latin-1 in JSON).
AGENT = r"""
import json, os, subprocess, sys, time
folder, task, attempt = os.path.dirname(sys.argv[0]), os.environ["CREWYARD_TASK_ID"], os.environ["CREWYARD_ATTEMPT"]
for verb, name, *more in json.load(open(folder + "/steps.json"))[task].get(attempt, []):
    name, more = name.encode("latin-1"), [x.encode("latin-1") if isinstance(x, str) else x for x in more]
    if verb in ("put", "link", "move"):
        os.makedirs(os.path.dirname(more[0] if verb == "move" else name) or b".", exist_ok=True)
    if verb == "put":
        with open(name, "wb") as file:
            file.write(more[0])
        os.chmod(name, more[1])
    elif verb == "link":
        if os.path.lexists(name):
            os.unlink(name)
        os.symlink(more[0], name)
    elif verb == "move":
        os.rename(name, more[0])
    elif verb == "delete":
        os.unlink(name)
    elif verb == "empty":
        os.makedirs(name)
    elif verb == "run":
        subprocess.run(name, shell=True, check=True)
    elif verb == "meet":  # until so many have come here
        open(f"{folder}/met-{task}", "w").close()
        while sum(each.startswith("met-") for each in os.listdir(folder)) < more[0]:
            time.sleep(0.01)
"""

FILE, PROGRAM, LINK = "100644", "100755", "120000"
Step = list[Any]


def put(name: bytes, content: bytes, mode: int = 0o644) -> Step:
    return ["put", name.decode("latin-1"), content.decode("latin-1"), mode]


def link(name: bytes, to: bytes) -> Step:
    return ["link", name.decode("latin-1"), to.decode("latin-1")]


def move(name: bytes, to: bytes) -> Step:
    return ["move", name.decode("latin-1"), to.decode("latin-1")]


def delete(name: bytes) -> Step:
    return ["delete", name.decode("latin-1")]


def run(command: str) -> Step:
    return ["run", command]


def meet(number: int) -> Step:
    return ["meet", "", number]


def contents(repo: Path, ref: str) -> dict[bytes, tuple[str, bytes]]:
    """Every file at ``ref``: its mode and its bytes, by its name's bytes."""
    listing = subprocess.run(["git", "-C", repo, "ls-tree", "-rz", ref], check=True, capture_output=True).stdout
    found = {}
    for entry in listing.split(b"\0")[:-1]:
        facts, name = entry.split(b"\t", 1)
        mode, _, blob = facts.decode().split()
        shown = subprocess.run(["git", "-C", repo, "cat-file", "blob", blob], check=True, capture_output=True)
        found[name] = (mode, shown.stdout)
    return found


def on_disk(repo: Path, name: bytes) -> bytes:
    return (Path(os.fsdecode(os.fsencode(repo) + b"/" + name))).read_bytes()


def begin_with(yard: Any, files: dict[bytes, bytes]) -> None:
    for name, content in files.items():
        path = Path(os.fsdecode(os.fsencode(yard.repo) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    yard.git(yard.repo, "add", "--all", ":!crewyard.toml")
    yard.git(yard.repo, "commit", "-qm", "Begin")


def work_off(
    yard: Any, steps: dict[str, dict[str, Sequence[Step]]], settings: str = "", **tasks: dict[str, Any]
) -> Any:
    """A run of one task a name, whose agents do these steps by the number of their attempt."""
    program = yard.folder / "shape.py"
    program.write_text(AGENT)
    (yard.folder / "steps.json").write_text(json.dumps(steps))
    yard.configure(f'{settings}\n[agents.shape]\ncommand = ["python3", "-I", "-S", "{program}"]\n')
    rows = [{"task_id": name, "agent_type": "shape", **tasks.get(name, {})} for name in steps]
    return yard.run(yard.plan(*rows), "--max-parallel", "6")


NAMES = {
    "spaces": b" a name  with spaces ",
    "quotes": b'it\'s "quoted" `so` $HOME',
    "newline": b"\nfirst\nlast\n",
    "tab": b"a\tb\\t",
    "dash": b"-rf",
    "dashes": b"--force/-x",
    "latin-1": b"caf\xe9.txt",
    "utf-8": "naïve 文件 🙂.txt".encode(),
    "decomposed": "e\u0301.txt".encode(),
    "long": b"l" * 255,
    "deep": b"/".join([b"d" * 100] * 8) + b"/f",
    "magic": b":(top)*.[ch]?",
    "percent": b"%s %(path) {task_id}",
    "control": b"\x01\x1b[31mred",
    "case": b"CASE.TXT",
    "dots": b"...",
}
KINDS = {
    "binary": put(b"kinds/image.bin", bytes(range(256)) * 9),
    "empty file": put(b"kinds/nothing", b""),
    "no last newline": put(b"kinds/open-end.txt", b"one\ntwo"),
    "crlf": put(b"kinds/dos.txt", b"one\r\ntwo\r\n"),
    "mixed": put(b"kinds/mixed.txt", b"one\r\ntwo\nthree\r"),
    "latin-1 text": put(b"kinds/latin.txt", "Grüße\n".encode("latin-1")),
    "utf-16": put(b"kinds/utf16.txt", "Grüße\n".encode("utf-16")),
    "markers in a document": put(b"kinds/howto.md", b"<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n"),
    "program": put(b"kinds/program.sh", b"#!/bin/sh\n", 0o755),
    "link": link(b"kinds/link", b"../README.md"),
    "dangling link": link(b"kinds/dangling", b"/nowhere/\xff"),
    "link to itself": link(b"kinds/loop", b"loop"),
    "long line": put(b"kinds/line.txt", b"x" * 3_000_000 + b"\n"),
}


def test_names_and_contents_of_all_kinds_arrive_as_they_were_written(yard) -> None:
    """Some are committed by the agent, some are left for us to commit."""
    steps: dict[str, list[Step]] = {}
    for number, (name, path) in enumerate(NAMES.items()):
        steps.setdefault(f"N{number % 4}", []).append(put(b"names/" + path, name.encode()))
    for number, step in enumerate(KINDS.values()):
        steps.setdefault(f"K{number % 3}", []).append(step)
    for task in ("N0", "N1", "K0"):
        steps[task].append(run("git add --all && git commit -qm Mine"))
    yard.git(yard.repo, "switch", "-qc", "roadmap")
    outcome = work_off(yard, {task: {"1": wanted} for task, wanted in steps.items()})
    assert outcome.code == 0, outcome.err
    there = contents(yard.repo, "roadmap")
    for name, path in NAMES.items():
        assert there.pop(b"names/" + path) == (FILE, name.encode()), name
        assert on_disk(yard.repo, b"names/" + path) == name.encode()
    for verb, path, content, *mode in KINDS.values():
        kind = LINK if verb == "link" else PROGRAM if mode == [0o755] else FILE
        assert there.pop(path.encode("latin-1")) == (kind, content.encode("latin-1")), path
    assert set(there) == {b"README.md"}
    assert yard.git(yard.repo, "status", "--porcelain") == "?? crewyard.toml", "the checkout has followed"
    assert (yard.worktrees(), yard.refs()) == (1, ["refs/heads/main", "refs/heads/roadmap"])


def test_changes_of_every_kind_arrive_as_they_were_made(yard) -> None:
    text = b"".join(b"line %d\n" % n for n in range(40))
    begin_with(
        yard,
        {
            b"a/moved.txt": text,
            b"a/both.txt": text,
            b"case.txt": b"case\n",
            b"mode.sh": b"#!/bin/sh\n",
            b"gone.txt": b"gone\n",
            b"folder/one": b"1\n",
            b"folder/two": b"2\n",
            b"was-file": b"f\n",
            b"renamed-folder/x": text + b"x\n",
            b"renamed-folder/y": text + b"y\n",
        },
    )
    outcome = work_off(
        yard,
        {
            "rename": {"1": [meet(5), move(b"a/moved.txt", b"b/new place.txt"), move(b"a/both.txt", b"b/both.txt")]},
            "edit": {"1": [meet(5), put(b"a/both.txt", text.replace(b"line 20\n", b"line twenty\n"))]},
            "case": {"1": [meet(5), move(b"case.txt", b"Case.txt"), run("chmod +x mode.sh"), delete(b"gone.txt")]},
            "types": {
                "1": [
                    *(meet(5), run("rm -r folder"), link(b"folder", b"b")),
                    *(delete(b"was-file"), put(b"was-file/in", b"x")),
                ]
            },
            "folder": {"1": [meet(5), move(b"renamed-folder", b"of/a-new-name"), ["empty", "left/empty"]]},
        },
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    there = contents(yard.repo, "roadmap")
    assert there == {
        b"README.md": (FILE, b"# A project\n"),
        b"b/new place.txt": (FILE, text),
        b"b/both.txt": (FILE, text.replace(b"line 20\n", b"line twenty\n")),
        b"Case.txt": (FILE, b"case\n"),
        b"mode.sh": (PROGRAM, b"#!/bin/sh\n"),
        b"folder": (LINK, b"b"),
        b"was-file/in": (FILE, b"x"),
        b"of/a-new-name/x": (FILE, text + b"x\n"),
        b"of/a-new-name/y": (FILE, text + b"y\n"),
    }


TEXT = b"".join(b"line %d\n" % n for n in range(30))
EDITED = TEXT.replace(b"line 9\n", b"line nine\n")
OTHERWISE = TEXT.replace(b"line 9\n", b"line IX\n")
# What A does, what B does, and how whoever came second resolves it; then what has to be there.
CONFLICTS: dict[str, tuple[list[Step], list[Step], list[Step], dict[bytes, tuple[str, bytes]]]] = {
    "deleted against edited": (
        [delete(b"f")], [put(b"f", EDITED)], [put(b"f", EDITED), run("git add f")], {b"f": (FILE, EDITED)},
    ),
    "renamed on both sides": (
        [move(b"f", b"one")], [move(b"f", b"two")], [run("git rm -qf --ignore-unmatch f two; git add one")],
        {b"one": (FILE, TEXT)},
    ),
    "a name that is no UTF-8": (
        [put(b"caf\xe9", b"A\n")], [put(b"caf\xe9", b"B\n")], [put(b"caf\xe9", b"A\nB\n")],
        {b"f": (FILE, TEXT), b"caf\xe9": (FILE, b"A\nB\n")},
    ),
    "a name with newlines and quotes": (
        [put(b"\n\"a'\n", b"A\n")], [put(b"\n\"a'\n", b"B\n")], [put(b"\n\"a'\n", b"A\nB\n")],
        {b"f": (FILE, TEXT), b"\n\"a'\n": (FILE, b"A\nB\n")},
    ),
    "links": (
        [link(b"l", b"A")], [link(b"l", b"B")], [link(b"l", b"A and B"), run("git add l")],
        {b"f": (FILE, TEXT), b"l": (LINK, b"A and B")},
    ),
    "binary": (
        [put(b"i", b"\0A")], [put(b"i", b"\0B")], [put(b"i", b"\0AB"), run("git add i")],
        {b"f": (FILE, TEXT), b"i": (FILE, b"\0AB")},
    ),
    "crlf": (
        [put(b"f", EDITED.replace(b"\n", b"\r\n"))], [put(b"f", OTHERWISE)], [put(b"f", EDITED), run("git add f")],
        {b"f": (FILE, EDITED)},
    ),
    "a file against a folder": (
        [put(b"x", b"file\n")], [put(b"x/in", b"in\n")],
        [run("git rm -qrf --cached . ; rm -rf x*; mkdir x; echo file > x/file; echo in > x/in; git add -A")],
        {b"f": (FILE, TEXT), b"x/file": (FILE, b"file\n"), b"x/in": (FILE, b"in\n")},
    ),
    "a message in Latin-1": (
        [put(b"f", EDITED), run("git add -A; printf 'Gr\\374\\337e' | git commit -qF -")], [put(b"f", OTHERWISE)],
        [put(b"f", EDITED)], {b"f": (FILE, EDITED)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONFLICTS)
def test_a_conflict_of_any_kind_goes_back_and_both_sides_are_in_the_history(yard, kind: str) -> None:
    begin_with(yard, {b"f": TEXT})
    first, second, resolved, wanted = CONFLICTS[kind]
    steps = {"A": {"1": [meet(2), *first], "2": resolved}, "B": {"1": [meet(2), *second], "2": resolved}}
    outcome = work_off(yard, steps)
    assert outcome.code == 0, outcome.err
    assert sorted(task["attempts"] for task in outcome.result["tasks"]) == [1, 2]
    there = contents(yard.repo, "roadmap")
    assert there.pop(b"README.md")
    assert there == wanted


@pytest.mark.parametrize("kind", ["links", "binary", "deleted against edited"])
def test_a_conflict_without_markers_that_its_agent_left_alone_is_not_taken_for_resolved(yard, kind: str) -> None:
    begin_with(yard, {b"f": TEXT})
    first, second, _, _ = CONFLICTS[kind]
    steps = {"A": {"1": [meet(2), *first]}, "B": {"1": [meet(2), *second]}}
    outcome = work_off(yard, steps, "max_restarts = 0\n[merge]\nmax_attempts = 1\n")
    assert outcome.code == 1
    assert sorted(task["status"] for task in outcome.result["tasks"]) == ["merged", "review"]
