"""A stand-in for the providers of models, on 127.0.0.1: it answers from a script, so that unmodified programs of any of
them make real calls of tools, with no account.

    with Models([Scenario("go", [[Use("plan", action="show")], [Say("done")]])]) as models:
        environment["ANTHROPIC_BASE_URL"] = models.url

The turn is found from the request alone, so a request that is made again is answered again. A request that offers no
tools (a title, a warm-up) is answered "ok" and uses up no turn.
"""

import json
import re
import threading
import uuid
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from .dialects import gemini, messages, responses
from .scenarios import Again, Asked, Part, Refuse, Say, Scenario, Use

__all__ = ["Again", "Asked", "Models", "Refuse", "Say", "Scenario", "Use"]

DIALECTS: tuple[Any, ...] = (messages, responses, gemini)


class Models:
    """The server. ``requests`` holds what it was asked, ``faults`` what went wrong in the script."""

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self.scenarios = list(scenarios)
        self.requests: list[Asked] = []
        self.faults: list[str] = []
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"models": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "Models":
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()
        assert error is not None or not self.faults, self.faults

    def answer(self, dialect: Any, asked: Asked) -> list[Part] | Refuse:
        """What to say, with each tool named as the program offers it. A call carries its turn in its id."""
        with self._lock:
            self.requests.append(asked)
            if not asked.tools:
                return [Say("ok")]
            scenario = next((each for each in self.scenarios if re.search(each.match, asked.said)), None)
            if scenario is None:
                return [Say("(no scenario matches)")]
        try:
            turn = scenario.next(asked)
        except Exception as error:  # noqa: BLE001  (a test's own function: told where the test ends)
            self.faults.append(f"{scenario.match}, turn {len(asked.turns)}: {error!r}; results: {asked.results[-3:]}")
            return [Say("(the script failed)")]
        if isinstance(turn, Refuse):
            return turn
        missing = [part.tool for part in turn if isinstance(part, Use) and asked.offered(part.tool) is None]
        search = dialect.search(asked, missing) if missing else None
        return [search] if search else [_offered(asked, part) for part in turn]


def _offered(asked: Asked, part: Part) -> Part:
    return part if isinstance(part, Say) else Use(asked.offered(part.tool) or part.tool, **part.arguments)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    models: Models

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._send(200, {}, b"")

    def do_GET(self) -> None:
        self._send(404, {"content-type": "application/json"}, b'{"error": {"message": "not here"}}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        path = self.path.split("?")[0]
        dialect = next((each for each in DIALECTS if each.PATH.search(path)), None)
        if dialect is None:
            self.do_GET()
            return
        if counted := dialect.count(path, body):
            self._send(200, {"content-type": "application/json"}, json.dumps(counted).encode())
            return
        asked = dialect.read(path, body)
        said = self.models.answer(dialect, asked)
        if isinstance(said, Refuse):
            refusal = dialect.refusal(said) if said.body is None else said.body
            text = refusal if isinstance(refusal, str) else json.dumps(refusal)
            self._send(said.status, {"content-type": "application/json"} | said.headers, text.encode())
            return
        kind = "text/event-stream" if asked.stream else "application/json"
        self._send(200, {"content-type": kind}, dialect.write(asked, said).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        try:
            self.send_response(status)
            for name, value in {"request-id": f"req_{uuid.uuid4().hex[:20]}", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the program was killed, which some tests are about
