"""What summaries look like: Markdown, the picture, the files; and the doors to them (R-153 to R-156)."""

import json
import re
import stat
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up import History, history, straight

from crewyard.server import summary, summary_files, summary_levels, summary_markdown, timeline
from crewyard.server.errors import InvalidInput
from crewyard.server.facts import Activity, Agent, Merge, Task
from crewyard.server.phases import Span

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(name="made", scope="module")
def made_fixture() -> Iterator[History]:
    with history() as made:
        yield straight(made)


def crowd(number: int, *, lanes: int, title: str = "A task") -> Activity:
    """As many tasks, so many of them at work at the same time."""
    tasks, agents, merges = [], [], []
    for index in range(number):
        name, agent_id = f"task-{index:03}", f"builder-{index:03}"
        begin = 1_772_352_000_000 + 60_000 * (index // lanes) + 500 * (index % lanes)
        spans = (
            Span("dependencies", 1_772_352_000_000, begin),
            Span("working", begin, begin + 50_000, agent_id, taken=True),
            Span("merging", begin + 50_000, begin + 52_000, taken=True),
        )
        spans = tuple(span for span in spans if span.length)
        tasks.append(
            Task(
                name,
                title,
                "completed",
                needs_review=False,
                ended=begin + 52_000,
                spans=spans,
                dispatches=frozenset({"d"}),
                slots=lanes,
            )
        )
        how = ("completed", "failed", "timeout", "lost", "killed")[index % 5]
        end = begin + 50_000
        agents.append(
            Agent(
                agent_id,
                "builder",
                "command",
                name,
                1,
                how,
                begin,
                end,
                blamed=False,
                message="",
                input_tokens=None,
                output_tokens=None,
                cost_usd=None,
            )
        )
        merges.append(
            Merge(name, "merged", begin + 52_000, "", "", flaky=False, files_changed=1, insertions=1, deletions=0)
        )
    until = max((task.ended or 0 for task in tasks), default=1_772_352_060_000)
    return Activity(1_772_352_000_000, until, tuple(tasks), tuple(agents), tuple(merges), (), (), (), 0, {}, {})


def parsed(picture: str) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314  (it is our own)


# ------------------------------------------------------------------------------------------------- Markdown


def test_r153_every_section_stands_in_the_markdown(made: History) -> None:
    text = summary_markdown.to_markdown(made.figures(), "detailed")

    assert re.findall(r"^## (.*)", text, re.MULTILINE) == [
        "Executive summary", "Task performance", "Where the time went", "Critical path taken", "Agent activity",
        "Resource utilisation", "Bottlenecks", "Errors", "Timeline", "Next steps",
    ]  # fmt: skip
    assert "Fastest: A" in text
    assert "slowest: B" in text
    assert "1 retry" in text
    assert "| disk | no data |" in text
    assert re.search(r"^\| completed \| 5 \|$", text, re.MULTILINE)


def test_links_of_the_critical_path_within_one_second_stand_in_their_order() -> None:
    figures = summary.of(crowd(1, lanes=1), "all")
    work = figures["critical_path"]["links"][0]
    figures["critical_path"]["links"] = [{**work, "phase": "slot", "seconds": 0.1}, {**work, "seconds": 0.2}]

    path = summary_markdown.to_markdown(figures, "detailed").split("## Critical path taken")[1].split("##")[0]
    assert path.index("waiting for a slot") < path.index("agents at work")


def test_a_title_cannot_break_a_table_or_bring_markup(made: History) -> None:
    activity = crowd(1, lanes=1, title="a | b\n<script>`x`\\|")
    text = summary_markdown.to_markdown(summary.of(activity, "all"), "detailed")

    [row] = [line for line in text.splitlines() if "script" in line]
    assert row.count("|") - row.count("\\|") == 7
    assert "<script" not in row


def test_r154_the_detail_level_decides_how_long_lists_are() -> None:
    figures = summary.of(crowd(80, lanes=4), "all")
    rows = {level: summary_markdown.to_markdown(figures, level).count("| A task |") for level in summary_levels.ROWS}

    assert rows == {"summary": 0, "detailed": 50, "comprehensive": 80}


# ---------------------------------------------------------------------------------------------- the picture


@pytest.mark.parametrize(("number", "lanes"), [(0, 1), (1, 1), (10, 3), (60, 8), (300, 12), (5_000, 200)])
def test_the_picture_is_well_formed_and_its_size_bounded(number: int, lanes: int) -> None:
    text = timeline.to_svg(crowd(number, lanes=lanes))
    root = parsed(text)

    assert root.tag == f"{SVG}svg"
    assert float(root.attrib["height"]) <= 112 + 22 * 60 + 40
    assert len(text) < 1_000_000
    for element in root.iter(f"{SVG}rect"):
        assert 0 <= float(element.attrib.get("x", 0)) <= 1200
        assert float(element.attrib.get("x", 0)) + float(element.attrib["width"]) <= 1201


def test_each_attempt_is_a_bar_in_the_colour_of_its_outcome_and_each_merge_a_mark(made: History) -> None:
    root = parsed(timeline.to_svg(made.seen()))
    bars = [
        (bar.attrib["fill"], title.text.splitlines()[-1])
        for bar in root.iter(f"{SVG}rect")
        if (title := bar.find(f"{SVG}title")) is not None and title.text
    ]
    attempts = [(colour, told) for colour, told in bars if told.startswith("builder-")]

    assert len(attempts) == 6
    assert [colour for colour, told in attempts if "failed" in told] == [timeline.OUTCOMES["failed"]]
    assert sum("waits for dependencies" in told for _, told in bars) == 3
    marks = [mark for mark in root.iter(f"{SVG}polygon") if mark.find(f"{SVG}title") is not None]
    assert len(marks) == 5


def test_titles_are_text_in_the_picture_whatever_they_hold() -> None:
    title = 'a <b> & "c" \x00\x1b[31m \ud800 ]]> <!-- -->'
    root = parsed(timeline.to_svg(crowd(1, lanes=1, title=title)))

    assert any('a <b> & "c"' in (element.text or "") for element in root.iter(f"{SVG}title"))


def test_what_finds_no_place_in_the_picture_is_told() -> None:
    assert "4,400 tasks more are not shown." in timeline.to_svg(crowd(5_000, lanes=60))


# ------------------------------------------------------------------------------------------------ the files


def export(made: History, root: Path, asked: str) -> summary_files.Exported:
    return summary_files.export(root, root / "data", asked, made.seen(), "all", "comprehensive", ".md")


def test_r153_r156_an_export_writes_markdown_json_and_the_picture_for_their_owner_alone(
    made: History, tmp_path: Path
) -> None:
    written = export(made, tmp_path, "reports/today.md")

    assert [path.name for path in written.files] == ["today.md", "today.json", "today.svg"]
    assert written.report == tmp_path / "reports" / "today.md"
    assert written.size_kb == round(written.report.stat().st_size / 1024, 2)
    assert {stat.S_IMODE(path.stat().st_mode) for path in written.files} == {0o600}
    assert json.loads(written.files[1].read_text())["summary"] == made.figures()["summary"]
    assert sorted(path.name for path in written.report.parent.iterdir()) == ["today.json", "today.md", "today.svg"]


def test_an_earlier_summary_is_replaced(made: History, tmp_path: Path) -> None:
    first = export(made, tmp_path, "today")
    before = {path: path.stat().st_ino for path in first.files}
    again = export(made, tmp_path, "today.json")

    assert again.files == first.files
    assert all(path.stat().st_ino != inode for path, inode in before.items())


@pytest.mark.parametrize("suffix", [".md", ".json", ".svg"])
def test_a_file_that_is_no_summary_is_not_overwritten(made: History, tmp_path: Path, suffix: str) -> None:
    theirs = tmp_path / f"notes{suffix}"
    theirs.write_text("mine")
    with pytest.raises(InvalidInput, match="no summary"):
        export(made, tmp_path, "notes")

    assert theirs.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [theirs]


def test_nothing_is_written_through_a_link(made: History, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.md"
    export(made, tmp_path, "elsewhere")
    (tmp_path / "link.md").symlink_to(target)
    before = target.read_bytes()
    with pytest.raises(InvalidInput, match="no summary"):
        export(made, tmp_path, str(tmp_path / "link"))

    assert target.read_bytes() == before


@pytest.mark.parametrize(
    "asked",
    [
        "../out",
        "a/../../out",
        ".git/out",
        "sub/.git/hooks/pre-commit",
        ".GIT/out",
        "x\0y",
        "\ud800",
        "x" * 300,
        "x/" * 3_000,
    ],
)
def test_a_path_out_of_the_repository_or_into_git_is_refused(made: History, tmp_path: Path, asked: str) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    with pytest.raises(InvalidInput):
        export(made, root, asked)

    assert list(tmp_path.rglob("*")) == [root]


def test_a_link_that_leads_out_of_the_repository_is_refused(made: History, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    (root / "away").symlink_to(tmp_path)
    with pytest.raises(InvalidInput, match="outside"):
        export(made, root, "away/out")


def test_an_absolute_path_and_a_folder_are_taken_as_they_are(made: History, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()

    assert export(made, root, str(tmp_path / "out")).report == tmp_path / "out.md"
    assert export(made, root, str(tmp_path)).report == tmp_path / "activity-summary.md"
    with pytest.raises(InvalidInput, match="There is no folder"):
        export(made, root, str(tmp_path / "mistyped" / "out"))
    assert not (tmp_path / "mistyped").exists()
    assert export(made, root, str(root / "new" / "out")).report == root / "new" / "out.md"
    assert export(made, root, "").report == root / "data" / "activity-summary.md"


# ------------------------------------------------------------------------------------------------ the doors


@pytest.mark.anyio
async def test_r153_r154_the_tool_answers_in_markdown_and_json(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    bench.end_agent(bench.add_agent("A"), "failed", code=3, message="It broke.")

    shown = await call("generate_activity_summary")
    assert (shown["action"], shown["text"].splitlines()[1]) == ("summary", "# Activity summary: last_24h")
    figures = (await call("generate_activity_summary", output_format="json", time_range="all"))["report"]
    assert figures["summary"]["total"] == 2
    assert figures["agents"]["builder"]["failed"] == 1
    assert "timeline" not in figures
    detailed = await call("generate_activity_summary", action="detailed", output_format="json")
    assert detailed["report"]["timeline"][0]["what"].endswith("failed")
    refused = await call.fails("generate_activity_summary", export_path="x")
    assert (refused["code"], refused["message"]) == ("invalid_input", "summary takes no export_path.")


@pytest.mark.anyio
async def test_r156_the_tool_exports_and_says_where(bench: Any, call: Any) -> None:
    written = await call("generate_activity_summary", action="export", export_path="out", output_format="json")

    assert written["report_path"] == str(bench.yard.root / "out.json")
    assert written["file_size_kb"] > 0
    assert {path.name for path in bench.yard.root.glob("out.*")} == {"out.md", "out.json", "out.svg"}
    (bench.yard.root / "out.md").write_text("mine")
    assert (await call.fails("generate_activity_summary", action="export", export_path="out"))[
        "code"
    ] == "invalid_input"


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["markdown", "json"])
async def test_what_the_tool_answers_fits_however_much_there_is(bench: Any, call: Any, form: str) -> None:
    for index in range(150):
        name = f"task-{index}-{'ü' * 40}"
        bench.add_tasks(name, title='"' * 200)
        bench.finish(bench.add_agent(name), "failed", code=3, message='"\\' * 300)

    shown = await call("generate_activity_summary", action="detailed", output_format=form)  # `call` looks at its size
    assert "crewyard://summary.md" in shown["note"]


@pytest.mark.anyio
async def test_the_resource_is_the_same_summary(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    read = (await call.client.read_resource("crewyard://summary.md")).contents[0]

    assert read.mime_type == "text/markdown"
    assert "| pending | 1 |" in read.text


def test_r153_r154_r156_the_command_answers_with_the_documents_fields(bench: Any) -> None:
    import anyio

    from crewyard.server import clock, commands, identity

    bench.add_tasks("A")
    bench.add_agent("A", at=clock.now())

    async def asked(**parameters: str) -> Any:
        command = commands.get("generate-activity-summary")
        async with bench.yard.opened():
            return await command.run(bench.yard, identity.THE_LEAD, command.given(parameters))

    answer = anyio.run(lambda: asked(TIME_RANGE="last_1h", OUTPUT_FORMAT="json", DETAIL_LEVEL="comprehensive"))
    assert {"total", "completed", "running", "failed", "pending", "success_rate"} <= set(answer.summary)
    assert {"avg_hours_per_task", "total_hours", "tasks_per_hour"} <= set(answer.performance)
    assert set(answer.agents) == {"builder"}
    assert answer.markdown is None
    assert [each["what"] for each in answer.timeline] == [f"{bench.row('agent_lifecycle')['agent_id']} started"]
    assert "# Activity summary: last_24h" in anyio.run(asked).markdown
    written = anyio.run(lambda: asked(EXPORT_PATH="out"))
    assert written.report_path == str(bench.yard.root / "out.md")
    assert written.file_size_kb > 0
    with pytest.raises(InvalidInput, match="TIME_RANGE"):
        anyio.run(lambda: asked(TIME_RANGE="yesterday"))
