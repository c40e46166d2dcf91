"""Spans made from events: of what, under what, with which ids."""

import subprocess
import sys
from typing import Any

import pytest

from crewyard.server import agents, clock, dispatches, merges, spans, telemetry

from .situations import NOW, SOON, dispatch, number, proven, queued, refused, work_of

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}


def made(bench: Any, after: int = 0) -> dict[str, spans.Span]:
    return {each.name: each for each in bench.store.read(spans.ended_after, after)[0]}


def in_dispatch(bench: Any) -> str:
    """A dispatch with one task, whose agent is done and whose merge is queued; returns its id."""
    bench.add_tasks("A")
    name = dispatch(bench, "A")
    bench.store.run(dispatches.claim, name, dispatches.Limits(1, {}, "builder"), now=NOW, actor="supervisor")
    bench.store.run(agents.ended, bench.add_agent("A", at=NOW), agents.Exit("completed", SOON, 0), actor="supervisor")
    return name


def test_a_merge_lies_under_its_agent_and_that_under_its_dispatch(bench: Any) -> None:
    from crewyard.server import assignments

    name = in_dispatch(bench)
    work = work_of(bench, "A")
    bench.store.run(assignments.placed, work, path="/w/A", branch="b-A")
    bench.store.run(assignments.proven, work, no_change=False, now=SOON, actor="supervisor")
    row = bench.store.run(
        merges.enqueue, work, head="c0ffee", target="roadmap", approved_by=None, now=SOON, actor="supervisor"
    )
    bench.store.run(merges.claim, row["merge_id"], now=SOON, actor="supervisor")
    late = clock.plus(SOON, 2)
    done = merges.Merged("decaf", 1, 1, 0)
    bench.store.run(merges.succeeded, row["merge_id"], done, now=late, actor="supervisor")
    bench.store.run(dispatches.change, name, "completed", now=late, actor="supervisor")
    found = made(bench)
    top, agent, merge = found["dispatch"], found["invoke_agent builder"], found["merge"]
    assert (top.parent_id, agent.parent_id, merge.parent_id) == (None, top.span_id, agent.span_id)
    assert top.trace_id == agent.trace_id == merge.trace_id
    assert len({top.span_id, agent.span_id, merge.span_id}) == 3
    assert (agent.start, agent.end, merge.start, merge.end) == (NOW, SOON, SOON, late)
    assert top.error is agent.error is merge.error is None
    assert merge.attributes["crewyard.merge.commit"] == "decaf"
    assert merge.attributes["vcs.ref.base.name"] == "roadmap"
    assert agent.attributes["gen_ai.agent.id"] == bench.value("SELECT agent_id FROM agent_lifecycle")
    assert agent.attributes["process.exit.code"] == 0
    assert made(bench) == found  # whoever asks again is told the same


@pytest.mark.parametrize(
    ("status", "how", "error_type"),
    [
        ("failed", {"code": 3, "message": "It broke."}, "failed"),
        ("timeout", {"signal": 9, "limit": "timeout_seconds"}, "timeout_seconds"),
        ("lost", {}, "lost"),
    ],
)
def test_what_failed_is_an_error_with_its_reason(bench: Any, status: str, how: dict[str, Any], error_type: str) -> None:
    bench.add_tasks("A")
    bench.store.run(agents.ended, bench.add_agent("A", at=NOW), agents.Exit(status, SOON, **how), actor="supervisor")
    span = made(bench)["invoke_agent builder"]
    assert span.error == (how.get("message") or status)
    assert span.attributes["error.type"] == error_type
    assert span.parent_id is None  # spawned by hand, for no dispatch


def test_a_merge_that_is_refused_is_an_error(bench: Any) -> None:
    refused("conflicted", "merge_conflicts", files=("f",))(bench)
    span = made(bench)["merge"]
    assert (span.error, span.attributes["error.type"]) == ("about merge_conflicts", "merge_conflicts")


def test_the_pages_of_a_long_record_give_each_span_once(bench: Any) -> None:
    for task_id in ("A", "B", "C"):
        proven(bench, task_id)
    seen, at = [], 0
    while True:
        found, at = bench.store.read(spans.ended_after, at, 2)
        if not found:
            break
        seen += [each.span_id for each in found]
    assert len(seen) == len(set(seen)) == 3
    assert bench.store.read(spans.ended_after, at) == ([], at)


def test_the_place_up_to_which_all_was_told_outlives_the_server(bench: Any) -> None:
    queued(bench)
    assert bench.store.read(spans.position) is None
    bench.store.run(spans.begin, now=NOW, actor="supervisor")
    at = bench.store.read(spans.position)
    assert bench.store.read(spans.ended_after, at)[0] == []
    bench.store.run(spans.exported, at + 7, 3, now=NOW, actor="supervisor")
    assert bench.store.read(spans.position) == at + 7


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", **ENDPOINT}, False),
        ({"OTEL_TRACES_EXPORTER": "console", **ENDPOINT}, False),
        ({"OTEL_SDK_DISABLED": "true", **ENDPOINT}, False),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **ENDPOINT}, False),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", **ENDPOINT}, True),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
    ],
)
def test_the_standard_variables_decide_whether_anything_is_told(environ: dict[str, str], wanted: bool) -> None:
    assert telemetry.is_configured(environ) is wanted


def test_without_the_extra_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "EXPORTER_MODULE", "opentelemetry.exporter.of.nobody")
    assert telemetry.is_configured(ENDPOINT) is False
    monkeypatch.setattr(telemetry, "EXPORTER_MODULE", "nobody.at.all")
    assert telemetry.is_configured(ENDPOINT) is False


@pytest.mark.parametrize(("ratio", "kept"), [("1.0", 2), ("0.0", 0)])
def test_a_trace_is_sampled_as_a_whole(bench: Any, monkeypatch: pytest.MonkeyPatch, ratio: str, kept: int) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    name = in_dispatch(bench)
    bench.store.run(dispatches.change, name, "completed", now=SOON, actor="supervisor")
    ours = list(made(bench).values())
    assert len(ours) == 2
    theirs = telemetry.SpanMaker().made_of(ours)
    assert len(theirs) == kept
    assert {each.context.span_id for each in theirs} <= {each.span_id for each in ours}


def test_nothing_of_opentelemetrys_is_imported_where_none_is_configured() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, crewyard.server.supervisor\n"
         "print([name for name in sys.modules if name.startswith('opentelemetry.')])"],
        capture_output=True, text=True, check=True, env={"PATH": ""},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_an_unknown_beginning_makes_no_span(bench: Any) -> None:
    """As in a record that an older version began."""
    name = queued(bench)
    bench.store.run(
        lambda tx: tx.run("INSERT INTO event (at, actor, subject_type, subject_id, kind, to_state) "
                          "VALUES (?, 's', 'merge', '99', 'merge_merged', 'merged')", (NOW,))
    )  # fmt: skip
    assert number(name) == 1
    assert "merge" not in made(bench)
