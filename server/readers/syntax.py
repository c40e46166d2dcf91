"""Bytes to text, and text to JSON or YAML data: what may come from anywhere, and must never bring us down."""

import json
import re
from typing import Any

import yaml

from .fields import is_encodable, shown
from .notes import Notes

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 60
MAX_EXPANDED_NODES = 5_000_000
# What PyYAML's constructors raise beside YAMLError, for values such as 2024-13-45 or `!!bool maybe`.
BROKEN_VALUES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def decode(content: str | bytes, notes: Notes) -> str:
    """Text with ``\\n`` line ends. Refuses what is empty, binary or too large."""
    if len(content) > MAX_BYTES:
        notes.refuse(f"the plan is larger than {MAX_BYTES >> 20} MiB", hint="Split it into several plans.")
    if isinstance(content, bytes):
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            where = f"line {content.count(bytes([10]), 0, error.start) + 1}"
            notes.refuse(f"{where}: the file is not UTF-8 text", hint="Save it as UTF-8.")
    else:
        text = content.removeprefix("\ufeff")
    if "\0" in text or not is_encodable(text):
        notes.refuse("the file is binary, not text", hint="Give a plan in JSON, YAML, Markdown or JSON lines.")
    if not text.strip():
        notes.refuse("the file is empty", hint="A plan holds at least one task.")
    return re.sub(r"\r\n?", "\n", text)


def parse_json(text: str, notes: Notes, *, line: int | None = None) -> Any:
    """JSON without doubled keys; ``line`` is where the text stands in its file. Refuses anything else."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        at = f"line {line or error.lineno}, column {error.colno}"
        notes.refuse(f"{at}: broken JSON: {error.msg}", hint="Mend the JSON at that place.")
    except RecursionError:
        notes.refuse(_at(line) + "the JSON is nested too deeply", hint="A plan needs five levels.")
    except ValueError as error:
        notes.refuse(_at(line) + str(error), hint="Mend the JSON.")


def _at(line: int | None) -> str:
    return f"line {line}: " if line else ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        doubled = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        ids = [found[key] for key in ("task_id", "id", "spec_id") if isinstance(found.get(key), (str, int))]
        of = f" (in {shown(ids[0])})" if ids else ""
        raise ValueError(f"the key {shown(doubled)} stands twice in one object{of}")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def parse_yaml(text: str, notes: Notes) -> Any:
    """One YAML document of plain data, without doubled keys or an alias bomb. Refuses anything else."""
    try:
        _refuse_depth(text, notes)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _inspect(node, notes)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}: " if mark else ""
        notes.refuse(f"{at}broken YAML: {error.problem or error.context}", hint="Mend the YAML at that line.")
    except yaml.YAMLError as error:
        notes.refuse(f"broken YAML: {' '.join(str(error).split())[:200]}", hint="Mend the YAML.")
    except BROKEN_VALUES as error:
        notes.refuse(f"broken YAML: a value cannot be read: {str(error)[:200]}", hint="Put the value in quotes.")


def _refuse_depth(text: str, notes: Notes) -> None:
    # Before composing, which recurses (in C, where a deep document is a crash and no exception).
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                at = event.start_mark.line + 1 if event.start_mark else "?"
                notes.refuse(f"line {at}: the YAML is nested too deeply", hint="A plan needs five levels.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _inspect(root: yaml.Node, notes: Notes) -> None:
    """Refuse doubled keys, a node that holds itself, and aliases that multiply into millions."""
    sizes: dict[int, int] = {}
    stack: list[tuple[yaml.Node, bool]] = [(root, False)]
    while stack:
        node, is_left = stack.pop()
        inside = _children(node)
        if is_left:
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in inside)
        elif id(node) not in sizes:
            sizes[id(node)] = MAX_EXPANDED_NODES + 1  # until it is left: whoever meets it before that, holds itself
            if isinstance(node, yaml.MappingNode):
                _refuse_doubled(node, notes)
            stack.append((node, True))
            stack.extend((child, False) for child in inside)
        if is_left and sizes[id(node)] > MAX_EXPANDED_NODES:
            at = node.start_mark.line + 1
            notes.refuse(f"line {at}: the YAML's aliases multiply without end", hint="Write the values out.")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _refuse_doubled(node: yaml.MappingNode, notes: Notes) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                at = key.start_mark.line + 1
                notes.refuse(f"line {at}: the key {shown(key.value)} stands twice", hint="Keep one of them.")
            seen.add(key.value)
