"""One object of a plan, read key by key, with every value's type checked.

A wrong value is a problem, a key that nobody asked for a warning. ``null`` and a missing key are the same.
"""

import difflib
import math
import re
import shlex
from collections.abc import Mapping
from typing import Any

from .. import names
from .draft import DEFAULT_HOURS, DEFAULT_PRIORITY, MOST_HOURS, PRIORITY_NAMES
from .notes import Notes

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
NEEDS_NO_SHELL = re.compile(r"[\w@%+:,./ '\"-][\w@%+:,./= '\"-]*")
PRIORITY_RULE = f"1 (highest) to 10, or one of {', '.join(PRIORITY_NAMES)}"
HOURS_RULE = f"a number above 0 and at most {MOST_HOURS:g}"


class Fields:
    """Reads ``data``; ``where`` names it in problems and warnings."""

    def __init__(self, data: Mapping[Any, Any], where: str, notes: Notes) -> None:
        self.data = data
        self.where = where
        self.notes = notes
        self._asked: set[str] = set()

    def get(self, *keys: str) -> Any:
        """The first of ``keys`` that is there."""
        self._asked.update(keys)
        return next((self.data[key] for key in keys if self.data.get(key) is not None), None)

    def wrong(self, key: str, expected: str, value: Any) -> None:
        self.notes.problem(f"{self.where}: {key} must be {expected}, not {shown(value)}")

    def text(self, *keys: str) -> str:
        """A text, empty where there is none."""
        value = self.get(*keys)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.wrong(keys[0], "a text", value)
            return ""
        return self.clean(keys[0], as_text(value))

    def clean(self, key: str, text: str) -> str:
        if "\0" in text or not is_encodable(text):
            self.notes.problem(f"{self.where}: {key} holds a character that no text can hold (NUL or half a pair)")
            return ""
        return text

    def line(self, *keys: str) -> str:
        """A text on one line, without control characters."""
        return one_line(self.text(*keys))

    def identifier(self, *keys: str) -> str:
        """An id, empty where there is none; whether it is a safe one is checked with the whole plan."""
        value = self.get(*keys)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            self.wrong(keys[0], "an id in quotes", value)
            return ""
        return self.clean(keys[0], as_text(value))

    def identifiers(self, *keys: str) -> tuple[str, ...]:
        """A list of ids, each once."""
        return self._each(keys, (str, int), "a list of task ids, each in quotes")

    def texts(self, *keys: str) -> tuple[str, ...]:
        """A list of texts that are not empty, each once."""
        return tuple(self.clean(keys[0], item) for item in self._each(keys, (str,), "a list of texts"))

    def _each(self, keys: tuple[str, ...], types: tuple[type, ...], expected: str) -> tuple[str, ...]:
        value = self.get(*keys)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.wrong(keys[0], expected, value)
            return ()
        for item in value:
            if isinstance(item, bool) or not isinstance(item, types) or item == "":
                self.notes.problem(f"{self.where}: {keys[0]} must be {expected}; {shown(item)} is none")
                return ()
        items = [as_text(item) for item in value]
        if len(set(items)) < len(items):
            self.notes.warn(f"{keys[0]} names the same twice", self.where)
        return tuple(dict.fromkeys(items))

    def priority(self, *keys: str) -> int:
        value = self.get(*keys)
        if value is None:
            return DEFAULT_PRIORITY
        found = priority_of(value)
        if found is None:
            self.wrong(keys[0], PRIORITY_RULE, value)
        return found or DEFAULT_PRIORITY

    def hours(self, *keys: str) -> float:
        value = self.get(*keys)
        if value is None:
            return DEFAULT_HOURS
        found = hours_of(value)
        if found is None:
            self.wrong(keys[0], HOURS_RULE, value)
        return found or DEFAULT_HOURS

    def agent_type(self, *keys: str) -> str | None:
        name = self.text(*keys)
        if not name:
            return None
        try:
            names.check_agent_type(name)
        except ValueError:
            self.wrong(keys[0], "a type of agent (letters, digits, '_' and '-', a letter first)", name)
        return name

    def check(self, *keys: str) -> tuple[str, ...] | None:
        """A command: a list of arguments, or a line as one types it."""
        value = self.get(*keys)
        if value is None or value in ("", []):
            return None
        if isinstance(value, str):
            return self.command(keys[0], value)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.wrong(keys[0], "a command: a text or a list of texts", value)
            return None
        return tuple(self.clean(keys[0], item) for item in value)

    def command(self, key: str, line: str) -> tuple[str, ...] | None:
        try:
            return command_of(self.clean(key, line))
        except ValueError as error:
            self.notes.problem(f"{self.where}: {key} is no command: {error}")
            return None

    def leftovers(self) -> None:
        """Warn of every key that nobody asked for; one that is nearly a known key is a slip, and a problem."""
        for key in self.data:
            if isinstance(key, str) and key in self._asked:
                continue
            near = difflib.get_close_matches(str(key), sorted(self._asked), n=1, cutoff=0.8)
            if near:
                self.notes.problem(f"{self.where}: {shown(key)} is no key; did you mean {near[0]!r}?")
            else:
                self.notes.warn(f"key {shown(key)} has no place here and is left out", self.where)


def priority_of(value: Any) -> int | None:
    """1 to 10 from a number or a name (C-37); None where it is neither."""
    if isinstance(value, str):
        text = value.strip().lower()
        if text in PRIORITY_NAMES:
            return PRIORITY_NAMES[text]
        value = int(text) if re.fullmatch("[0-9]{1,2}", text) else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 1 <= value <= 10 else None


def hours_of(value: Any) -> float | None:
    """Hours within their range, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 < value <= MOST_HOURS or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return float(value)


def command_of(line: str) -> tuple[str, ...] | None:
    """The argument vector of a typed command; through a shell where it uses one. Raises ValueError on open quotes."""
    arguments = tuple(shlex.split(line))
    if not arguments:
        return None
    return arguments if NEEDS_NO_SHELL.fullmatch(line) and "=" not in arguments[0] else ("sh", "-c", line)


def as_text(value: str | float) -> str:
    # str() of a huge int raises, and so would the message that says so.
    if isinstance(value, int) and abs(value) >= 10**100:
        return hex(value)[:120]
    return str(value)


def one_line(text: str) -> str:
    """``text`` without line breaks, control characters and terminal colours."""
    return " ".join(CONTROL.sub("", ANSI.sub("", text)).split())


def is_encodable(text: str) -> bool:
    """Whether ``text`` is free of lone surrogates, which no database and no file takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> str:
    """A value as a message shows it: short, and never the inside of a container, which may be endless."""
    if isinstance(value, str):
        return ascii_safe(repr(value if len(value) <= 60 else value[:57] + "…"))
    if value is None or isinstance(value, (bool, int, float)):
        return as_text(value) if value is not None else "nothing"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"


def ascii_safe(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
