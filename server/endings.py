"""What the end of an agent's output says about how it ended. Pure (design 5: a quota is no crash)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import clock
from .wording import cut

LINES = 20
FARTHEST_SECONDS = 8 * 24 * 3600.0
COLOURS = r"\x1b\[[0-9;?]*[ -/]*[@-~]"
FRAME = " \t|+-=*_─│┌┐└┘╭╮╰╯━┃"
# What Python prints of a program that does not compile: nothing else, and no traceback before it.
UNCOMPILED = r'  File "(?P<file>[^"\n]+)", line \d+\n(?: .*\n|\n)*(?:SyntaxError|IndentationError|TabError): .*'


@dataclass(frozen=True)
class Quota:
    """The provider's limit is reached. ``said`` is the line that says so, ``until`` when it is over, where it tells."""

    said: str
    until: str | None


def last_words(output: str, limit: int) -> str:
    """The last line that says something, without what frames it; the last one at all where none does."""
    lines = re.sub(COLOURS, "", output).strip().splitlines()
    said = (line.strip(FRAME) for line in reversed(lines) if any(each.isalpha() for each in line))
    return cut(next(said, lines[-1] if lines else ""), limit)


def is_program_broken(output: str, workspace: str) -> bool:
    """Whether the agent's own program does not compile: all that it printed says so of a file that is not its work."""
    said = re.fullmatch(UNCOMPILED, output.strip("\n"))
    if said is None:
        return False
    file = Path(said["file"])
    return file.is_absolute() and not file.is_relative_to(workspace)


def quota(tail: str, pattern: str, *, now: str) -> Quota | None:
    """Whether the last lines of a failed agent's output tell of its provider's limit."""
    if not pattern:
        return None
    for line in reversed(tail.rstrip().splitlines()[-LINES:]):
        found = re.search(pattern, line)
        if found is not None:
            return Quota(line.strip()[:200], moment(found.groupdict().get("reset"), now))
    return None


def moment(text: str | None, now: str) -> str | None:
    """The time that a program names, where it can be one: in the future, and not years away."""
    if not text:
        return None
    try:
        named_time = datetime.fromtimestamp(int(text), UTC) if text.isdigit() else datetime.fromisoformat(text)
        named = clock.to_text(named_time if named_time.tzinfo else named_time.replace(tzinfo=UTC))
    except (ValueError, OverflowError, OSError):
        return None
    return named if now < named < clock.plus(now, FARTHEST_SECONDS) else None
