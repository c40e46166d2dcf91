"""Spans of real runs, as a collector receives them over OTLP/HTTP."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from crewyard.server.clock import parse

from .conftest import Yard


@dataclass
class Collector:
    """Takes spans down; ``answers`` is its status code, and while ``hangs`` it gives none."""

    url: str = ""
    answers: int = 200
    spans: list[Any] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    hangs: threading.Event = field(default_factory=threading.Event)
    keeps_silent: bool = False  # though it takes them
    released: threading.Event = field(default_factory=threading.Event)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            self.services |= {
                each.value.string_value for each in group.resource.attributes if each.key == "service.name"
            }
            for scope in group.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if made.hangs.is_set():
                made.released.wait(60)
            elif made.answers == 200:
                made.take(body)
            if made.keeps_silent:
                made.released.wait(60)
            with contextlib.suppress(OSError):
                self.send_response(made.answers)
                self.end_headers()

        def log_message(self, format: str, *_: Any) -> None:  # noqa: A002
            """Not on the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield made
    made.released.set()
    server.shutdown()
    server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def nanoseconds(moment: str) -> int:
    return round(parse(moment).timestamp() * 1000) * 1_000_000


CLUMSY = '[agents.clumsy]\ncommand = ["sh", "-c", "test $CREWYARD_ATTEMPT = 1 && exit 3; echo x > B.txt"]\n'


def test_a_run_is_one_trace_of_its_agents_and_merges(yard: Yard, collector: Collector) -> None:
    yard.configure(CLUMSY)
    outcome = yard.run(yard.plan({"task_id": "A"}, {"task_id": "B", "agent_type": "clumsy"}))
    assert (outcome.code, "span" in outcome.err) == (0, False)
    assert collector.services == {"crewyard"}
    [top] = collector.named("dispatch")
    agents = {attributes(span)["gen_ai.agent.id"]: span for span in collector.spans if "invoke_agent" in span.name}
    rows = {row["agent_id"]: row for row in yard.rows("SELECT * FROM agent_lifecycle")}
    assert set(agents) == set(rows)
    for name, span in agents.items():
        assert (span.trace_id, span.parent_span_id) == (top.trace_id, top.span_id)
        assert span.start_time_unix_nano == nanoseconds(rows[name]["created_at"])
        assert span.end_time_unix_nano == nanoseconds(rows[name]["completed_at"])
        assert (span.status.code == span.status.STATUS_CODE_ERROR) is (rows[name]["status"] == "failed")
    failed = next(agents[name] for name, row in rows.items() if row["status"] == "failed")
    assert "exit code 3" in failed.status.message
    assert attributes(failed)["process.exit.code"] == 3
    merges = {attributes(span)["crewyard.task.id"]: span for span in collector.named("merge")}
    assert set(merges) == {"A", "B"}
    for task_id, span in merges.items():
        worker = next(row["agent_id"] for row in rows.values() if row["task_id"] == task_id and row["exit_code"] == 0)
        assert (span.trace_id, span.parent_span_id) == (top.trace_id, agents[worker].span_id)
    assert len(collector.spans) == 1 + len(rows) + 2


@pytest.mark.parametrize("how", ["refuses", "hangs", "is gone"])
def test_a_collector_that_is_down_fails_and_slows_nothing_and_is_told_later(
    yard: Yard, collector: Collector, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "refuses":
        collector.answers = 500
    elif how == "hangs":
        collector.hangs.set()
    else:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    outcome = yard.run(yard.plan({"task_id": "A"}))
    assert (outcome.code, outcome.result["tasks"][0]["status"]) == (0, "merged")
    assert time.monotonic() - began < 20
    assert "Traceback" not in outcome.err
    assert collector.spans == []

    collector.answers = 200
    collector.hangs.clear()
    collector.released.set()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    assert yard.run(yard.plan({"task_id": "B"}, name="next.json")).code == 0
    told_again(yard, lambda: {"A", "B"} <= {attributes(each)["crewyard.task.id"] for each in collector.named("merge")})
    traces = {each.trace_id for each in collector.named("merge")}
    assert len(traces) == len(collector.named("merge"))  # a run of one task each


def test_what_was_told_before_is_not_told_again(yard: Yard, collector: Collector) -> None:
    assert yard.run(yard.plan({"task_id": "A"})).code == 0
    told = [span.span_id for span in collector.spans]
    assert yard.run(yard.plan({"task_id": "B"}, name="next.json")).code == 0
    assert [span.span_id for span in collector.spans][: len(told)] == told
    assert len({span.span_id for span in collector.spans}) == len(collector.spans) == 2 * len(told)


def test_a_server_that_is_killed_before_it_noted_what_was_taken_tells_the_same_spans_again(
    yard: Yard, collector: Collector, wait_until: Any
) -> None:
    collector.keeps_silent = True
    plan = yard.gated_plan()
    running = yard.start(plan)
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"))
    yard.open_gate()
    wait_until(lambda: collector.spans)
    running.process.kill()
    running.finish()
    before = {span.span_id for span in collector.spans}
    collector.keeps_silent = False
    collector.released.set()
    assert before
    assert yard.run(plan).code == 0
    told_again(yard, lambda: all(len(told(collector, each)) >= 2 for each in before))
    assert all(len({span.SerializeToString() for span in told(collector, each)}) == 1 for each in before)


def told(collector: Collector, span_id: bytes) -> list[Any]:
    return [span for span in collector.spans if span.span_id == span_id]


def told_again(yard: Yard, is_told: Callable[[], bool]) -> None:
    """A run waits for its collector for three seconds at most; what a slow machine left is told by the next."""
    for number in range(5):
        if is_told():
            return
        assert yard.run(yard.plan({"task_id": f"more-{number}"}, name=f"more-{number}.json")).code == 0
    assert is_told()


def test_without_a_collector_nothing_is_put_down(yard: Yard) -> None:
    assert yard.run(yard.plan({"task_id": "A"})).code == 0
    assert yard.rows("SELECT 1 FROM event WHERE subject_type = 'telemetry'") == []
