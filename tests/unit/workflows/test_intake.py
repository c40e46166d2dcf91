"""What is dispatched: texts, issues, files and lists of them (R-215, R-216)."""

import json
from typing import Any

import pytest

from crewyard.server.errors import InvalidInput
from crewyard.server.workflows import intake, items
from crewyard.server.workflows.projects import MOST_INPUT, Draft

from .line import Line


def test_r215_a_text_becomes_a_project_in_the_first_queue(line: Line) -> None:
    [row] = line.run(intake.dispatch, line.pipeline, [intake.of_text("Make a shop\n\nfor hats", Draft(""))])

    assert (row["project_id"], row["title"], row["source"], row["priority"]) == ("P-1", "Make a shop", "text", 5)
    [waits] = line.read(items.waiting, "genesis")
    assert waits["project_id"] == "P-1"


@pytest.mark.parametrize(
    ("url", "title"),
    [
        ("https://github.com/acme/shop/issues/12", "Issue 12 of acme/shop"),
        (" https://git.example.org/a/b/c/-/issues/7#note_1 ", "Issue 7 of a/b/c"),
    ],
)
def test_r216_the_url_of_an_issue_is_told_as_one(url: str, title: str) -> None:
    draft = intake.of_text(url, Draft(""))
    assert (draft.source, draft.title, draft.text) == ("issue", title, url.strip())


def test_a_text_that_names_an_issue_is_a_text() -> None:
    assert intake.of_text("Do https://github.com/acme/shop/issues/12 first", Draft("")).source == "text"


def test_r216_a_requirement_document_is_read_whole(line: Line) -> None:
    draft = intake.of_file("docs/need.md", b"# Hats for all\n\n" + b"word " * 500, Draft("", priority=2))
    [row] = line.run(intake.dispatch, line.pipeline, [draft])

    assert (row["title"], row["source"], row["complexity"], row["priority"]) == ("Hats for all", "file", "complex", 2)


LINES = '# this week\nMake a shop\n\n{"input": "Make a blog", "level": "urgent", "kind": "site"}\n'
LISTED = ["Make a shop", {"input": "Make a blog", "level": "urgent", "kind": "site"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", LINES),
        ("list.json", json.dumps(LISTED)),
        ("list.json", json.dumps({"projects": LISTED})),
        ("list", json.dumps(LISTED)),
        ("list.txt", "\ufeff" + LINES.replace("\n", "\r\n")),
    ],
)
def test_r216_a_list_queues_each_of_its_projects(line: Line, name: str, text: str) -> None:
    drafts = intake.of_batch(name, text.encode(), Draft("", priority=8))
    rows = line.run(intake.dispatch, line.pipeline, drafts)

    assert [(row["input"], row["source"], row["priority"], row["kind"]) for row in rows] == [
        ("Make a shop", "batch", 8, ""),
        ("Make a blog", "batch", 1, "site"),
    ]


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ('Make a shop\n{"input": "x", "levle": "high"}', "line 2: a project has no 'levle'", "level"),
        ('Make a shop\n{"input": "x", "level": "hihg"}', "line 2: 'hihg' is no level", "high"),
        ('Make a shop\n\n{"input": "x"', "line 3: it begins like JSON and is none", "Mend"),
        ('{"title": "x"}', "line 1: There is nothing to be dispatched", "Say"),
        ('{"input": 7}', "line 1: input is 7, and no text", ""),
        ('{"input": "x", "level": true}', "line 1: level is true", ""),
        ('{"input": "x", "complexity": "simpel"}', "line 1: 'simpel' is no complexity", "simple"),
        ("a\nb\x00c", "line 2: The input holds the control character", ""),
        ("a\n" + "b" * (MOST_INPUT + 1), "line 2: The input has 200001 characters", "Divide"),
        ("# nothing\n\n", "lists no project", ""),
        ("\n".join("x" * 1001), "1001 projects; 1000", "Divide"),
        ('["a", 7]', "entry 2: 7 is no project", ""),
        ('["a",\n"b"', "line 2: it is no JSON", ""),
        ('["a", "\\ud800"]', "entry 2: The input holds the control character", ""),
        ("[" * 5000, "it is no JSON", ""),
    ],
)
def test_one_bad_line_refuses_a_list_and_is_named(text: str, says: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as error:
        intake.of_batch("list.txt", text.encode(), Draft(""))
    assert says in error.value.message
    assert "list.txt" in error.value.message
    assert hint in error.value.hint


@pytest.mark.parametrize("value", ['{"a": 1}', "7", '"text"'])
def test_json_that_is_no_list_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match="no list of projects"):
        intake.of_batch("list.json", value.encode(), Draft(""))


def test_what_is_no_utf_8_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidInput, match=r"need\.md, line 3: it is no UTF-8"):
        intake.of_file("need.md", b"a\nb\n\xff", Draft(""))


def test_a_list_of_which_one_is_refused_late_queues_none(line: Line) -> None:
    drafts: list[Any] = [Draft("Make a shop"), Draft("")]
    with pytest.raises(InvalidInput):
        line.run(intake.dispatch, line.pipeline, drafts)
    assert line.read(items.waiting, "genesis") == []


def test_a_thousand_projects_are_queued_in_their_order(line: Line) -> None:
    rows = line.run(intake.dispatch, line.pipeline, [Draft(f"Project {n}") for n in range(1000)])
    assert [row["project_id"] for row in line.read(items.waiting, "genesis")] == [row["project_id"] for row in rows]
