"""``crewyard://summary.md``: what the crew has done in the last 24 hours (R-153)."""

import anyio.to_thread
from mcp.server.mcpserver import MCPServer

from ..server import activity, clock, summary, summary_markdown
from ..server.facts import Activity
from ..server.yard import Yard
from .reading import changed_by, read

RANGE = "last_24h"
# Whatever moves a task, an agent or a merge moves a figure; the mere passing of time is no change.
SUBJECTS = ("task", "assignment", "agent", "merge", "dispatch", "launches")


def register(app: MCPServer[Yard], yard: Yard) -> None:
    @app.resource(
        "crewyard://summary.md", mime_type="text/markdown", description="What the crew has done in the last 24 hours."
    )
    async def activity_summary() -> str:
        waits = not yard.settings.merge.auto_approve
        found = await read(yard, activity.of_range, RANGE, approvals=waits, now=clock.now())
        return await anyio.to_thread.run_sync(_shown, found)


def _shown(found: Activity) -> str:
    return summary_markdown.to_markdown(summary.of(found, RANGE), "detailed")


SIGHTS = {"crewyard://summary.md": changed_by(*SUBJECTS)}
