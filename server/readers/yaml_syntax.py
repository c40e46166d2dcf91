"""Text to YAML data. Apart from what reads JSON, since importing PyYAML takes longer than most plans."""

from typing import Any

import yaml

from .fields import shown
from .notes import Notes

MAX_DEPTH = 60
MAX_EXPANDED_NODES = 5_000_000
# What PyYAML's constructors raise beside YAMLError, for values such as 2024-13-45 or `!!bool maybe`.
BROKEN_VALUES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
