"""``projects``: status, dispatch, trigger, emergency_stop, resume; and what a project shows as a resource."""

import json
import os
from typing import Any

import pytest

from .line import DEPLOYED, REPOSITORY, Line

pytestmark = pytest.mark.anyio


async def read(call: Any, uri: str) -> Any:
    return json.loads((await call.client.read_resource(uri)).contents[0].text)


async def test_r215_a_dispatched_text_waits_in_the_first_queue(bench: Any, call: Any) -> None:
    done = await call("projects", action="dispatch", input="Make a shop", level="high", kind="shop")
    [made] = done["projects"]

    assert (made["project_id"], made["level"], made["queues"]) == ("P-1", "high", ["genesis: waiting"])
    assert ("require_fit", {"agent_types": {"builder"}}) in bench.operations.calls
    assert bench.value("SELECT created_by FROM project") == "lead"


async def test_r216_files_and_lists_are_dispatched(bench: Any, call: Any) -> None:
    (bench.yard.root / "need.md").write_text("# Hats\n")
    (bench.yard.root / "list.txt").write_text("Make a shop\n" * 300)
    one = await call("projects", action="dispatch", path="need.md")
    assert one["projects"][0]["title"] == "Hats"
    many = await call("projects", action="dispatch", path="list.txt", batch=True)
    assert many["total"] == 300
    assert "status" in many["note"]


async def test_r216_one_bad_line_queues_nothing(bench: Any, call: Any) -> None:
    (bench.yard.root / "list.txt").write_text('Make a shop\n{"input": "x", "level": "hihg"}\n')
    refused = await call.fails("projects", action="dispatch", path="list.txt", batch=True)
    assert (refused["code"], refused["hint"]) == ("invalid_input", "Did you mean 'high'?")
    assert "list.txt, line 2" in refused["message"]
    assert bench.value("SELECT count(*) FROM project") == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "needs an input or a path"),
        ({"input": "a", "path": "b"}, "not both"),
        ({"input": "a", "batch": True}, "batch needs a path"),
        ({"input": "  "}, "empty"),
        ({"input": "a", "level": "soon"}, "soon"),
        ({"input": "a", "workflow": "content"}, "dispatch takes no workflow"),
        ({"path": "missing.md"}, "There is no file missing.md"),
        ({"path": "."}, "is no file"),
        ({"path": "pipe"}, "is no file"),
        ({"path": "../outside.md"}, "outside the repository"),
        ({"path": "/etc/hostname"}, "outside the repository"),
        ({"path": "link"}, "outside the repository"),
        ({"path": "a\x00b"}, "names no file"),
        ({"path": "large.md"}, "larger than 4 MB"),
    ],
)
async def test_a_wrong_dispatch_is_refused_and_changes_nothing(
    bench: Any, call: Any, arguments: dict[str, Any], says: str
) -> None:
    root = bench.yard.root
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("/etc/hostname")
    (root / "large.md").write_bytes(b"x" * 4_000_001)
    refused = await call.fails("projects", action="dispatch", **arguments)
    assert (refused["code"], says in refused["message"]) == ("invalid_input", True), refused
    assert bench.value("SELECT count(*) FROM project") == 0


async def test_status_lists_the_newest_first_in_pages(bench: Any, call: Any) -> None:
    line = Line(bench.store)
    names = [line.dispatch(f"Project {n} " + "x" * 100) for n in range(120)]
    seen, cursor = [], ""
    while True:
        shown = await call("projects", limit=500, cursor=cursor)
        seen += [each["project_id"] for each in shown["projects"]]
        cursor = shown.get("next_cursor", "")
        if not cursor:
            break
    assert seen == names[::-1]
    assert (shown["total"], shown["counts"]) == (120, {"active": 120})
    assert (await call("projects", workflow="content"))["projects"] == []
    assert (await call.fails("projects", workflow="contnet"))["hint"] == "Did you mean 'content'?"
    assert (await call.fails("projects", cursor="P-999"))["code"] == "project_not_found"


async def test_status_of_one_project_is_whole_and_fits(bench: Any, call: Any) -> None:
    line = Line(bench.store)
    name = line.dispatch("Make a shop " + '"\n' * 20_000)
    line.distribute()
    line.finish(name, {**REPOSITORY, "notes": "y" * 20_000})
    line.distribute()
    line.fail(name, "check_failed", "z" * 5_000)

    for given in (name, REPOSITORY["repository_url"]):
        shown = (await call("projects", project_id=given))["project"]
        assert (shown["project_id"], shown["status"], shown["level"]) == (name, "review", "normal")
        assert [item["workflow"] for item in shown["items"]] == ["genesis", "development"]
    whole = await read(call, f"crewyard://projects/{name}")
    assert len(whole["input"]) > 40_000
    assert whole["items"][0]["output"]["repository_url"] == REPOSITORY["repository_url"]
    assert [each["kind"] for each in whole["history"]] == ["project_active", "genesis_complete", "project_review"]


async def test_r218_a_deployed_project_is_triggered(bench: Any, call: Any) -> None:
    line = Line(bench.store)
    name = line.dispatch(stage="development")
    line.distribute()
    line.finish(name, {})
    refused = await call.fails("projects", action="trigger", project_id=name, workflow="content")
    assert (refused["code"], "not deployed" in refused["message"]) == ("illegal_transition", True)
    done = await call("projects", action="trigger", project_id=name, input=DEPLOYED["deployment_url"])
    assert done["projects"][0]["queues"] == ["content: waiting"]


async def test_r219_a_project_is_stopped_and_resumed(bench: Any, call: Any) -> None:
    line = Line(bench.store)
    name = line.dispatch()
    line.distribute()
    agent = line.start(name)
    done = await call("projects", action="emergency_stop", project_id=name, why="It sends mail.")
    assert (done["ending"], done["held"], done["projects"][0]["status"]) == ([agent], ["genesis"], "held")
    assert "keep their work" in done["note"]
    assert bench.value("SELECT kill_grace_seconds FROM agent_lifecycle") == 10.0
    why = await call("why", subject=name)
    assert "lead stopped project P-1" in why["because"]
    assert "It sends mail." in why["because"]

    again = await call("projects", action="resume", project_id=name)
    assert again["projects"][0]["status"] == "active"


@pytest.mark.parametrize("action", ["trigger", "emergency_stop", "resume"])
async def test_an_action_on_a_project_needs_one_that_is_there(bench: Any, call: Any, action: str) -> None:
    Line(bench.store).dispatch()
    assert "needs a project_id" in (await call.fails("projects", action=action))["message"]
    refused = await call.fails("projects", action=action, project_id="P-11")
    assert (refused["code"], refused["hint"]) == ("project_not_found", "Did you mean 'P-1'?")


async def test_workers_neither_call_it_nor_read_projects(bench: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        assert (await call.fails("projects"))["code"] == "not_authorized"
        with pytest.raises(Exception, match="Only the lead may read"):
            await call.client.read_resource("crewyard://projects/P-1")


async def test_the_resources_of_workflows_are_listed_where_there_are_any(call: Any) -> None:
    listed = {str(each.uri) for each in (await call.client.list_resources()).resources}
    templates = {each.uri_template for each in (await call.client.list_resource_templates()).resource_templates}
    assert "crewyard://queues" in listed
    assert "crewyard://projects/{project_id}" in templates
