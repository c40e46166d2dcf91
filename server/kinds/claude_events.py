"""What Claude Code's lines of JSON tell (2.1.197 to 2.1.330). Pure; they may hold anything at all."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .. import endings, spending
from ..endings import Quota
from ..spending import Spending
from ..wording import cut, last_lines
from . import objects
from .base import Heard

LINE = 300
TEXT = 4000
DENIED = 20
NO_CONVERSATION = "No conversation found"
# `error` of the message in whose place the provider's refusal stands. Of what it said of its own state nobody is at
# fault either: that it is overloaded, broken or out of reach is waited for as a limit is.
LOGIN = ("authentication_failed", "oauth_org_not_allowed")
PROVIDER = ("rate_limit", "billing_error", "overloaded", "server_error")
# What a call of a tool is about, for one line.
ARGUMENTS = ("command", "file_path", "notebook_path", "pattern", "path", "url", "query", "description")


def heard(output: str, quota_pattern: str, *, now: str) -> Heard:
    """What a run's output tells. It has one result a turn: what a task in the background sets off is another one."""
    said = list(objects.of_lines(output))
    results = [each for each in said if each.get("type") == "result"]
    error = _error(results[-1]) if results else None
    kind = next((objects.text(each.get("error")) for each in reversed(said) if _is_answer(each)), None)
    denials = [each for result in results for each in _dicts(result.get("permission_denials"))]
    return Heard(
        last_lines("\n".join(filter(None, map(readable, objects.lines(output))))),
        session=_session(said),
        spending=_spending(results),
        error=error,
        limit=_limit(said, error, kind, quota_pattern, now) if error else None,
        login=error if error and kind in LOGIN else None,
        question=_question(_dicts(results[-1].get("permission_denials"))) if results else None,
        denied=list(dict.fromkeys(map(_denied, denials)))[:DENIED],
    )


def readable(line: str) -> str | None:
    """A line as a person reads it: words, calls of tools, what failed, the end with its cost."""
    said = objects.of_line(line)
    if said is None:
        return cut(line, TEXT) if line.strip() else None
    kind = said.get("type")
    if kind == "result":
        return _end(said)
    if kind == "system" and said.get("subtype") == "api_retry":
        reason = said.get("error_status") or said.get("error")
        return cut(f"… no answer ({reason}); try {said.get('attempt')} of {said.get('max_retries')}", LINE)
    if kind == "rate_limit_event":
        status = _dict(said.get("rate_limit_info")).get("status")
        return None if status in (None, "allowed") else cut(f"… limit: {status}", LINE)
    if kind == "assistant" and said.get("error") in LOGIN:
        return None  # its result says the same
    content = _dict(said.get("message")).get("content") if kind in ("assistant", "user") else None
    return "\n".join(filter(None, map(_of_block, _dicts(content)))) or None


def _error(result: dict[str, Any]) -> str | None:
    subtype = objects.text(result.get("subtype")) or ""
    if not result.get("is_error") and not subtype.startswith("error"):
        return None
    errors = result.get("errors")
    words = [each for each in errors if isinstance(each, str)] if isinstance(errors, list) else []
    return cut(objects.text(result.get("result")) or "; ".join(words) or subtype or "it said no more", TEXT)


def _session(said: Sequence[dict[str, Any]]) -> str | None:
    """The conversation that there is to go on with: one in which the model has answered, and that was found."""
    session = None
    for each in said:
        if NO_CONVERSATION in str(each.get("errors")):
            session = None
        elif _is_answer(each) or each.get("type") == "result":
            session = objects.text(each.get("session_id")) or session
    return session


def _spending(results: Sequence[dict[str, Any]]) -> Spending | None:
    """Each result counts the tokens of its own turn; its cost too, or the cost of all turns of the run so far."""
    runs = [spending.of_claude(result) for result in results]
    used = spending.of_runs(runs)
    if any(map(spending.tells_its_share, results)):
        return used
    costs = [run.cost_usd for run in runs if run.cost_usd is not None]
    return Spending(used.input_tokens, used.output_tokens, costs[-1] if costs else None) if results else None


def _limit(said: Sequence[dict[str, Any]], error: str, kind: str | None, pattern: str, now: str) -> Quota | None:
    if kind not in PROVIDER:
        return endings.quota(error, pattern, now=now)
    infos = (_dict(each.get("rate_limit_info")) for each in said if each.get("type") == "rate_limit_event")
    resets = [info.get("resetsAt") for info in infos if info.get("status") == "rejected"]
    return Quota(cut(error, LINE), endings.moment(str(resets[-1]), now) if resets and kind == "rate_limit" else None)


def _question(denials: Iterable[dict[str, Any]]) -> str | None:
    """What it would have asked a person; the versions that offer it the tool for that refuse it here."""
    asked = (_dict(each.get("tool_input")) for each in denials if each.get("tool_name") == "AskUserQuestion")
    texts = [objects.text(each.get("question")) for given in asked for each in _dicts(given.get("questions"))]
    return cut("\n".join(filter(None, texts)), TEXT) or None


def _denied(refusal: dict[str, Any]) -> str:
    name, given = refusal.get("tool_name"), _dict(refusal.get("tool_input"))
    about = next((given[key] for key in ARGUMENTS if objects.text(given.get(key))), None)
    return cut(f"{name}({about})" if about else str(name), LINE)


def _of_block(block: dict[str, Any]) -> str | None:
    kind = block.get("type")
    if kind == "text":
        return cut(objects.text(block.get("text")) or "", TEXT)
    if kind == "tool_use":
        return _one_line(f"→ {block.get('name')} {_about(block.get('input'))}")
    if kind == "tool_result" and block.get("is_error"):
        content = block.get("content")
        texts = [str(each.get("text")) for each in _dicts(content)] if isinstance(content, list) else [str(content)]
        return _one_line(f"✗ {' '.join(texts)}")
    return None


def _about(given: object) -> str:
    arguments = _dict(given)
    about = next((arguments[key] for key in ARGUMENTS if objects.text(arguments.get(key))), None)
    return about or (json.dumps(given, ensure_ascii=False) if given else "")


def _end(result: dict[str, Any]) -> str:
    error, cost = _error(result), spending.of_claude(result).cost_usd
    said = f"✗ {error}" if error else "✓ done"
    return cut(said, TEXT) + (f" (${cost:.4f})" if cost else "")


def _one_line(text: str) -> str:
    return cut(" ".join(text[: 4 * LINE].split()), LINE)


def _is_answer(said: dict[str, Any]) -> bool:
    return said.get("type") == "assistant"


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
