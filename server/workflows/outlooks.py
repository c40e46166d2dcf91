"""What a forecast says, project by project, in the order in which they are likely to be done (R-222)."""

from typing import Any

from .. import clock
from .forecasting import FEWEST_SAMPLES, Outlook, Range
from .forecasts import Accuracy, Situation

INSUFFICIENT = "insufficient data"


def of_projects(seen: Situation, outlook: Outlook, project_id: str = "") -> list[dict[str, Any]]:
    """Each with its stages; one whose end is not known says why."""
    last = seen.stages[-1].name
    names = dict.fromkeys([*(each.project_id for each in seen.work), *seen.left_out])
    found = []
    for name in [project_id] if project_id in names else [] if project_id else names:
        stages = {key[1]: each for key, each in outlook.stages.items() if key[0] == name}
        row: dict[str, Any] = {"project_id": name}
        if name in seen.left_out:
            row["why_not"] = seen.left_out[name]
        elif last in stages:
            row |= _times(seen, outlook.projects[name])
        else:
            row["why_not"] = _unknown(seen)
        if stages:
            row["stages"] = [{"workflow": key, **_times(seen, each)} for key, each in stages.items()]
        found.append(row)
    return sorted(found, key=lambda row: (row.get("p50_at", "~"), row["project_id"]))


def of_workflows(seen: Situation, outlook: Outlook) -> list[dict[str, Any]]:
    """By stage: what it has to do, with whom, and when the last of it is likely to be done."""
    rows = []
    for stage in seen.stages:
        own = [each for key, each in outlook.stages.items() if key[1] == stage.name]
        row: dict[str, Any] = {
            "workflow": stage.name,
            "waiting": sum(each.stage == stage.name and not each.is_at_work for each in seen.work),
            "working": sum(each.stage == stage.name and each.is_at_work for each in seen.work),
            "workers": stage.workers,
            "samples": stage.samples,
        }
        if not stage.is_known:
            row["note"] = f"{INSUFFICIENT}: it takes {FEWEST_SAMPLES} finished items"
        elif own:
            row |= _times(seen, Range(max(each.p50 for each in own), max(each.p90 for each in own)))
        rows.append(row)
    return rows


def of_accuracy(found: Accuracy) -> dict[str, Any]:
    """Forecasts of the last month against what came."""
    if found.by_p50 is None or found.by_p90 is None or found.median_error is None:
        return {"compared": 0, "note": "no data: nothing of what was foretold has ended yet"}
    return {
        "compared": found.compared,
        "done_by_p50_percent": round(found.by_p50, 1),
        "done_by_p90_percent": round(found.by_p90, 1),
        "median_error_minutes": round(found.median_error / 60, 1),
    }


def _times(seen: Situation, found: Range) -> dict[str, str]:
    return {"p50_at": clock.plus(seen.now, found.p50), "p90_at": clock.plus(seen.now, found.p90)}


def _unknown(seen: Situation) -> str:
    few = [f"{stage.name} has finished {stage.samples}" for stage in seen.stages if not stage.is_known]
    idle = [f"nobody works in {stage.name}" for stage in seen.stages if not max(stage.workers, stage.most)]
    return f"{INSUFFICIENT}: {', '.join([*few, *idle])}; it takes {FEWEST_SAMPLES} items of each workflow"
