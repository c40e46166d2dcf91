"""The composition root: what a server is made of, and how it is served (design 2, 8).

Only here do tools, resources and effects meet. Importing this module takes most of a server's start-up time, since it
brings in ``mcp``; the command line imports it only to serve.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from .. import __version__, resources, tools
from . import clock, slash_commands
from .assembly import build_yard
from .endpoint import Endpoint, end_process
from .errors import CrewyardError
from .yard import Yard

__all__ = [
    "build_app", "build_workflow_app", "build_yard", "end_process", "serve_as_daemon", "serve_http", "serve_stdio",
]  # fmt: skip

INSTRUCTIONS = """\
Crewyard runs a crew of coding agents in parallel on this git repository. You are the lead. Use it where work falls \
into tasks that several agents can do at once, each on a branch of its own.
1. plan(action='import', path=…), or text=…, brings in tasks with dependencies; plan(action='show') lists them.
2. assign(task_ids=[…]) begins a dispatch, without task_ids of all open tasks: each ready task gets an agent in its \
own git worktree and branch. Finished work is checked and merged into the integration branch one at a time, and what \
was blocked goes on, without a call of yours, while this server or a daemon runs: stay until agents(action='list') \
and worktrees(action='queue') are empty.
3. Meanwhile route(action='poll', wait_seconds=50) waits for mail: questions, failures, merges. \
route(action='send', target_agent=…) answers an agent, ALL everyone; route(action='acknowledge', message_ids=[…]) \
settles mail.
4. When something stands still, why(subject=ID) names the cause and the next call; agents(action='log') shows an \
agent's output, handle_agent_errors(action='detect') what went wrong.
5. A task in review is failed: mend its cause, then plan(action='update', task_id=…, new_status='ready') and assign \
again. An error has a code and a hint: follow the hint.
6. generate_activity_summary() tells what was done.\
"""
WORKER_INSTRUCTIONS = """\
You are an agent of a Crewyard crew and work on one task in your own git worktree. Commit your work there; never touch \
another worktree or branch. Report as you go: report(action='progress', summary=…) after each step, which is also your \
sign of life, and report(action='complete') when you are done; report 'question' or 'blocked' when you cannot go on. \
Poll your mail after each report, and whenever an answer has `unread`: route(action='poll') reads it, \
route(action='acknowledge', message_ids=[…]) settles it. An answer to your question comes as mail too: \
route(action='poll', wait_seconds=50) waits for it.\
"""


def build_app(yard: Yard, **options: Any) -> Endpoint:
    """The MCP server over ``yard``: the lead's, or one agent's where the yard has a token."""
    configure_logging()
    lead = (*tools.for_lead(), *(tools.for_workflows() if yard.settings.workflows else ()))
    app = Endpoint(
        yard,
        tools.for_worker() if yard.is_workers else lead,
        lead,
        tools.for_approver() if yard.is_workers else (),
        resources.LEADS_ALONE if yard.is_workers else (),
        sights=resources.sights(yard),
        slash_commands=() if yard.is_workers else slash_commands.offered(yard.settings.workflows),
        name="crewyard",
        title="Crewyard",
        version=__version__,
        instructions=WORKER_INSTRUCTIONS if yard.is_workers else INSTRUCTIONS,
        **options,
    )
    resources.register(app, yard)
    return app


def build_workflow_app(yard: Yard) -> Endpoint:
    """The tools that the workflows' commands call, for whoever may give those: the lead, or an administrator."""
    called = (*tools.for_lead(), *tools.for_workflows())
    return Endpoint(yard, called, called, sights={}, name="crewyard", version=__version__)


def configure_logging(*, anew: bool = False) -> None:
    """Plain lines on stderr, before the library puts rich's wide tracebacks there; stdout is the protocol's."""
    if anew or not logging.getLogger().handlers:
        logging.basicConfig(
            stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=anew
        )
        for noisy in ("mcp", "httpx", "uvicorn.access"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # At a warning each connection that speaks no HTTP would write a line, and needs no token for it.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def serve_stdio(root: Path) -> int:
    """Serve one client over stdin and stdout until it closes them; returns the exit code. A signal exits with 0."""
    return _served(root, lambda yard: build_app(yard).run("stdio"))


def serve_http(root: Path, host: str, port: int) -> int:
    """Serve clients over streamable HTTP until SIGTERM or SIGINT; returns the exit code."""
    from . import transport

    return _served(root, lambda yard: transport.serve(yard, build_app, host, port))


def serve_as_daemon(root: Path, host: str, port: int, *, only: Collection[str] | None, started_by: int) -> int:
    """Serve over HTTP as the repository's daemon; returns the exit code. ``only`` these agent types are launched.

    The word that it is ready, or why it never will be, goes to the descriptor ``started_by``.
    """
    from . import daemon, daemon_start, locating, transport

    configure_logging(anew=True)  # its log is read later, and wants times
    starter = os.fdopen(os.dup(started_by), "w", encoding="utf-8")  # a copy: no child of ours would hold it open
    os.close(started_by)
    configuration = locating.fingerprint(root)

    def serve(yard: Yard) -> None:
        def ready(url: str, kept_in: str) -> None:
            life.record(url, kept_in, now=clock.now(), configuration=configuration)
            logging.getLogger(__name__).info("the daemon of %s is ready at %s", root, url)
            with starter:
                json.dump({}, starter)

        with daemon.life(yard.paths) as life:
            transport.serve(
                yard,
                build_app,
                host,
                port,
                opening=lambda: daemon_start.let_in(yard.paths, yard.settings, only),
                ready=ready,
                last_port=yard.paths.daemon_port,
            )

    def failed(error: CrewyardError) -> None:
        if not starter.closed:
            with starter:
                json.dump({"code": error.code, "message": error.message, "hint": error.hint}, starter)

    return _served(root, serve, failed)


def _served(root: Path, serve: Callable[[Yard], None], failed: Callable[[CrewyardError], None] | None = None) -> int:
    configure_logging()
    try:
        serve(build_yard(root))
    except (CrewyardError, ExceptionGroup) as error:
        cause = _ours(error)
        if cause is None:
            raise
        print(f"crewyard: {cause.message} {cause.hint}".rstrip(), file=sys.stderr)  # noqa: T201
        if failed is not None:
            failed(cause)
        return 2
    return 0


def _ours(error: BaseException) -> CrewyardError | None:
    """The error of ours, out of the groups that task groups make of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, CrewyardError) else None
