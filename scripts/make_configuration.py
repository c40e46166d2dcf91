"""Writes docs/configuration.md from server/settings.py; with --check it only says whether that is current."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from crewyard.server import settings
from crewyard.server.workflow_sections import Stage, Worker, Workflows

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

HEAD = """\
# Configuration

<!-- Made from server/settings.py by `make docs`; change it there. -->

`crewyard.toml` at the root of the repository that the crew works on; `crewyard init` writes one. Every key has a
default, so the file may be missing. An environment variable comes before the file; a list is given as JSON
(`CREWYARD_MERGE_CHECK='["make", "test"]'`). An unknown key, an unknown variable or a wrong value is an error that names
the place and the nearest right one; nothing is started then. Settings are read at a start: `crewyard stop` and
`crewyard start` take a change to the daemon, a new session takes it to a client's server.

Durations are in seconds.
"""

PLACEHOLDERS = """\
One table for each type of agent, under a name of your choice: `[agents.code_developer]`. These keys have no environment
variable. In `command`, these are replaced: `{prompt}`, `{prompt_file}`, `{task_id}`, `{worktree}`, `{agent_id}`,
`{mcp_config}`, `{attempt}`.
"""


STAGES = """\
One table for each stage, in their order: `[workflows.stages.genesis]`. [workflows.md](workflows.md) is the guide.
"""
WORKERS = """\
One for each worker of the roster, in the order in which workers come. What a stage needs beyond its roster are workers
without specialities, `genesis-01` and so on.
"""
NESTED = {"stages": "tables, below", "workers": "tables, below"}

TYPES = {str: "text", bool: "`true` or `false`", int: "whole number", float: "number", list[str]: "list of texts",
         dict[str, str]: "table of texts", dict[str, Any]: "table"}  # fmt: skip
BOUNDS = {"gt": "above {}", "ge": "at least {}", "le": "at most {}"}


def document() -> str:
    parts = [HEAD]
    for name, model in settings.sections().items():
        parts += [f"## `[{name}]`\n", f"{model.__doc__}\n", table(model, name)]
        if name == "crew":
            parts += ["## `[agents.NAME]`\n", f"{settings.Agent.__doc__}\n", PLACEHOLDERS, table(settings.Agent)]
    parts += ["## `[workflows]`\n", f"{Workflows.__doc__} Its keys have no environment variables.\n", table(Workflows)]
    parts += ["## `[workflows.stages.NAME]`\n", f"{Stage.__doc__}\n", STAGES, table(Stage)]
    parts += ["## `[[workflows.stages.NAME.workers]]`\n", f"{Worker.__doc__}\n", WORKERS, table(Worker)]
    return "\n".join(parts)


def table(model: type[settings.Section], section: str = "") -> str:
    heads = ["Key", "Type", "Default", "What it is", *(["Variable"] if section else [])]
    lines = [row(heads), row(["---"] * len(heads))]
    for key, field in model.model_fields.items():
        variable = [f"`CREWYARD_{section}_{key}`".upper()] if section else []
        kind = NESTED.get(key) or described(field.annotation, field.metadata)
        lines.append(row([f"`{key}`", kind, default(field), field.description or "", *variable]))
    return "\n".join(lines) + "\n"


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def described(annotation: Any, constraints: Iterable[object] = ()) -> str:
    """A type as a person writes it in the file, with its bounds."""
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return described(inner, [bound for field in more for bound in field.metadata])
    if NoneType in get_args(annotation):
        [inner] = [choice for choice in get_args(annotation) if choice is not NoneType]
        return described(inner, constraints)
    if get_origin(annotation) is list and annotation not in TYPES:
        return f"list, each a {described(*get_args(annotation))}"
    bounds = [
        phrase.format(getattr(constraint, name))
        for constraint in constraints
        for name, phrase in BOUNDS.items()
        if hasattr(constraint, name)
    ]
    return ", ".join([TYPES[annotation], *bounds])


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else f"`{json.dumps(value)}`"


def main() -> None:
    text = document()
    if sys.argv[1:] != ["--check"]:
        DOCUMENT.write_text(text, encoding="utf-8")
    elif not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text:
        sys.exit(f"{DOCUMENT.name} is not what server/settings.py says: make docs")


if __name__ == "__main__":
    main()
