"""The exports of workflows: whole at every moment, written after changes, and never over what is not theirs."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flowing import configure, crewyard, told
from yards import Yard, wait_until

from crewyard.server import clock
from crewyard.server.crew import Crew
from crewyard.server.errors import LeaseLost
from crewyard.server.workflow_exports import REST_SECONDS, Exports
from crewyard.server.workflow_sections import Workflows
from crewyard.server.workflows import items, projects
from crewyard.server.workflows.pipeline import Pipeline

FOLDER = "shared-state"
LINE = Pipeline(Workflows.model_validate({"stages": {"genesis": {"agent": "scripted"}}, "shared_state": FOLDER}))


def dispatch(crew: Crew) -> str:
    def unit(tx: Any) -> str:
        row = projects.create(tx, projects.Draft("A shop"), "genesis", now=clock.now(), actor="lead")
        items.enqueue(tx, row["project_id"], "genesis", now=clock.now(), actor="lead")
        return str(row["project_id"])

    return crew.store.run(unit)


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture
def folder(crew: Crew) -> Path:
    return crew.root / FOLDER


def test_the_tree_is_written_and_what_changes_is_written_anew(crew: Crew, folder: Path) -> None:
    name, exports = dispatch(crew), Exports(crew, LINE)
    exports.look()
    status = folder / "projects" / name / "status.json"
    first = status.stat().st_ino
    assert content(status)["status"] == "active"
    assert content(folder / "queues/genesis-queue/items.json")["waiting"] == 1

    crew.store.run(projects.change, name, "held", now=clock.now(), actor="lead")
    exports.look()
    assert content(status)["status"] == "active", "twice within a second"
    wait_until(lambda: exports.look() or content(status)["status"] == "held", 2 * REST_SECONDS + 2)
    assert status.stat().st_ino != first, "it is replaced, not written into"
    assert not list(folder.rglob("*part"))


def test_a_file_that_is_no_export_stays_as_it_is(crew: Crew, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    theirs = folder / "queues/genesis-queue/items.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text('{"items": "mine"}')
    Exports(crew, LINE).look()

    assert theirs.read_text() == '{"items": "mine"}'
    assert "is no export of workflows" in caplog.text
    assert content(folder / "queues/review-queue/items.json")["items"] == []


def test_nothing_is_written_where_a_folder_leads_out_of_the_repository(crew: Crew, folder: Path) -> None:
    elsewhere = crew.root.parent / "elsewhere"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "projects").symlink_to(elsewhere)
    dispatch(crew)
    Exports(crew, LINE).look()

    assert list(elsewhere.iterdir()) == []
    assert content(folder / "queues/genesis-queue/items.json")["waiting"] == 1


@pytest.mark.parametrize("name", ["items.json", ".items.json.crewyard-part"])
def test_a_link_in_the_place_of_a_file_is_not_followed(crew: Crew, folder: Path, name: str) -> None:
    secret = crew.root.parent / "secret.json"
    secret.write_text('{"generator": "crewyard workflow export"}')
    place = folder / "queues/genesis-queue" / name
    place.parent.mkdir(parents=True)
    place.symlink_to(secret)
    Exports(crew, LINE).look()

    assert place.is_symlink()
    assert secret.read_text() == '{"generator": "crewyard workflow export"}'


def test_a_folder_that_cannot_be_written_to_stops_nothing_and_is_told(
    crew: Crew, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file")
    Exports(crew, LINE).look()

    assert "cannot be written to" in caplog.text
    assert folder.read_text() == "a file"


def test_whoever_lost_the_lease_writes_nothing(crew: Crew, folder: Path) -> None:
    crew.term += 1
    with pytest.raises(LeaseLost):
        Exports(crew, LINE).look()

    assert not folder.exists()


@pytest.fixture
def exported(yard: Yard) -> Iterator[Yard]:
    configure(yard)
    file = yard.repo / "crewyard.toml"
    file.write_text(f'{file.read_text()}\n[workflows]\nshared_state = "{FOLDER}"\n')
    assert crewyard(yard, "start").returncode == 0
    yield yard
    crewyard(yard, "stop", "--force")


def test_r253_to_r255_a_project_that_comes_through_leaves_the_documents_tree(exported: Yard) -> None:
    folder = exported.repo / FOLDER
    told(exported, "/dispatch-genesis A shop for tea")
    status = folder / "projects/P-1/status.json"
    wait_until(lambda: status.exists() and content(status)["status"] == "completed", 60)

    assert sorted(os.listdir(status.parent)) == ["development-progress.json", "genesis-output.json", "status.json"]
    assert content(status.parent / "genesis-output.json")["repository_url"] == "https://example.org/shop"
    assert {path.name for path in (folder / "instances").iterdir()} >= {"genesis-01.json", "content-01.json"}
    seen = subprocess.run(["git", "status", "--short"], cwd=exported.repo, capture_output=True, text=True, check=True)
    assert FOLDER not in seen.stdout
