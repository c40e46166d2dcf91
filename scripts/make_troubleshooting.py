"""Writes docs/troubleshooting.md: every error with its cure, and every finding of the doctor's, as the code has them.

What is said of a code stands beside the errors (server/errors.py, failures.py, advice.py); the words that a user sees
are read from where they are raised. --check only says whether the document is current.
"""

import ast
import importlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from crewyard.server import advice, doctor, failures, next_calls
from crewyard.server.errors import CrewyardError

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "troubleshooting.md"
FRONT = ROOT / "docs" / "troubleshooting.txt"
GAP = "…"
SHOWN = 4  # messages of one code; a code with more is one that its own words explain

ERRORS = """\
## Every error

Each has a code that stays, a message with the facts, and a hint with the next step. At a terminal they read
`crewyard: message`, with the hint below it after an arrow; the tools and `--json` give it as `code`, with `message` and
`hint`. *Says* are messages that bear the code, with their hints; `…` stands for a name or a number. *By itself* is
what follows for a task without anybody's doing. `TASK`, `AGENT` and `MESSAGE` stand for an id: `crewyard status` and
`crewyard plan show` have them.
"""
FINDINGS = """\
## What `crewyard doctor` finds

It changes nothing. A problem keeps a crew from working and ends it with 1, a warning does not.
"""
DONE_BY_ITSELF = {
    "retry": "another attempt after a delay, as often as `max_restarts` in `[crew]` says; then review",
    "longer_timeout": "another attempt with twice the time",
    "rework": "back to an agent with the reason, a bounded number of times; then review",
    "tidy_checkout": "the merge is tried again, a bounded number of times; then review",
    "manual_review": "the task goes to review, and a person is told",
    "wait": "another attempt when there is room again",
    "backoff": "another attempt after a delay",
    "resolve_graph": "a person is told; the tasks of the circle are not started",
    "mend_configuration": "the task goes to review, and a person is told",
    "log_in": "a person is told at once; tried again meanwhile",
}
# No table decides these: a limit is waited out, and what a person ended goes on as that person said.
AS_ASKED = {
    "quota": "launches of that type of agent wait until the limit is over; it counts as no failure",
    "killed": "as was asked for: the task is given up, or back in the plan",
    "restarted": "another agent takes the task at once",
}


def document() -> str:
    return "\n".join([FRONT.read_text(encoding="utf-8"), ERRORS, *errors(), FINDINGS, findings()])


def errors() -> Iterator[str]:
    meant, said = meanings(), messages()
    for subject, codes in advice.COMMANDS.items():
        yield f"### {subject}\n"
        for code, commands in codes.items():
            yield "\n".join([f"#### `{code}`\n", f"{meant[code]}\n", *lines_of(code, commands, said[code])]) + "\n"


def lines_of(code: str, commands: tuple[str, ...], said: list[str]) -> Iterator[str]:
    yield from (f"- *Says:* {each}" for each in said[:SHOWN])
    if len(said) > SHOWN:
        yield "- *Says:* and others, each with its own next step"
    if (follows := by_itself(code)) is not None:
        yield f"- *By itself:* {follows}."
    typed = "".join(f" · `{command}`" for command in commands)
    yield f"- *What helps:* {advice.ADVICE[code]}{typed}"


def by_itself(code: str) -> str | None:
    if code in AS_ASKED or code not in failures.BY_CODE:
        return AS_ASKED.get(code)
    failure = failures.of(code)
    often = f", at most {failure.restarts} times" if failure.restarts else ""
    return DONE_BY_ITSELF[failure.strategy] + often


def meanings() -> dict[str, str]:
    """By code: what its classes say of themselves, or what is said beside the cures."""
    found: dict[str, list[str]] = defaultdict(list)
    for kind in kinds_of_error():
        found[kind.code].append((kind.__doc__ or "").splitlines()[0])
    return {code: " ".join(said) for code, said in found.items()} | advice.MEANINGS


def kinds_of_error() -> list[type[CrewyardError]]:
    importlib.import_module("crewyard.server.prover")  # defines two of its own

    def below(kind: type[CrewyardError]) -> Iterator[type[CrewyardError]]:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)

    return [kind for kind in below(CrewyardError) if kind.__module__.startswith("crewyard.")]


# ------------------------------------------------------------------------------------------- words read from the code


def messages() -> dict[str, list[str]]:
    """By code, each message with its hint, as a terminal shows them."""
    codes = {kind.__name__: kind.code for kind in kinds_of_error()}
    found: dict[str, list[str]] = defaultdict(list)
    for call in calls(ROOT / "server", ROOT / "tools"):
        if isinstance(call.func, ast.Name) and call.func.id in codes and call.args:
            message = text_of(call.args[0])
            hint = next((text_of(each.value) for each in call.keywords if each.arg == "hint"), "")
            shown = f"“{message}”" + (f" → {next_calls.for_terminal(hint)}" if tells(hint) else "")
            if tells(message) and shown not in found[codes[call.func.id]]:
                found[codes[call.func.id]].append(shown)
    return found


def findings() -> str:
    """The doctor's, check by check: the modules in the order of the checks."""
    rows = ["| Seen by | What it says | What helps |", "| --- | --- | --- |"]
    for name, check in doctor.CHECKS:
        for kind, what, cure in found_by(check.__module__, check.__name__):
            rows.append(f"| {name} | **{kind}**: {escaped(what)} | {escaped(next_calls.for_terminal(cure))} |")
    return "\n".join(rows) + "\n"


def found_by(module: str, function: str) -> Iterator[tuple[str, str, str]]:
    """A check's problems and warnings, and those of the functions of its module that it calls."""
    tree = ast.parse((ROOT / Path(*module.split(".")[1:])).with_suffix(".py").read_text(encoding="utf-8"))
    there = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    waiting, done = [function], set()
    while waiting:
        name = waiting.pop(0)
        done.add(name)
        for call in calls_in(there[name]):
            if not isinstance(call.func, ast.Name):
                continue
            if call.func.id in there and call.func.id not in done:
                waiting.append(call.func.id)
            if call.func.id in ("problem", "warning"):
                what, cure = (text_of(argument) for argument in call.args)
                if tells(what):
                    yield call.func.id, what, cure if re.search("[a-z]", cure) else "the message says it"


def calls(*folders: Path) -> Iterator[ast.Call]:
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        yield from calls_in(ast.parse(path.read_text(encoding="utf-8")))


def calls_in(tree: ast.AST) -> Iterator[ast.Call]:
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return iter(sorted(found, key=lambda node: (node.lineno, node.col_offset)))


def text_of(node: ast.expr) -> str:
    """A text as it is written, with a gap for each value; of a choice the first."""
    if isinstance(node, ast.Constant):
        return " ".join(str(node.value).splitlines())
    if isinstance(node, ast.JoinedStr):
        return re.sub(rf"{GAP}+", GAP, "".join(text_of(part) for part in node.values))
    if isinstance(node, ast.FormattedValue):
        if isinstance(node.value, ast.Name) and node.value.id == "FILE_NAME":
            return "crewyard.toml"
        return f"'{GAP}'" if node.conversion == ord("r") else GAP
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return text_of(node.body)
    return GAP


def tells(text: str) -> bool:
    """Whether more than a word or two stands in it."""
    return len(re.findall(r"[A-Za-z]{2,}", text)) >= 3


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    text = document()
    if sys.argv[1:] != ["--check"]:
        DOCUMENT.write_text(text, encoding="utf-8")
    elif not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text:
        sys.exit(f"{DOCUMENT.name} is not what the code says: make docs")


if __name__ == "__main__":
    main()
