"""The stages as they are configured, and what each wants to be told at its end."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import InvalidInput, WorkflowNotFound
from ..workflow_sections import Routing, Stage, Worker, Workflows

DEPLOYMENT = "deployment_url"
REPOSITORY = "repository_url"


@dataclass(frozen=True)
class Pipeline:
    """``[workflows]``, asked by stage."""

    settings: Workflows

    @property
    def names(self) -> list[str]:
        return list(self.settings.stages)

    @property
    def first(self) -> str:
        return self.names[0]

    def stage(self, name: str) -> Stage:
        """Raises WorkflowNotFound, with the nearest name there is."""
        found = self.settings.stages.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.names, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(self.names)}."
            raise WorkflowNotFound(f"There is no workflow {name!r}.", hint=hint, workflow=name)
        return found

    def after(self, name: str) -> str | None:
        """The stage that comes after it; None after the last. A stage that is configured no more is the last."""
        place = self.names.index(name) + 1 if name in self.names else len(self.names)
        return self.names[place] if place < len(self.names) else None

    def before(self, name: str) -> list[str]:
        return self.names[: self.names.index(name)] if name in self.names else self.names

    def routing(self, name: str) -> Routing:
        return self.stage(name).routing or self.settings.routing

    def roster(self, name: str) -> list[Worker]:
        """The profiles of a stage's workers: those configured, then further ones, which are nameless equals.

        Raises WorkflowNotFound.
        """
        self.stage(name)
        return self._rosters[name]

    @cached_property
    def _rosters(self) -> dict[str, list[Worker]]:
        return {name: _profiles(name, stage) for name, stage in self.settings.stages.items()}

    @property
    def agent_types(self) -> set[str]:
        """Those of all its workers."""
        return {self.agent_of(name, worker) for name in self.names for worker in self.roster(name)}

    def agent_of(self, name: str, worker: Worker) -> str:
        return worker.agent or self.stage(name).agent


def of(workflows: Workflows | None) -> Pipeline:
    """Raises InvalidInput where none are configured."""
    if workflows is None:
        raise InvalidInput(
            "crewyard.toml has no [workflows].",
            hint="`crewyard init --workflows` writes them; then start the server anew.",
        )
    return Pipeline(workflows)


def _profiles(name: str, stage: Stage) -> list[Worker]:
    taken = {worker.name for worker in stage.workers}
    numbered = (f"{name.lower()}-{n:02d}" for n in range(1, stage.most_in_emergency + len(taken) + 1))
    return [*stage.workers, *(Worker(name=each) for each in numbered if each not in taken)]


def check_output(name: str, stage: Stage, output: Mapping[str, Any] | None) -> None:
    """Raises InvalidInput where what a worker reported is not what its stage asks for."""
    if not stage.output:
        return
    from jsonschema import Draft202012Validator

    fault = next(Draft202012Validator(stage.output).iter_errors({} if output is None else dict(output)), None)
    if fault is not None:
        place = fault.json_path.removeprefix("$").lstrip(".")
        raise InvalidInput(
            f"The output of {name} is not as it is asked for: {f'{place}: ' if place else ''}{fault.message}",
            hint=f"Report again, with an `output` that fits {json.dumps(stage.output)}",
        )


def briefing(stage: Stage) -> str:
    """What a worker is told of how to hand over."""
    if not stage.output:
        return ""
    return (
        'At the end hand over what the next stage needs, as `output` of `report(action="complete", output=…)`, or as a '
        "file of that JSON at the path in the environment variable CREWYARD_OUTPUT_FILE where you have no such tool. "
        f"It must fit this JSON Schema:\n\n```json\n{json.dumps(stage.output, indent=2)}\n```"
    )
