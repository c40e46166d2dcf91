"""What holds projects up, with what would help (R-221, R-249)."""

from collections import Counter
from typing import Any

import pytest

from crewyard.server.workflow_sections import Stage, Workflows
from crewyard.server.workflows import bottlenecks
from crewyard.server.workflows.measures import Figures, Measures
from crewyard.server.workflows.pipeline import Pipeline

from .tool_calls import fault_of, fault_of_line
from .workflows.line import NOW

STAGES: dict[str, Any] = {"genesis": {"agent": "builder"}, "content": {"agent": "builder", "hands_over": "deployed"}}
LINE = Pipeline(Workflows.model_validate({"stages": STAGES}))


def figures(**known: Any) -> Figures:
    workers = {"idle": 0, "busy": 1, "offline": 0} | known.pop("workers", {})
    return Figures("genesis", Stage(agent="builder"), workers_now=Counter(workers), **known)


def measures(each: Figures, *, undeployed: int = 0) -> Measures:
    last = Figures("content", LINE.stage("content"), workers_now=Counter(idle=1))
    return Measures(NOW, NOW, (each, last), (), undeployed, Counter(), 0.0, 0.0, is_simulated=False)


@pytest.mark.parametrize(
    ("known", "issue", "severity", "helps"),
    [
        ({"waiting_now": 1, "workers": {"busy": 0}}, "nobody works there", "critical", "action='scale_up'"),
        ({"waiting_now": 1, "workers": {"busy": 0, "offline": 2}}, "nobody works there", "critical", "restart_failed"),
        ({"waiting_now": 11}, "wait for a free worker", "high", "action='scale_up', workflow='genesis')"),
        ({"waiting_now": 21}, "wait for a free worker", "critical", "scale_up"),
        ({"waiting_now": 11, "workers": {"busy": 3}}, "wait for a free worker", "high", "emergency=True"),
        ({"waiting_now": 1, "oldest_wait_now": 1801.0}, "wait for a free worker", "high", "scale_up"),
        ({"working_now": 3, "unstarted_now": 2}, "agents do not run yet", "high", "monitor_resource_usage"),
        ({"waiting_now": 1, "named_now": 1}, "a busy worker while others are idle", "medium", "rebalance"),
        ({"workers": {"offline": 1}}, "Workers are offline", "low", "restart_failed"),
        ({"workers": {"offline": 1}, "waiting_now": 1}, "Workers are offline", "high", "restart_failed"),
        ({"review_now": 1, "errors": Counter(check_failed=1)}, "waits for a judgement", "medium", "review"),
        ({"review_now": 5, "errors": Counter(check_failed=5)}, "waits for a judgement", "high", "review"),
        ({"outcomes": Counter(done=9, review=1)}, "Work fails often", "medium", "review"),
        ({"outcomes": Counter(done=3, review=1, failed_over=1)}, "Work fails often", "high", "review"),
    ],
)  # fmt: skip
def test_r221_each_bottleneck_comes_with_what_helps(
    known: dict[str, Any], issue: str, severity: str, helps: str
) -> None:
    [found] = bottlenecks.found(measures(figures(**known)), LINE)

    assert issue in found.issue
    assert (found.workflow, found.severity) == ("genesis", severity)
    assert helps in found.next_call
    assert found.suggestion
    assert fault_of(found.next_call) is None
    assert fault_of_line(found.next_call) is None


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"waiting_now": 10, "oldest_wait_now": 1800.0},
        {"outcomes": Counter(done=3, review=1)},
        {"outcomes": Counter(done=19, review=1)},
        {"working_now": 3, "unstarted_now": 1},
    ],
)
def test_what_is_as_it_should_be_is_no_bottleneck(known: dict[str, Any]) -> None:
    assert bottlenecks.found(measures(figures(**known)), LINE) == []


def test_r249_a_workflow_that_became_slower_is_found() -> None:
    before, now = figures(took=[60.0] * 5), figures(took=[90.0] * 5)
    [found] = bottlenecks.found(measures(now), LINE, measures(before))

    assert "take longer than before" in found.issue
    assert "90 s against 60 s" in found.impact
    assert bottlenecks.found(measures(figures(took=[90.0] * 4)), LINE, measures(before)) == [], "four tell nothing"


def test_projects_that_wait_for_their_deployment_are_told_of() -> None:
    [found] = bottlenecks.found(measures(figures(), undeployed=2), LINE)

    assert (found.workflow, found.impact) == ("content", "2 projects in no queue.")
    assert fault_of(found.next_call) is None
    assert fault_of_line(found.next_call) is None


def test_the_most_severe_stands_first() -> None:
    found = bottlenecks.found(measures(figures(waiting_now=30, named_now=1, workers={"offline": 1})), LINE)

    assert [each.severity for each in found] == ["critical", "high", "medium"]
