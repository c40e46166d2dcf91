"""The built-in agent: does what the ``crew-script`` block of its prompt says, in its worktree, with real git.

    say TEXT                 write a line of output (a sign of life)
    beat                     the same, without words
    sleep SECONDS
    write FILE TEXT          write a file; \\n in TEXT is a line's end
    append FILE TEXT
    resolve FILE             keep both sides of each conflict in a file
    commit MESSAGE           commit everything
    output KEY=TEXT …        hand over what a stage of [workflows] asks for
    fail CODE                exit with CODE
    crash                    die by SIGKILL
    hang                     ignore SIGTERM and wait for ever

``2: STEP`` does the step in the second attempt only, ``2-: STEP`` from the second on. ``write FILE <<END`` takes the
lines below it, up to one that says ``END``, as they stand; any other word does as well. Where a prompt has no such
block, it writes ``<task id>.md`` and commits it. Standard library only; run by path.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

BLOCK = re.compile(r"^```crew-script[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEREDOC = re.compile(r"(.*\S)\s+<<(\w+)\s*")
STEP = re.compile(r"(?:(\d+)(-?):\s+)?(\S.*)")
CONFLICT = re.compile(r"^<{7} .*?\n(.*?)^={7}\n(.*?)^>{7} .*?\n", re.MULTILINE | re.DOTALL)


def main() -> int:
    prompt = Path(os.environ["CREWYARD_PROMPT_FILE"]).read_text(encoding="utf-8")
    attempt = int(os.environ["CREWYARD_ATTEMPT"])
    block = BLOCK.search(prompt)
    lines = block[1].splitlines() if block else default_script(os.environ["CREWYARD_TASK_ID"])
    for line, text in steps(lines):
        match = STEP.fullmatch(line.strip())
        if match and applies(match[1], match[2], attempt):
            verb, *words = (word.replace("\\n", "\n") for word in shlex.split(match[3]))
            code = perform(verb, words + text)
            if code is not None:
                return code
    return 0


def steps(lines: "list[str]") -> "Iterator[tuple[str, list[str]]]":
    """Each step's line, and in a list the text that ``<<WORD`` at its end gave it."""
    rest = iter(lines)
    for line in rest:
        found = HEREDOC.fullmatch(line)
        yield (found[1], [text_until(found[2], rest)]) if found else (line, [])


def text_until(word: str, rest: "Iterator[str]") -> str:
    return "\n".join(iter(lambda: next(rest, word), word))


def default_script(task_id: str) -> list[str]:
    return [f"write {task_id}.md {shlex.quote(f'Done: {task_id}')}", f"commit {shlex.quote(f'Do {task_id}')}"]


def applies(number: "str | None", onwards: str, attempt: int) -> bool:
    return number is None or attempt == int(number) or (bool(onwards) and attempt > int(number))


def perform(verb: str, words: list[str]) -> "int | None":
    """Do one step; returns an exit code where the script ends with it."""
    print(verb, *words[:1], flush=True)
    if verb == "fail":
        return int(words[0])
    if verb == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    STEPS[verb](*words)
    return None


def write(name: str, text: str, mode: str = "w") -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode, encoding="utf-8") as file:
        file.write(text + "\n")


def hand_over(*pairs: str) -> None:
    given = dict(pair.split("=", 1) for pair in pairs)
    Path(os.environ["CREWYARD_OUTPUT_FILE"]).write_text(json.dumps(given), encoding="utf-8")


def resolve(name: str) -> None:
    path = Path(name)
    path.write_text(CONFLICT.sub(r"\1\2", path.read_text(encoding="utf-8")), encoding="utf-8")


def commit(message: str) -> None:
    subprocess.run(["git", "add", "--all"], check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", message], check=True)


def hang() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


STEPS: "dict[str, Callable[..., object]]" = {
    "say": lambda *_: None,
    "beat": lambda: None,
    "sleep": lambda seconds: time.sleep(float(seconds)),
    "write": write,
    "append": lambda name, text: write(name, text, "a"),
    "output": hand_over,
    "resolve": resolve,
    "commit": commit,
    "hang": hang,
}

if __name__ == "__main__":
    sys.exit(main())
