"""Where projects are held up, and what would help: a pure judgement of what was measured (R-221, R-249)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from ..next_calls import call
from ..wording import counted, lasted
from .measures import FAILED, Figures, Measures
from .pipeline import Pipeline

Severity = Literal["critical", "high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
FEW = 5  # a rate of fewer tells nothing
ERRORS_MATTER, SLOWER_MATTERS = 0.1, 1.5


@dataclass(frozen=True)
class Bottleneck:
    """``next_call`` is a step that a tool takes; what needs a setting is in the suggestion only."""

    workflow: str
    issue: str
    impact: str
    severity: Severity
    suggestion: str
    next_call: str


def found(measures: Measures, line: Pipeline, before: Measures | None = None) -> list[Bottleneck]:
    """All of them, the most severe first. ``before`` is the range of equal length that came before this one."""
    earlier = {each.workflow: each for each in before.workflows} if before is not None else {}
    everything: list[Bottleneck] = []
    for each in measures.workflows:
        everything += [
            *_nobody(each), *_queue(each, line), *_unstarted(each), *_named(each), *_offline(each), *_review(each),
            *_errors(each), *_slower(each, earlier.get(each.workflow)),
        ]  # fmt: skip
    everything += _undeployed(measures)
    return sorted(everything, key=lambda each: SEVERITIES.index(each.severity))


def _there(each: Figures) -> int:
    return each.workers_now["idle"] + each.workers_now["busy"]


def _nobody(each: Figures) -> Iterator[Bottleneck]:
    if each.waiting_now and not _there(each):
        yield Bottleneck(
            each.workflow,
            "Items wait and nobody works there",
            f"{counted(each.waiting_now, 'item')} cannot begin.",
            "critical",
            "Restart its workers." if each.workers_now["offline"] else "Add a worker, or raise its min_workers.",
            call("workers", action="restart_failed")
            if each.workers_now["offline"]
            else call("workers", action="scale_up", workflow=each.workflow),
        )


def _queue(each: Figures, line: Pipeline) -> Iterator[Bottleneck]:
    settings, there = line.settings, _there(each)
    is_long = each.waiting_now > settings.scale_up_depth or each.oldest_wait_now > 60 * settings.scale_up_wait_minutes
    if not is_long or not there:
        return
    can_grow = there < each.stage.max_workers
    yield Bottleneck(
        each.workflow,
        "Items wait for a free worker",
        f"{counted(each.waiting_now, 'item')} wait, the oldest for {lasted(each.oldest_wait_now)}; {_pace(each)}",
        "critical" if each.waiting_now > settings.overflow_depth else "high",
        f"Add workers: there are {there} of at most {each.stage.max_workers}."
        if can_grow
        else f"All {there} workers that it may have are there: raise workflows.stages.{each.workflow}.max_workers, "
        "or have more for a while.",
        call("workers", action="scale_up", workflow=each.workflow)
        if can_grow
        else call("workers", action="scale_up", workflow=each.workflow, emergency=True),
    )


def _pace(each: Figures) -> str:
    return f"{each.arrived} came and {each.finished} were finished."


def _unstarted(each: Figures) -> Iterator[Bottleneck]:
    """More workers would not help here: the machine, or crew.max_parallel, lets no more agents run (C-42)."""
    if each.unstarted_now and each.unstarted_now * 2 >= each.working_now:
        yield Bottleneck(
            each.workflow,
            "Workers have items whose agents do not run yet",
            f"{each.unstarted_now} of {each.working_now}.",
            "high",
            "Look at what holds launches back; if the machine has room, raise crew.max_parallel or the agent type's "
            "max_instances.",
            call("monitor_resource_usage"),
        )


def _named(each: Figures) -> Iterator[Bottleneck]:
    if each.named_now:
        yield Bottleneck(
            each.workflow,
            "Items wait for a busy worker while others are idle",
            f"{counted(each.named_now, 'item')} assigned by hand.",
            "medium",
            "Let any worker have them.",
            call("queues", action="rebalance"),
        )


def _offline(each: Figures) -> Iterator[Bottleneck]:
    if each.workers_now["offline"] and _there(each):
        yield Bottleneck(
            each.workflow,
            "Workers are offline",
            f"{each.workers_now['offline']} of {_there(each) + each.workers_now['offline']}.",
            "high" if each.waiting_now else "low",
            "Restart them.",
            call("workers", action="restart_failed"),
        )


def _review(each: Figures) -> Iterator[Bottleneck]:
    if each.review_now:
        reasons = ", ".join(f"{code} {number}" for code, number in each.errors.most_common(3))
        yield Bottleneck(
            each.workflow,
            "Failed work waits for a judgement",
            f"{counted(each.review_now, 'item')} ({reasons}).",
            "high" if each.review_now >= FEW else "medium",
            "Decide each: retry, reject, or return it to an earlier stage.",
            call("queues", action="status", workflow="review"),
        )


def _errors(each: Figures) -> Iterator[Bottleneck]:
    ended = sum(each.outcomes[word] for word in ("done", *FAILED))
    failed = sum(each.outcomes[word] for word in FAILED)
    if ended >= FEW and failed >= ERRORS_MATTER * ended:
        yield Bottleneck(
            each.workflow,
            "Work fails often",
            f"{failed} of {ended}: {100 * failed / ended:.0f} %.",
            "high" if failed * 4 >= ended else "medium",
            "Read the errors in review; say more in the stage's instructions, or mend its check.",
            call("queues", action="status", workflow="review"),
        )


def _slower(each: Figures, before: Figures | None) -> Iterator[Bottleneck]:
    """R-249: watch average completion times."""
    if before is None or len(each.took) < FEW or len(before.took) < FEW:
        return
    now, then = median(each.took), median(before.took)
    if now >= SLOWER_MATTERS * then:
        yield Bottleneck(
            each.workflow,
            "Items take longer than before",
            f"{lasted(now)} against {lasted(then)} in the time before (medians of {len(each.took)} and "
            f"{len(before.took)}).",
            "medium",
            "Look at what its workers do, and at the load of the machine.",
            call("monitor_resource_usage"),
        )


def _undeployed(measures: Measures) -> Iterator[Bottleneck]:
    if measures.undeployed:
        stages: Sequence[str] = [each.workflow for each in measures.workflows if each.stage.hands_over == "deployed"]
        yield Bottleneck(
            next(iter(stages), ""),
            "Projects are done here and not deployed",
            f"{counted(measures.undeployed, 'project')} in no queue.",
            "medium",
            "Deploy them and trigger the next stage, or have the worker report a deployment_url.",
            call("projects", action="status"),
        )
