"""The ``[workflows]`` that document 003 describes, as ``crewyard init --workflows`` writes it (R-250 to R-259)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HEAD = """\
# ---- Workflows (document 003): projects come in with `crewyard workflow "/dispatch-genesis …"`, or with the slash
# command of that name in a client, and flow through these stages. Each has workers of its own, more of them while
# much waits. docs/workflows.md of Crewyard is the guide, docs/configuration.md has every key."""
NO_AGENT = "# No agent program was found: name here one of [agents] in place of the simulated one."
TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}


@dataclass(frozen=True)
class _Stage:
    name: str
    settings: Mapping[str, Any]
    instructions: str
    required: Sequence[str]
    properties: Mapping[str, Mapping[str, Any]]
    workers: Mapping[str, Sequence[str]] = field(default_factory=dict)


GENESIS = _Stage(
    "genesis",
    {"min_workers": 2, "max_workers": 3, "routing": "specialised", "target_per_hour": 8},
    """\
Set the project up: a repository with its structure, build, tests and continuous integration, and its work cut into
issues of one to three days, each with what proves it done. Commit what you write.""",
    ["repository_url", "issues_created"],
    {"repository_url": TEXT, "issues_created": COUNT},
    {"genesis-01": ["complex"], "genesis-02": ["standard"], "genesis-03": ["simple"]},
)
DEVELOPMENT = _Stage(
    "development",
    {
        "min_workers": 3,
        "max_workers": 5,
        "hands_over": "deployed",
        "target_per_hour": 3,
        "per_worker": True,
        "counts": "features",
    },
    """\
Work the project's issues off, test first, to a coverage of 90 % or more, review what you wrote, and deploy it. Report
the deployment_url as soon as it is deployed, as output of your progress: the next workflow begins then. Commit as you
go.""",
    ["deployment_url", "features"],
    {
        "deployment_url": TEXT,
        "features": COUNT,
        "test_coverage": {"type": "number", "minimum": 0, "maximum": 100},
        "deployed_first_time": {"type": "boolean"},
    },
    {
        "dev-01": ["tests", "tdd"],
        "dev-02": ["features"],
        "dev-03": ["review", "qa"],
        "dev-04": ["ci-cd", "deployment"],
        "dev-05": ["performance"],
    },
)
CONTENT = _Stage(
    "content",
    {"min_workers": 2, "max_workers": 3, "target_per_hour": 5, "counts": "pieces"},
    """\
Write what makes the project known and usable: technical documentation, marketing, and posts for the channels where its
users are. Commit each piece as a file of its own.""",
    ["pieces"],
    {"pieces": {"type": "integer", "minimum": 1}},
    {"content-01": ["documentation"], "content-02": ["marketing"], "content-03": ["social-media", "distribution"]},
)


def tables(agent: str, *, is_simulated: bool = False) -> str:
    """All of it but the common settings, for workers of this type of agent."""
    return "\n\n".join(_table(stage, agent, is_simulated=is_simulated) for stage in (GENESIS, DEVELOPMENT, CONTENT))


def _table(stage: _Stage, agent: str, *, is_simulated: bool) -> str:
    place = f"workflows.stages.{stage.name}"
    lines = [f"[{place}]", *([NO_AGENT] if is_simulated else []), f"agent = {json.dumps(agent)}"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in stage.settings.items()]
    lines += [f'instructions = """\n{stage.instructions}\n"""', f"[{place}.output]", 'type = "object"']
    lines += [f"required = {json.dumps(stage.required)}"]
    lines += [f"properties.{name} = {_inline(schema)}" for name, schema in stage.properties.items()]
    for name, specialities in stage.workers.items():
        lines += [f"[[{place}.workers]]", f'name = "{name}"', f"specialities = {json.dumps(specialities)}"]
    return "\n".join(lines)


def _inline(values: Mapping[str, Any]) -> str:
    return f"{{ {', '.join(f'{name} = {json.dumps(value)}' for name, value in values.items())} }}"
