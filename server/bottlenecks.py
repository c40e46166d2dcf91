"""What held the crew up, each with its impact and what to do about it (R-153, R-301). Pure.

A figure here is a share of the time in which tasks were in hand; below ``WORTH_TELLING`` of it nothing is told.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .facts import Activity, Task
from .makespan import elapsed, time_by_phase
from .wording import counted, lasted

Severity = Literal["critical", "high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
WORTH_TELLING = 0.1
SLOW = 3.0  # times the median of at least that many tasks
FEW = 3
LEAST_MS = 60_000


@dataclass(frozen=True)
class Bottleneck:
    """One of them; ``affected_tasks`` has those that lost most first."""

    issue: str
    impact: str
    affected_tasks: tuple[str, ...]
    severity: Severity
    recommendation: str


@dataclass(frozen=True)
class _Wait:
    issue: str
    phases: tuple[str, ...]
    recommendation: Callable[[Activity], str]


def found(activity: Activity) -> list[Bottleneck]:
    """All of them, the most severe first."""
    everything = [
        *_failed_blockers(activity),
        *(_waits(activity) if tells_speed(activity) else ()),
        *_lost_work(activity),
        *_merges(activity),
        *(_slow_tasks(activity) if tells_speed(activity) else ()),
        *_machine(activity),
        *_holds(activity),
    ]
    return sorted(everything, key=lambda each: SEVERITIES.index(each.severity))


def tells_speed(activity: Activity) -> bool:
    """Whether what was faster or slower is worth a word: not in a try of a minute, nor of simulated agents alone."""
    is_simulated = bool(activity.agents) and all(agent.kind == "scripted" for agent in activity.agents)
    return elapsed(activity.tasks) >= LEAST_MS and not is_simulated


def _waits(activity: Activity) -> Iterator[Bottleneck]:
    spent = time_by_phase(activity.tasks)
    total = sum(spent.values()) - spent["paused"]
    for wait in _WAITS:
        lost = sum(spent[phase] for phase in wait.phases)
        if total and lost >= WORTH_TELLING * total:
            yield Bottleneck(
                wait.issue,
                f"{lasted(lost / 1000)} in all, {100 * lost / total:.0f} % of the time in which tasks were in hand.",
                _most(activity.tasks, *wait.phases),
                _by_share(lost / total),
                wait.recommendation(activity),
            )


def _for_slots(activity: Activity) -> str:
    cpu, memory = activity.measures.get("cpu_percent"), activity.measures.get("memory_percent")
    if (cpu and cpu.mean >= 80) or (memory and memory.mean >= 75):
        return "The machine is busy: more agents would not be faster. Use a larger one, or lighter checks."
    if any(hold.scope for hold in activity.holds):
        return "Launches were held back meanwhile; see why below, then raise crew.max_parallel if it is still so."
    return "Raise crew.max_parallel (or max_instances of the agent type) while CPU and memory have room."


_WAITS = (
    _Wait(
        "Tasks wait for the tasks that they depend on",
        ("dependencies",),
        lambda _: "Shorten the critical path: split its longest task, or drop dependencies that only order.",
    ),
    _Wait("Tasks wait for a free agent", ("slot",), _for_slots),
    _Wait(
        "Tasks wait for a restart after a failed attempt",
        ("restart",),
        lambda _: "Look at why attempts fail (errors, below); a lower crew.restart_backoff_seconds waits less.",
    ),
    _Wait(
        "Nobody supervised while there was something to be done",
        ("unsupervised",),
        lambda _: "`crewyard start` supervises in the background, whatever becomes of a terminal.",
    ),
    _Wait(
        "Finished work waits for the merge queue or its check",
        ("proving", "merging"),
        lambda _: "Make merge.check faster, or let it run the tests of what changed only.",
    ),
    _Wait(
        "Finished work waits for an approval",
        ("approval",),
        lambda _: "Approve sooner (`crewyard worktrees` lists what waits), or set merge.auto_approve.",
    ),
)


def _failed_blockers(activity: Activity) -> Iterator[Bottleneck]:
    failed = {task.task_id for task in activity.tasks if task.status in ("failed", "cancelled")}
    waiting: dict[str, list[str]] = {}
    for task in activity.tasks:
        for blocker in activity.blockers.get(task.task_id, ()) if task.status == "pending" else ():
            if blocker in failed:
                waiting.setdefault(blocker, []).append(task.task_id)
    for blocker, tasks in sorted(waiting.items()):
        yield Bottleneck(
            f"{blocker} did not complete, and others depend on it",
            f"{counted(len(tasks), 'task')} cannot start.",
            (blocker, *tasks),
            "critical",
            f"why(subject='{blocker}') tells what happened; plan(action='update') opens it again.",
        )


def _lost_work(activity: Activity) -> Iterator[Bottleneck]:
    blamed = {agent.agent_id for agent in activity.agents if agent.blamed}
    lost: Counter[str] = Counter()
    for task in activity.tasks:
        lost[task.task_id] = sum(span.length for span in task.spans if span.agent_id in blamed)
    wasted, worked = sum(lost.values()), sum(task.spent("working") for task in activity.tasks)
    if worked and wasted >= WORTH_TELLING * worked:
        yield Bottleneck(
            "Attempts fail and are made again",
            f"{lasted(wasted / 1000)} of {lasted(worked / 1000)} of agents' work was in attempts that failed.",
            tuple(name for name, length in lost.most_common(10) if length),
            _by_share(wasted / worked),
            "Describe the failing tasks more closely, or split them; their logs tell why they fail.",
        )


def _merges(activity: Activity) -> Iterator[Bottleneck]:
    for status, issue, cure in (
        ("conflicted", "Branches conflict", "Name each task's files in the plan, so that rivals do not run together."),
        ("rejected", "Merged work fails its check", "Give tasks a check of their own, so that they fail before."),
    ):
        rows = [merge for merge in activity.merges if merge.status == status]
        if rows:
            share = len(rows) / len(activity.merges)
            impact = f"{len(rows)} of {counted(len(activity.merges), 'merge')} went back to an agent or to review."
            names = tuple(dict.fromkeys(merge.task_id for merge in rows))[:10]
            yield Bottleneck(issue, impact, names, _by_share(share), cure)
    flaky = tuple(dict.fromkeys(merge.task_id for merge in activity.merges if merge.flaky))
    if flaky:
        impact = f"{counted(len(flaky), 'merge')} passed only when the check was run again."
        yield Bottleneck(
            "The merge check is flaky", impact, flaky[:10], "medium", "Mend the tests that fail by chance."
        )


def _slow_tasks(activity: Activity) -> Iterator[Bottleneck]:
    lengths = {task.task_id: task.spent("working") for task in activity.tasks if task.status == "completed"}
    if len(lengths) < FEW:
        return
    usual = sorted(lengths.values())[len(lengths) // 2]
    slow = sorted((name for name in lengths if lengths[name] > SLOW * usual), key=lambda name: -lengths[name])
    if slow and usual:
        yield Bottleneck(
            "Some tasks take far longer than the others",
            f"{slow[0]} took {lengths[slow[0]] / usual:.1f} times as long as half of the tasks do at most.",
            tuple(slow[:10]),
            "low",
            "Split them, or give them a higher priority so that they start first.",
        )


def _machine(activity: Activity) -> Iterator[Bottleneck]:
    for name, what, limit, cure in (
        ("cpu_percent", "CPU", 80, "Run fewer agents at once (crew.max_parallel), or use a larger machine."),
        ("memory_percent", "memory", 75, "Run fewer agents at once, or limit their memory (memory_limit_mb)."),
        ("swap_percent", "swap", 50, "Run fewer agents at once: a machine that swaps is slower than an idle slot."),
        ("disk_percent", "disk", 80, "Free some: `crewyard worktrees` shows what may be removed."),
    ):
        measure = activity.measures.get(name)
        if measure is not None and measure.mean >= limit:
            impact = f"{measure.mean:.0f} % on the average, {measure.maximum:.0f} % at most."
            severity: Severity = "critical" if measure.mean >= 95 else "high"
            yield Bottleneck(f"The machine is short of {what}", impact, (), severity, cure)


def _holds(activity: Activity) -> Iterator[Bottleneck]:
    for (scope, reason), times in Counter((hold.scope, hold.reason) for hold in activity.holds).most_common():
        last = next(hold for hold in reversed(activity.holds) if (hold.scope, hold.reason) == (scope, reason))
        whom = "No agent was" if scope == "*" else f"No agent of type {scope} was"
        yield Bottleneck(
            f"{whom} started for a while ({reason})",
            f"{counted(times, 'time')}; last: {last.message[:160]}",
            (),
            "high" if reason in ("quota", "failed_starts", "not_logged_in", "merges_wait") else "low",
            _HOLDS.get(reason, "why(subject=TASK) tells what a task waits for."),
        )


_HOLDS = {
    "quota": "Wait for the provider's limit to end, or give some types another provider.",
    "failed_starts": "Start the agent's command by hand once: it ends before it has done anything.",
    "not_logged_in": "Log the agents' program in, and try it with `crewyard doctor --try`.",
    "merges_wait": "Look at the merge queue: `crewyard worktrees`.",
    "cpu": "The machine was busy; fewer agents at once, or a larger machine.",
    "memory": "The machine was short of memory; fewer agents at once, or a larger machine.",
    "disk": "The disk was nearly full: free some.",
}


def _by_share(share: float) -> Severity:
    return "high" if share >= 0.5 else "medium" if share >= 0.25 else "low"


def _most(tasks: Iterable[Task], *phases: str, limit: int = 10) -> tuple[str, ...]:
    lost: Sequence[tuple[int, str]] = sorted((-task.spent(*phases), task.task_id) for task in tasks)
    return tuple(name for length, name in lost[:limit] if length)
