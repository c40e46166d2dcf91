"""``ClaudeAgentInvoker``: the commands for Python programs and the command line, as documents 000 and 001 write them.

Programs are trusted as whoever runs them is. Nobody may invoke a command in an agent's environment: its own tools are
what an agent has.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from . import clock, commands, events, identity
from .assembly import build_yard
from .commands.base import Answer, Command, Parameters
from .errors import CrewyardError, InvalidInput, NotAuthorized
from .identity import Caller
from .store import Transaction
from .yard import NoSupervisor, Yard

ORCHESTRATOR = "orchestrator"
STOP_SECONDS = 30.0  # a program goes on after a command, and what it started is not to go on beside it


class ClaudeAgentInvoker:
    """Invokes commands on one repository (R-025). Each call opens the yard and closes it again."""

    def __init__(self, agent_name: str = ORCHESTRATOR, *, repo: Path | str = ".") -> None:
        """``repo`` is the repository, or a folder in it. Raises InvalidInput for another agent's name."""
        if agent_name != ORCHESTRATOR:
            raise InvalidInput(
                f"{agent_name!r} has no commands of its own.", hint=f"The fifteen commands are the {ORCHESTRATOR}'s."
            )
        self._repo = Path(repo)

    def invoke_command(self, command_name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Do a command; returns its answer with ``success``, ``action`` and ``timestamp`` (R-036).

        What is refused is an answer too: ``success`` is False, ``error`` the code, ``message`` the facts and ``hint``
        the next step, with the ids concerned. It may be called within a running event loop, which waits meanwhile.
        """
        command_name = str(command_name)
        action = command_name.replace("-", "_")
        try:
            command = commands.get(command_name)
            given = command.given(parameters or {})
            action = getattr(given, "action", action)
            with start_blocking_portal() as portal:
                answer = portal.call(_invoked, build_yard(self._repo), command, given)
        except CrewyardError as error:
            told = {"error": error.code, "message": error.message, "hint": error.hint}
            frame = {**_frame(action, success=False), **told}
            return frame | {key: value for key, value in error.details.items() if key not in frame}
        return {**_frame(action, success=True), **answer.model_dump(mode="json")}


def _frame(action: str, *, success: bool) -> dict[str, Any]:
    return {"success": success, "action": action, "timestamp": clock.now()}


async def _invoked(yard: Yard, command: Command, given: Parameters) -> Answer:
    yard.supervise = yard.operations.supervisor_at_hand if command.acts else NoSupervisor
    yard.stop_seconds = STOP_SECONDS
    async with yard.opened():
        await yard.supervised()
        caller = await _lead(yard, command)
        if not command.writes:
            return await command.run(yard, caller, given)
        await yard.run(caller, _record, command, "invoked", caller.name, parameters=_asked(given))
        try:
            return await command.run(yard, caller, given)
        except CrewyardError as error:
            await yard.run(caller, _record, command, "refused", caller.name, code=error.code, why=error.message)
            raise


async def _lead(yard: Yard, command: Command) -> Caller:
    """Whoever is no agent. Raises NotAuthorized, and that is recorded, for an agent, whether it lives or not."""
    try:
        caller = await yard.caller()
    except NotAuthorized as error:
        name = error.details.get("agent_id", identity.UNKNOWN)
        await yard.store.run(identity.refused, name, command.name, 1, now=clock.now())
        raise
    if not caller.is_lead:
        await yard.store.run(identity.refused, caller.name, command.name, 1, now=clock.now())
        raise NotAuthorized("An agent of the crew has no commands.", hint="Its tools are what it may do.")
    return caller


def _asked(given: Parameters) -> dict[str, Any]:
    return given.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _record(tx: Transaction, /, command: Command, kind: str, actor: str, **data: Any) -> None:
    """Who asked for what, before it is done, and with what it was refused (CFR-014)."""
    events.record(tx, now=clock.now(), actor=actor, subject_type="command", subject_id=command.name, kind=kind, **data)
