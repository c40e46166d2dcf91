"""The figures of an activity summary (R-153, R-155, R-156). Pure: what was recorded in, one JSON object out.

Durations are in seconds or hours, by their names; None is what nothing was recorded of.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from . import bottlenecks, clock, makespan
from .facts import Activity, Agent, Measure, Task
from .wording import counted, cut

MARK = "crewyard activity summary"
TARGET_SPEED_UP = (3.0, 6.0)
RESOURCES = {"cpu_percent": "cpu", "memory_percent": "memory", "swap_percent": "swap", "disk_percent": "disk"}
MESSAGE = 200


def of(activity: Activity, name: str) -> dict[str, Any]:
    """The whole summary of the range ``name``."""
    tasks, states = activity.tasks, _states(activity.tasks)
    found = bottlenecks.found(activity)
    figures = {
        "generator": MARK,
        "range": {"name": name, "since": _text(activity.since), "until": _text(activity.until)},
        "summary": states,
        "performance": _performance(activity, states),
        "time_seconds": {phase: _s(length) for phase, length in makespan.time_by_phase(tasks).items()},
        "critical_path": _path(activity),
        "agents": {name: _agents(of_type, activity) for name, of_type in _by_type(activity.agents).items()},
        "usage": _usage(activity.agents),
        "merges": _merges(activity),
        "resources": _resources(activity.measures),
        "bottlenecks": [asdict(each) | {"affected_tasks": list(each.affected_tasks)} for each in found],
        "errors": _errors(activity),
        "tasks": [_task(task, activity.agents_of(task.task_id)) for task in tasks if task.spans or task.ended],
        "timeline": _timeline(activity),
    }
    return figures | {"next_steps": _next_steps(figures, activity)}


def _states(tasks: Sequence[Task]) -> dict[str, Any]:
    names = [task.status for task in tasks]
    completed, failed = names.count("completed"), names.count("failed")
    ended = completed + failed
    return {
        "total": len(tasks),
        "completed": completed,
        "running": names.count("assigned") + names.count("in_progress"),
        "failed": failed,
        "pending": names.count("pending") + names.count("ready"),
        "cancelled": names.count("cancelled"),
        "in_review": sum(task.status == "failed" and task.needs_review for task in tasks),
        "success_rate": round(100 * completed / ended, 1) if ended else None,
    }


def _performance(activity: Activity, states: Mapping[str, Any]) -> dict[str, Any]:
    tasks = activity.tasks
    done = [(task.spent("working"), task.task_id) for task in tasks if task.status == "completed"]
    took, work = makespan.elapsed(tasks), sum(task.spent("working") for task in tasks)
    ended = states["completed"] + states["failed"]
    return {
        "avg_hours_per_task": _hours(sum(length for length, _ in done) / len(done)) if done else None,
        "total_hours": _hours(work),
        "tasks_per_hour": round(len(done) / (took / 3_600_000), 3) if took else None,
        "efficiency": round(states["completed"] / ended, 4) if ended else None,
        "elapsed_hours": _hours(took),
        "speed_up": round(work / took, 2) if took else None,
        "target_speed_up": list(TARGET_SPEED_UP),
        "tells_speed": bottlenecks.tells_speed(activity),
        "attempts": len(activity.agents),
        "retries": len(activity.restarts),
        "simulated_agents": sum(agent.kind == "scripted" for agent in activity.agents),
        "fastest_task": _named(min(done, default=None)),
        "slowest_task": _named(max(done, default=None)),
    }


def _path(activity: Activity) -> dict[str, Any]:
    links = makespan.critical_path(activity.tasks, activity.blockers)
    return {
        "seconds": _s(links[-1].end - links[0].begin) if links else 0.0,
        "links": [
            {
                "task_id": link.task_id,
                "phase": link.phase,
                "began": _text(link.begin),
                "seconds": _s(link.end - link.begin),
                **({"waited_for": link.cause} if link.cause else {}),
            }
            for link in links
        ],
    }


def _by_type(agents: Iterable[Agent]) -> dict[str, list[Agent]]:
    found: dict[str, list[Agent]] = {}
    for agent in sorted(agents, key=lambda each: each.agent_type):
        found.setdefault(agent.agent_type, []).append(agent)
    return found


def _agents(agents: Sequence[Agent], activity: Activity) -> dict[str, Any]:
    lives = [
        (max(agent.begin, activity.since), activity.until if agent.end is None else min(agent.end, activity.until))
        for agent in agents
    ]
    took = makespan.elapsed(activity.tasks)
    up = makespan.union((begin, end) for begin, end in lives if end > begin)
    states = [agent.status for agent in agents]
    return {
        "launched": len(agents),
        "running": sum(agent.end is None for agent in agents),
        **{state: states.count(state) for state in ("completed", "failed", "killed", "timeout", "lost")},
        "tasks": len({agent.task_id for agent in agents}),
        "uptime_hours": _hours(sum(max(0, end - begin) for begin, end in lives)),
        "uptime_percent": round(min(100.0, 100 * up / took), 1) if took else None,
        **_usage(agents),
    }


def _usage(agents: Sequence[Agent]) -> dict[str, Any]:
    """What agents reported of themselves; ``reported_by`` says how many did."""
    told = [agent for agent in agents if agent.input_tokens is not None or agent.cost_usd is not None]
    costs = [agent.cost_usd for agent in told if agent.cost_usd is not None]
    return {
        "reported_by": len(told),
        "input_tokens": sum(agent.input_tokens or 0 for agent in told) if told else None,
        "output_tokens": sum(agent.output_tokens or 0 for agent in told) if told else None,
        "cost_usd": round(sum(costs), 4) if costs else None,
    }


def _merges(activity: Activity) -> dict[str, int]:
    states = [merge.status for merge in activity.merges]
    done = [merge for merge in activity.merges if merge.status == "merged"]
    return {
        **{state: states.count(state) for state in ("merged", "conflicted", "rejected")},
        "files_changed": sum(merge.files_changed for merge in done),
        "insertions": sum(merge.insertions for merge in done),
        "deletions": sum(merge.deletions for merge in done),
    }


def _resources(measures: Mapping[str, Measure]) -> dict[str, Any]:
    """Per resource what was measured, in per cent; ``utilisation`` is that of the CPU as a fraction (R-155)."""
    cpu, agents = measures.get("cpu_percent"), measures.get("active_agents")
    return {
        **{name: _measure(measures.get(metric)) for metric, name in RESOURCES.items()},
        "active_agents": {"average": round(agents.mean, 2), "maximum": round(agents.maximum)} if agents else None,
        "utilisation": round(cpu.mean / 100, 4) if cpu else None,
    }


def _measure(measure: Measure | None) -> dict[str, Any] | None:
    if measure is None:
        return None
    return {
        "average": round(measure.mean, 1),
        "maximum": round(measure.maximum, 1),
        "change": round(measure.last - measure.first, 1),
        "trend": measure.trend,
        "samples": measure.samples,
    }


def _errors(activity: Activity) -> dict[str, Any]:
    """The errors that were recorded, and the last of them in their words."""
    found = activity.failures
    return {
        "total": len(found),
        "unresolved": sum(each.status != "resolved" for each in found),
        "by_class": _tally(each.error_class for each in found),
        "by_severity": _tally(each.severity for each in found),
        "restarts_by_reason": _tally(restart.reason for restart in activity.restarts),
        "stalled": activity.stalled,
        "recent": [
            asdict(each) | {"at": _text(each.at), "message": cut(each.message, MESSAGE)} for each in reversed(found)
        ],
    }


def _task(task: Task, agents: Sequence[Agent]) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "title": task.title,
        "status": "review" if task.status == "failed" and task.needs_review else task.status,
        "attempts": len(agents),
        "work_seconds": _s(task.spent("working")),
        "total_seconds": _s(sum(span.length for span in task.spans)),
        "ended": None if task.ended is None else _text(task.ended),
    }


def _timeline(activity: Activity) -> list[dict[str, str]]:
    """What happened, latest first: agents' starts and ends, merges, and ends of tasks."""
    marks = [(agent.begin, 0, agent.task_id, f"{agent.agent_id} started") for agent in activity.agents]
    marks += [
        (agent.end, 1, agent.task_id, f"{agent.agent_id} {agent.status}")
        for agent in activity.agents
        if agent.end is not None
    ]
    marks += [(merge.at, 2, merge.task_id, f"merge {merge.status}") for merge in activity.merges]
    marks += [(task.ended, 3, task.task_id, f"task {task.status}") for task in activity.tasks if task.ended is not None]
    return [
        {"at": _text(at), "task_id": task_id, "what": what}
        for at, _, task_id, what in sorted(marks, reverse=True)
        if activity.since <= at <= activity.until
    ]


def _next_steps(figures: Mapping[str, Any], activity: Activity) -> list[str]:
    states = figures["summary"]
    steps = []
    if states["in_review"]:
        names = [task.task_id for task in activity.tasks if task.status == "failed" and task.needs_review]
        steps.append(f"{counted(len(names), 'task')} in review: {', '.join(names[:5])}. why(subject=…) tells why.")
    steps += [each["recommendation"] for each in figures["bottlenecks"] if each["severity"] != "low"][:5]
    if states["pending"] and not states["running"]:
        steps.append(f"{counted(states['pending'], 'task')} pending and none running: assign(action='assign') starts.")
    return list(dict.fromkeys(steps))


def _named(found: tuple[int, str] | None) -> dict[str, Any] | None:
    return None if found is None else {"task_id": found[1], "work_seconds": _s(found[0])}


def _tally(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _s(milliseconds: int) -> float:
    return milliseconds / 1000


def _hours(milliseconds: float) -> float:
    return round(milliseconds / 3_600_000, 6)


def _text(milliseconds: int) -> str:
    return clock.to_text(datetime.fromtimestamp(milliseconds / 1000, UTC))
