"""Tells a collector of OpenTelemetry what dispatches, agents and merges took, where one is configured.

Only whoever holds the lease does so, on a thread of its own that nothing waits for but a bounded time at the end. A
collector that is down or slow costs nothing but delay: what it has not taken is offered again, by the next server too.
The packages of the extra ``otel`` are imported on that thread and nowhere else.
"""

import importlib.util
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import clock, spans
from .crew import ACTOR, Crew
from .errors import CrewyardError, LeaseLost
from .spans import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger(__name__)

EXPORTERS = ("otlp", "otlp_proto_http")
PROTOCOL = "http/protobuf"
EXPORTER_MODULE = "opentelemetry.exporter.otlp.proto.http"
REST_SECONDS = 5.0
LONGEST_REST_SECONDS = 300.0
FLUSH_SECONDS = 3.0


def is_configured(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the standard variables name a collector that we can speak to, and the extra ``otel`` is installed."""
    names = [name.strip() for name in environ.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]
    has_address = any(_trace_setting(environ, "ENDPOINT") or [name in EXPORTERS for name in names])
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not has_address:
        return False
    if (names and not set(names) & set(EXPORTERS)) or _trace_setting(environ, "PROTOCOL") not in ("", PROTOCOL):
        log.info("OTEL_* asks for an exporter other than OTLP over %s; no spans are told", PROTOCOL)
        return False
    if not _is_installed():
        log.info("OTEL_* names a collector, but the extra `otel` is not installed; no spans are told")
        return False
    return True


def _trace_setting(environ: Mapping[str, str], name: str) -> str:
    return environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(EXPORTER_MODULE) is not None
    except ModuleNotFoundError:  # of a parent of it
        return False


class Telemetry:
    """The thread that exports. ``nudge`` begins it, and lets it look again; ``close`` has it look once more."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._at: int | None = None

    @classmethod
    def of(cls, crew: Crew) -> "Telemetry | None":
        """None where nothing is to be told: then it costs nothing."""
        return cls(crew) if is_configured() else None

    def nudge(self) -> None:
        """Something may have ended."""
        if self._thread is None:
            if self._crew.store.read(spans.position) is None:
                self._crew.write(spans.begin, now=clock.now(), actor=ACTOR)
            self._thread = threading.Thread(target=self._run, name="crewyard-telemetry", daemon=True)
            self._thread.start()
        self._news.set()

    def close(self) -> None:
        """Tell what is still to be told, for a bounded time; the rest is left to the next server."""
        if self._thread is None:
            return
        self._closing.set()
        self._news.set()
        self._thread.join(FLUSH_SECONDS)

    def _run(self) -> None:
        collector: Collector | None = None
        failures = 0
        while True:
            self._news.wait()
            self._news.clear()
            is_last = self._closing.is_set()
            try:
                collector = collector or Collector()
                failures = 0 if self._tell(collector) else failures + 1
            except LeaseLost:
                self._at = None  # another server tells; what it told is looked up if we are to act again
            except CrewyardError as error:
                log.warning("spans: %s", error.message)
            except Exception:  # whatever the exporter runs into, the crew's work goes on
                failures += 1
                log.exception("spans cannot be exported")
            if is_last:
                return
            self._closing.wait(min(LONGEST_REST_SECONDS, REST_SECONDS * 2 ** min(failures, 16)))

    def _tell(self, collector: "Collector") -> bool:
        """Export all that has ended. Whether the collector took it."""
        crew = replace(self._crew)  # keeps the term under which it was read
        if not crew.term:
            return True
        at = crew.store.read(spans.position) or 0 if self._at is None else self._at
        while True:
            found, upto = crew.store.read(spans.ended_after, at)
            if found and not collector.takes(found):
                return False
            if found:
                crew.write(spans.exported, upto, len(found), now=clock.now(), actor=ACTOR)
            self._at = at = upto
            if not found:
                return True


class Collector:
    """The exporter, and what makes its spans of ours."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # it would log each try
        self._exporter = OTLPSpanExporter()
        self._maker = SpanMaker()
        self._was_down = False

    def takes(self, found: Sequence[Span]) -> bool:
        from opentelemetry.sdk.trace.export import SpanExportResult

        taken = self._exporter.export(self._maker.made_of(found)) is SpanExportResult.SUCCESS
        if not taken and not self._was_down:
            log.warning("the collector of spans takes none now; they are offered again later")
        self._was_down = not taken
        return taken


class SpanMaker:
    """Makes spans of the library's from ours, by its own provider: with our ids, and as sampling is configured.

    The provider is nobody else's: whatever instruments this process otherwise hears nothing of it.
    """

    def __init__(self) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.id_generator import IdGenerator

        ended: list[ReadableSpan] = []

        class Ids(IdGenerator):
            span = trace = 0

            def generate_span_id(self) -> int:
                return self.span

            def generate_trace_id(self) -> int:
                return self.trace

        class Kept(SpanProcessor):
            def on_end(self, span: "ReadableSpan") -> None:
                ended.append(span)

        named = "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") or "OTEL_SERVICE_NAME" in os.environ
        self._ended, self._ids = ended, Ids()
        self._provider = TracerProvider(
            resource=Resource.create({} if named else {"service.name": "crewyard"}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(Kept())
        self._tracer = self._provider.get_tracer("crewyard")

    def made_of(self, found: Sequence[Span]) -> "list[ReadableSpan]":
        """Those of the spans that are sampled."""
        self._ended.clear()
        for each in found:
            self._make(each)
        return list(self._ended)

    def _make(self, span: Span) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.sdk.trace.sampling import Decision

        context = Context()
        if span.parent_id is not None:  # which decides: a trace is sampled as a whole
            of_all = self._provider.sampler.should_sample(None, span.trace_id, span.name).decision
            sampled = of_all is Decision.RECORD_AND_SAMPLE
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else trace.TraceFlags.DEFAULT)
            parent = trace.SpanContext(span.trace_id, span.parent_id, is_remote=True, trace_flags=flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent), context)
        self._ids.trace, self._ids.span = span.trace_id, span.span_id
        made = self._tracer.start_span(
            span.name, context, attributes=span.attributes, start_time=_nanoseconds(span.start)
        )
        if span.error is not None:
            made.set_status(trace.Status(trace.StatusCode.ERROR, span.error))
        made.end(_nanoseconds(span.end))


def _nanoseconds(moment: str) -> int:
    since = clock.parse(moment) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000) * 1_000_000
