"""What an agent leaves in its output file is any program's: it stops nothing but its own item."""

from pathlib import Path

import pytest

from crewyard.server import foreman
from crewyard.server.errors import InvalidInput
from crewyard.server.workflows import flow

from .line import REPOSITORY, Line


def left(folder: Path, content: bytes) -> flow.Left:
    (folder / foreman.OUTPUT_FILE).write_bytes(content)
    return foreman.handed_in(str(folder))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"coverage": NaN}', "NaN is no value"),
        (b'{"coverage": -Infinity}', "-Infinity is no value"),
        (b"[" * 200_000, "no JSON"),
        (b'{"a": ' * 40_000, "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"", "no JSON"),
        (b'"text"', "no JSON object"),
        (b"{" + b" " * flow.MOST_OUTPUT + b"}", "larger than"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_as_such(tmp_path: Path, content: bytes, says: str) -> None:
    found = left(tmp_path, content)
    assert found.output is None
    assert says in found.fault


def test_what_can_be_used_is_taken_as_it_is(tmp_path: Path) -> None:
    assert left(tmp_path, b'{"repository_url": "https://example.org/\\u00e9", "n": 1}').output == {
        "repository_url": "https://example.org/\u00e9",
        "n": 1,
    }
    assert foreman.handed_in(None) == flow.Left()
    assert foreman.handed_in(str(tmp_path / "nowhere")) == flow.Left()


def test_an_unreadable_output_sends_its_project_to_review_with_the_reason(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.finish(name, flow.Left(fault="its output file is no JSON: NaN is no value of JSON's"))

    item = line.item(name)
    assert (item["status"], item["error_code"]) == ("review", "output_missing")
    assert "NaN" in item["error_message"]


def test_what_cannot_be_settled_waits_for_a_person(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    line.end_task(name)
    line.run(flow.settle_by_hand, line.item(name)["item_id"])

    assert (line.item(name)["status"], line.item(name)["error_code"]) == ("review", "internal_error")
    assert line.worker("genesis-01")["status"] == "idle"


def test_an_agent_cannot_report_what_no_json_holds(line: Line) -> None:
    name = line.dispatch()
    line.distribute()
    agent = line.start(name)
    word = flow.Word(agent, "complete", output={**REPOSITORY, "coverage": float("nan")})
    with pytest.raises(InvalidInput, match="no JSON"):
        line.store.run(flow.report, line.pipeline.settings, word, now=line.now)
