"""``crewyard top`` fits its screen, whatever there is to show, and says what it leaves out."""

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from crewyard.server.attention import Need
from crewyard.server.overview import AgentView, HoldView, MergeView, Overview
from crewyard.server.progress import Line
from crewyard.server.status import AgentNow, Status
from crewyard.server.top_view import Host, Picture, Screen, shares

NOW = "2026-01-01T00:10:00.000Z"
EARLIER = "2026-01-01T00:09:30.000Z"
LONG = "a-name-that-goes-on-and-on-far-beyond-what-any-column-of-a-terminal-has-room-for-日本語"


def agent(number: int, name: str = "code_developer-20260101") -> AgentNow:
    view = AgentView(f"{name}-{number:03}", "code_developer", "running", f"T{number}", 1, 125.0, EARLIER, 0)
    return AgentNow(view, process_alive=True, cpu_percent=12.5, memory_mb=45.0, processes=3)


def picture(agents: list[AgentNow], merges: int = 0, tasks: int = 0, **facts: Any) -> Picture:
    seen = Overview(
        at=NOW, tasks={"in_progress": tasks}, in_review=[], agents=[each.view for each in agents],
        merges=[MergeView(n, f"T{n}", "queued", n, "roadmap", None, None) for n in range(merges)],
        dispatches=[], messages={}, supervisor=None, holds=[],
    )  # fmt: skip
    lines = [Line(f"T{n}", LONG, "running", "a", 1, 3.0, "") for n in range(min(tasks, 200))]
    host = Host(None, 2, 0.5, 1024.0, 2048.0, 99999.0)
    return Picture("/r", NOW, Status(seen, None, None, agents, **facts), host, lines, tasks, [])


def drawn(shown: Picture, width: int, height: int) -> list[str]:
    screen = io.StringIO()
    console = Console(file=screen, width=width, height=height, highlight=False)
    console.print(Screen(shown), height=height)
    return screen.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 8), (20, 3), (500, 200)])
@pytest.mark.parametrize("agents", [0, 1, 100])
def test_no_screen_is_overfilled(width: int, height: int, agents: int) -> None:
    shown = picture([agent(n, LONG) for n in range(agents)], merges=agents, tasks=10 * agents)
    lines = drawn(shown, width, height)

    assert len(lines) <= height
    assert max(cell_len(line.rstrip()) for line in lines) <= width


def test_what_there_is_no_room_for_is_counted() -> None:
    lines = drawn(picture([agent(n) for n in range(100)], merges=30, tasks=500), 80, 24)
    shown = [sum(line.startswith(begin) for line in lines) for begin in ("code_developer-", "T", "1")]

    assert any(line.startswith("Agents (100)") for line in lines)
    assert f"… and {100 - shown[0]} more" in [line.rstrip() for line in lines]
    assert any(line.startswith("Merges (30)") for line in lines)
    assert any(line.startswith("Open tasks (500)") for line in lines)


def test_an_agents_numbers_stand_below_their_headings() -> None:
    lines = drawn(picture([agent(1), agent(2, LONG[:-3])]), 80, 24)
    heading = next(line for line in lines if line.startswith("Agents (2)"))
    rows = [line for line in lines if "running" in line]

    for name, value in (("state", "running"), ("task", "T"), ("for", "2 min"), ("CPU", "12 %"), ("RAM", "45 MB")):
        place = heading.index(name)
        assert [row.index(value, place) for row in rows] == [place, place]
    assert all("45 MB" in row for row in rows), "a long name gives way, figures do not"


def test_an_agent_that_is_gone_is_said_to_be() -> None:
    gone = AgentNow(
        agent(1).view, process_alive=False, cpu_percent=None, memory_mb=None, processes=0, note="its process is gone"
    )
    text = "\n".join(drawn(picture([gone]), 100, 24))

    assert "running?" in text
    assert "its process is gone" in text


def test_what_needs_a_person_is_named_first() -> None:
    lines = drawn(picture([], needs=[Need("T1", "is blocked", "crewyard send T1 TEXT"), Need("T2", "x", "x")]), 80, 24)

    assert [line.rstrip() for line in lines[2:5]] == [
        "Needs you     T1 is blocked",
        "              → crewyard send T1 TEXT",
        "              and 1 more, see `crewyard status`: T2",
    ]


def test_a_yard_in_which_nothing_runs_says_how_to_begin() -> None:
    text = "\n".join(drawn(picture([]), 80, 24))

    assert "`crewyard run PLAN`" in text
    assert "`crewyard start` starts it" in text


def test_an_old_picture_says_that_it_is_one() -> None:
    blank = Picture("/r", NOW, trouble="Another process holds the database")

    assert "Another process holds the database" in drawn(blank, 80, 24)[1]


@pytest.mark.parametrize(
    ("wanted", "room", "given"),
    [([3, 3], 10, [3, 3]), ([9, 9], 6, [3, 3]), ([2, 9, 9], 10, [2, 4, 4]), ([9, 9], 3, [3, 0]), ([9], 1, [0])],
)
def test_sections_share_what_room_there_is(wanted: list[int], room: int, given: list[int]) -> None:
    assert shares(wanted, room) == given


def test_agents_are_told_apart_on_a_narrow_screen() -> None:
    lines = drawn(picture([agent(n, "a-rather-long-type-of-agents-20260101") for n in (17, 18)]), 60, 24)

    assert sum("-017 " in line for line in lines) == sum("-018 " in line for line in lines) == 1


@pytest.mark.parametrize("width", [80, 120])
def test_a_missing_log_in_is_told_with_all_of_its_cure(width: int) -> None:
    cure = "agents of type builder are not logged in: Call `opencode auth login`, or set ANTHROPIC_API_KEY. Tried again"
    shown = picture([])
    assert shown.status is not None
    shown.status.seen.holds.append(HoldView("builder", "not_logged_in", f"{cure} at 12:00:00.", NOW, NOW))
    said = " ".join(" ".join(drawn(shown, width, 24)).split())
    assert f"Held A{cure[1:]}" in said
    assert "No builder is started" not in said, "the hold's own words say all that"
