"""Calls of tools as clients may make them, from their JSON schemas: fitting, nearly fitting, and wild."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

WAITS = "wait_seconds"  # a call may wait that long; nobody wants to here
LONGEST_WAIT = 0.02
NASTY = (
    "", " ", "--force", "-", "--", "-h", "../x", "..", "/", "/etc/shadow", "/dev/zero", "pipe", ".", ".git/config",
    "a\x00b", "\x00", "a\nb", "a\tb", "refs/heads/x", "refs/heads/../x", "HEAD", "@{-1}", "a..b", "x.lock", "~", "*",
    "%", "_", "'; DROP TABLE specs_task; --", '"', "\\", "$(true)", "`true`", "\u202e", "\u200b",
    "e\u0301", "\ufeff", "\ufffe", "İ", "ß", "😀" * 50, "x" * 70_000, "a" * 300, "null", "None", "0", "-1", "NaN",
    "1e999", "9" * 400, "lead", "ALL", "all", "crewyard", "orchestrator", "builder", "project_manager", "roadmap",
    '{"tasks": [{"task_id": "N", "title": "n"}]}', '{"tasks": [1, null, {}]}', "# T\n- [ ] A\n", "[" * 5_000, "{",
    "tasks: &a [*a]", "a: b: c", "- - - -", "true", "2026-01-01T00:00:00.000Z",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 10, 50, 100, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e-9, 1e308,
    float("nan"), float("inf"), float("-inf"), True, False,
)  # fmt: skip
FIELDS = (
    "task_id",
    "title",
    "description",
    "depends_on",
    "priority",
    "files",
    "agent_type",
    "check",
    "hours",
    "status",
)


def calls(schemas: Mapping[str, Mapping[str, Any]], known: Sequence[str]) -> st.SearchStrategy[Any]:
    """Pairs of a tool's name and its arguments. ``known`` are ids of what there is."""
    own = st.sampled_from(sorted(schemas)).flatmap(
        lambda name: st.tuples(st.just(name), arguments(schemas[name], known))
    )
    stray = st.tuples(texts(known), objects(known))
    return st.one_of(own, own, own, own, own, stray)


def arguments(schema: Mapping[str, Any], known: Sequence[str]) -> st.SearchStrategy[Any]:
    """Some of the arguments that the schema names, and now and then one that it does not."""
    named = {key: _value(each, known) for key, each in schema["properties"].items()}
    actions = schema["properties"].get("action", {}).get("enum")
    always = {"action": st.one_of(*[st.sampled_from(actions)] * 4, named["action"])} if actions else {}
    rest = {key: each for key, each in named.items() if key not in always}
    some = st.lists(st.sampled_from(sorted(rest)), max_size=4, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({**always, **{key: rest[key] for key in keys}})
    )
    strange = st.builds(lambda one, other: {**one, **other}, some, objects(known))
    return st.one_of(some, some, some, some, strange).map(_in_no_time)


def _in_no_time(given: dict[str, Any]) -> dict[str, Any]:
    wait = given.get(WAITS)
    is_long = isinstance(wait, int | float) and LONGEST_WAIT < wait <= 1_000
    return {**given, WAITS: LONGEST_WAIT} if is_long else given


def _value(schema: Mapping[str, Any], known: Sequence[str]) -> st.SearchStrategy[Any]:
    fits = _fitting(schema, known)
    return st.one_of(fits, fits, fits, anything(known))


def _fitting(schema: Mapping[str, Any], known: Sequence[str]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([_fitting(each, known) for each in schema["anyOf"]])
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "integer":
            return st.one_of(st.integers(0, 60), st.integers(), st.sampled_from([n for n in NUMBERS if n == n]))
        case "number":
            return st.one_of(st.floats(0, 60), st.floats(), st.sampled_from(NUMBERS))
        case "array":
            return st.lists(_fitting(schema.get("items", {}), known), max_size=4)
        case "object":
            return st.one_of(st.dictionaries(st.sampled_from(FIELDS), anything(known), max_size=4), objects(known))
        case _:
            return texts(known)


def texts(known: Sequence[str]) -> st.SearchStrategy[str]:
    # Lone surrogates are refused by the client's own library; a server gets them from others only.
    anything_at_all = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    return st.one_of(st.sampled_from([*known, "A"]), st.sampled_from(NASTY), anything_at_all)


def objects(known: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(texts(known), anything(known), max_size=3)


def anything(known: Sequence[str]) -> st.SearchStrategy[Any]:
    plain = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(), st.floats(), texts(known))
    deep = st.integers(1, 100).map(nested)  # the client takes no deeper ones
    return st.one_of(
        plain, plain, deep, st.recursive(plain, lambda each: st.lists(each, max_size=3) | st.dictionaries(
            texts(known), each, max_size=3), max_leaves=8),
    )  # fmt: skip


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found
