"""``orchestrate``: work a plan off, or a goal for which there is no plan yet."""

from collections.abc import Mapping

from ..store import Transaction
from .base import FIRST_WORD, NOT_INSTRUCTIONS, Argument, SlashCommand, Standing, in_short, look

SUFFIXES = (".md", ".markdown", ".json", ".jsonl", ".yaml", ".yml")
LEAD = "Lead a crew of coding agents on this repository with the tools of the MCP server crewyard."
FROM_FILE = "Import it: plan(action='import', path='{path}'). Where it is refused, the error names the place."
FROM_GOAL = """\
Look at the repository and cut this into tasks: each small enough for one agent and one review, with what it \
needs to know in its description, the files it changes in `files`, a `check` that proves it, and `depends_on` only \
where it needs another's result. Independent tasks run in parallel. Show the tasks to the user and change what they \
want changed; then plan(action='add') takes them as its `tasks`."""
FROM_TASKS = """\
Go on with the tasks that are there: plan(action='show') shows them. Where there are none, ask the user for a \
plan or a goal."""
STEPS = """\
2. assign() begins a dispatch of all open tasks. Each that is ready gets an agent in a git worktree of its own; \
finished work is checked and merged without a call of yours, and what waited for it begins. That goes on only while \
this server runs: stay until it is over.
3. Until agents(action='list') and worktrees(action='queue') are empty: route(action='poll', wait_seconds=50) waits \
for messages. Answer questions with route(action='send', target_agent=…, content=…), then \
route(action='acknowledge', message_ids=[…]).
4. When something stands still, why(subject=ID) names the cause and the next call. Leave the agents' work to them.
5. At the end tell the user what was merged, what failed and why: generate_activity_summary() has the figures."""


def text(tx: Transaction, given: Mapping[str, str], at: Standing) -> str:
    plan = given.get("plan", "")
    if not plan:
        first, asked = FROM_TASKS, "to go on"
    elif plan.lower().endswith(SUFFIXES) and "\n" not in plan:
        first, asked = FROM_FILE.format(path=plan.replace("\\", "\\\\").replace("'", "\\'")), f"the plan {plan}"
    else:
        first, asked = FROM_GOAL, plan if " " in plan else f"{plan}\n{FIRST_WORD}"
    now = in_short(look(tx, at))
    return f"{LEAD}\n\nThe user wants: {asked}\n\nNow: {now}\n\n1. {first}\n{STEPS}\n\n{NOT_INSTRUCTIONS}"


COMMAND = SlashCommand(
    name="orchestrate",
    title="Orchestrate",
    description="Work a plan off with a crew of agents in parallel, from import to the last merge.",
    text=text,
    arguments=(Argument("plan", "path of a plan's file, or the goal in words; without it, the tasks that are there"),),
)
