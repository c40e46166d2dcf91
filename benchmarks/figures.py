"""What a benchmark has measured: series of values, rows of ours beside others', sections of rows.

A row is worth what stands beside it in the same run: machines differ, ratios less so. Nothing here decides whether
something failed: a goal that is missed is told as missed.
"""

import argparse
import compileall
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import crewyard

MOST_KEPT = 401


@dataclass(frozen=True)
class Series:
    """Measured values in one unit. ``at`` is which of them stands for all: 0.5 for the median, None for the mean."""

    values: Sequence[float]
    at: float | None = 0.5

    @property
    def value(self) -> float:
        return statistics.fmean(self.values) if self.at is None else quantile(self.values, self.at)

    @property
    def spread(self) -> tuple[float, float]:
        """From the tenth to the ninetieth percentile."""
        return quantile(self.values, 0.1), quantile(self.values, 0.9)


@dataclass(frozen=True)
class Goal:
    """Ours ``at_most`` or ``at_least`` so many times what stands ``beside`` it; without that, a value of its own."""

    beside: str | None = None
    at_most: float | None = None
    at_least: float | None = None

    def is_met(self, ratio: float) -> bool:
        return (self.at_most is None or ratio <= self.at_most) and (self.at_least is None or ratio >= self.at_least)

    def __str__(self) -> str:
        return f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"


@dataclass(frozen=True)
class Row:
    """One question: ours and the others' by their names. ``why`` tells of a goal that is missed what the limit is."""

    what: str
    unit: str
    ours: Series
    beside: Mapping[str, Series] = field(default_factory=dict)
    goals: Sequence[Goal] = ()
    why: str = ""


@dataclass(frozen=True)
class Section:
    """The rows of one benchmark; ``how`` they were measured, and which peers are ``missing``, and why."""

    title: str
    how: str
    rows: Sequence[Row]
    missing: Mapping[str, str] = field(default_factory=dict)


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return statistics.median(ordered) if share == 0.5 else ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio(row: Row, goal: Goal) -> float | None:
    """Ours to what the goal names; None where that could not be measured, or is nothing."""
    if goal.beside is None:
        return row.ours.value
    other = row.beside.get(goal.beside)
    return None if other is None or other.value == 0 else row.ours.value / other.value


def told(section: Section) -> str:
    """The section in Markdown: a line for each pair of ours and another's."""
    lines = [f"## {section.title}", "", section.how, ""]
    lines += ["| What | Crewyard | Beside | | Ratio | Goal | |", "| --- | ---: | --- | ---: | ---: | --- | --- |"]
    for row in section.rows:
        lines += [_line(row, name) for name in row.beside or (None,)]
        lines += [_own_line(row, goal) for goal in row.goals if goal.beside is None and row.beside]
    notes = [f"- {'; '.join(rows)}: {why}" for why, rows in _reasons(section).items()]
    notes += [f"- {name} was not measured: {why}" for name, why in section.missing.items()]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def _reasons(section: Section) -> dict[str, list[str]]:
    """The rows that miss their goal for each reason: p99 does for that of its median, as a rule."""
    found: dict[str, list[str]] = {}
    for row in section.rows:
        if row.why:
            found.setdefault(row.why, []).append(row.what)
    return found


def _line(row: Row, name: str | None) -> str:
    goal = next((goal for goal in row.goals if goal.beside == name), None)
    other = row.beside[name] if name is not None else None
    share = "" if other is None or other.value == 0 else f"{row.ours.value / other.value:.2f}"
    cells = [row.what, _shown(row.ours, row.unit), name or "", "" if other is None else _shown(other, row.unit), share]
    return _cells([*cells, *_judged(row, goal)])


def _own_line(row: Row, goal: Goal) -> str:
    return _cells([row.what, _shown(row.ours, row.unit), "", "", "", *_judged(row, goal)])


def _judged(row: Row, goal: Goal | None) -> list[str]:
    found = None if goal is None else ratio(row, goal)
    if goal is None or found is None:
        return ["", ""]
    unit = f" {row.unit}" if goal.beside is None else ""
    return [f"{goal}{unit}", "met" if goal.is_met(found) else "**missed**"]


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(series: Series, unit: str) -> str:
    least, most = series.spread
    spread = f" ({_number(least)}–{_number(most)})" if len(series.values) > 1 and series.at in (0.5, None) else ""
    return f"{_number(series.value)} {unit}{spread}".replace(" %", " %")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def parser(text: str | None) -> argparse.ArgumentParser:
    """Of a benchmark's command line; it adds what is its own."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="measure little, to see that it works")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, for results.py")
    return made


def run(measure: Callable[[argparse.Namespace], Section], parser: argparse.ArgumentParser) -> None:
    """A benchmark's command line: prints its section, or writes it to ``--json FILE``."""
    options = parser.parse_args()
    for part in Path(crewyard.__file__).parent.iterdir():  # links in a checkout, which compileall does not follow
        if part.is_dir():
            compileall.compile_dir(part, quiet=1)  # as pip does with what it installs
    section = measure(options)
    if options.json is not None:
        options.json.write_text(
            json.dumps(asdict(thinned(section)), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
    sys.stdout.write(told(section))


def thinned(section: Section) -> Section:
    """As the figures are kept: of very many values evenly spaced ones, least and most included, to five digits."""
    rows = [
        replace(row, ours=_thin(row.ours), beside={name: _thin(series) for name, series in row.beside.items()})
        for row in section.rows
    ]
    return replace(section, rows=rows)


def _thin(series: Series) -> Series:
    ordered = sorted(series.values)
    step = max(1.0, (len(ordered) - 1) / (MOST_KEPT - 1))
    kept = [ordered[round(number * step)] for number in range(min(len(ordered), MOST_KEPT))]
    return replace(series, values=[float(f"{value:.5g}") for value in kept])


def loaded(data: Mapping[str, Any]) -> Section:
    """A section from what ``run`` has written."""
    rows = [
        Row(
            **{
                **row,
                "ours": Series(**row["ours"]),
                "beside": {name: Series(**series) for name, series in row["beside"].items()},
                "goals": [Goal(**goal) for goal in row["goals"]],
            }
        )
        for row in data["rows"]
    ]
    return Section(**{**data, "rows": rows})
