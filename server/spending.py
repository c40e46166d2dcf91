"""What an agent program says that it has used, told from the end of its output. Pure.

Known are the ``result`` object that Claude Code prints with ``--output-format json`` or ``stream-json``, and the
``turn.completed`` events of ``codex exec --json``, whose counts are those of their thread so far. Whatever the kind: a
command may well start one of them. Any other output says nothing, and is no error.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)
# Claude Code counts what it read from its cache, or wrote to it, beside the other input; Codex among it.
_CLAUDE_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_MOST = 2**53  # beyond it no program has counted anything


@dataclass(frozen=True)
class Spending:
    """Of one agent; None is what it did not say. Input counts what came from a cache."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None

    def beyond(self, earlier: "Spending") -> "Spending":
        """What was used since, where this counts from the beginning."""
        return Spending(
            _beyond(self.input_tokens, earlier.input_tokens),
            _beyond(self.output_tokens, earlier.output_tokens),
            _beyond(self.cost_usd, earlier.cost_usd),
        )


def told_by(output: str) -> Spending | None:
    """The sum over all runs of such programs that ended in this output; None where none did."""
    runs: list[Spending] = []
    thread: Spending | None = None
    for said in _objects(output):
        if said.get("type") == "result":
            runs.append(of_claude(said))
        elif said.get("type") == "thread.started" and thread is not None:
            runs.append(thread)
            thread = None
        elif said.get("type") == "turn.completed":
            thread = of_codex(said)
    used = of_runs([*runs, *([thread] if thread else [])])
    return used if used != Spending() else None


def _objects(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        text = line.strip()
        is_wanted = any(word in text for word in ('"result"', '"turn.completed"', '"thread.started"'))
        if not is_wanted or text[0] not in "{[":
            continue
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            continue
        yield from (each for each in (parsed if isinstance(parsed, list) else [parsed]) if isinstance(each, dict))


def of_claude(said: dict[str, Any]) -> Spending:
    usage = _usage(said)
    inputs = _total(_count(usage.get(name)) for name in _CLAUDE_INPUT)
    return Spending(_count(inputs), _count(usage.get("output_tokens")), _cost_of_claude(said))


def tells_its_share(said: dict[str, Any]) -> bool:
    """Whether a ``result`` of Claude Code tells what it alone has cost: its total may hold more (docs/agents.md)."""
    return isinstance(said.get("model_usage_since_last_result"), dict)


def _cost_of_claude(said: dict[str, Any]) -> float | None:
    if not tells_its_share(said):
        return _cost(said.get("total_cost_usd"))
    models = said["model_usage_since_last_result"].values()
    return _cost(_total(_cost(model.get("costUSD")) for model in models if isinstance(model, dict)) if models else 0.0)


def of_codex(said: dict[str, Any]) -> Spending:
    usage = _usage(said)
    return Spending(_count(usage.get("input_tokens")), _count(usage.get("output_tokens")))


def _beyond(used: Number | None, earlier: Number | None) -> Number | None:
    return used if used is None or earlier is None else max(used - earlier, used - used)


def of_gemini(said: dict[str, Any]) -> Spending | None:
    """What the ``result`` of Gemini CLI counts; it names no cost."""
    used = said.get("stats")
    if not isinstance(used, dict):
        return None
    return Spending(_count(used.get("input_tokens")), _count(used.get("output_tokens")))


def of_opencode(steps: Iterable[dict[str, Any]]) -> Spending | None:
    """The sum of what the steps of opencode that ended have used; its thoughts count as output."""
    runs = [_of_step(step) for step in steps]
    return of_runs(runs) if runs else None


def _of_step(step: dict[str, Any]) -> Spending:
    tokens = step.get("tokens")
    tokens = tokens if isinstance(tokens, dict) else {}
    cache = tokens.get("cache")
    cache = cache if isinstance(cache, dict) else {}
    inputs = _total(_count(each) for each in (tokens.get("input"), cache.get("read"), cache.get("write")))
    outputs = _total(_count(tokens.get(name)) for name in ("output", "reasoning"))
    return Spending(_count(inputs), _count(outputs), _cost(step.get("cost")))


def _usage(said: dict[str, Any]) -> dict[str, Any]:
    usage = said.get("usage")
    return usage if isinstance(usage, dict) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST else None


def _cost(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _MOST else None  # NaN is neither


def of_runs(runs: Sequence[Spending]) -> Spending:
    """What they used together; None of what none of them told."""
    return Spending(
        _count(_total(run.input_tokens for run in runs)),
        _count(_total(run.output_tokens for run in runs)),
        _cost(_total(run.cost_usd for run in runs)),
    )


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
