"""What agent programs say that they have used, as their last lines are told in their documentation."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewyard.server import agents
from crewyard.server.spending import Spending, told_by
from crewyard.server.store import Store, Transaction

CLAUDE = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "duration_ms": 61234,
    "num_turns": 12,
    "result": 'Done.\nThe "result" is committed.',
    "session_id": "5f2b",
    "total_cost_usd": 0.4213,
    "usage": {
        "input_tokens": 40,
        "cache_creation_input_tokens": 12_000,
        "cache_read_input_tokens": 230_000,
        "output_tokens": 5_600,
        "service_tier": "standard",
    },
}
CODEX = [
    {"type": "thread.started", "thread_id": "0199"},
    {"type": "turn.started"},
    {"type": "item.completed", "item": {"id": "item_0", "type": "agent_message", "text": "Done."}},
    {"type": "turn.completed", "usage": {"input_tokens": 24763, "cached_input_tokens": 24448, "output_tokens": 122}},
]


def lines(*objects: Any) -> str:
    return "".join(json.dumps(each) + "\n" for each in objects)


def test_claude_codes_result_tells_tokens_and_cost() -> None:
    said = Spending(input_tokens=242_040, output_tokens=5_600, cost_usd=0.4213)
    stream = [{"type": "system", "subtype": "init"}, {"type": "assistant", "message": {"usage": {"output_tokens": 9}}}]

    assert told_by(lines(CLAUDE)) == said
    assert told_by("some words\n" + lines(*stream, CLAUDE) + "[exited]\n") == said
    assert told_by(lines([*stream, CLAUDE])) == said  # --output-format json with --verbose: one list


def test_of_claude_codes_cost_so_far_each_run_has_its_share() -> None:
    models = {"large": {"costUSD": 0.25}, "small": {"costUSD": 0.5}, "odd": {"costUSD": "much"}, "none": None}
    resumed = {**CLAUDE, "total_cost_usd": 9.0, "model_usage_since_last_result": models}
    told = [told_by(lines({**resumed, "model_usage_since_last_result": share})) for share in (models, {}, {"odd": 1})]
    assert [used and used.cost_usd for used in told] == [0.75, 0.0, None]


def test_codexs_turns_tell_the_tokens_of_their_thread() -> None:
    assert told_by(lines(*CODEX)) == Spending(24763, 122, None)
    more = {"type": "turn.completed", "usage": {"input_tokens": 50_000, "output_tokens": 300}}
    assert told_by(lines(*CODEX, more)) == Spending(50_000, 300, None)


def test_what_one_agent_ran_one_after_another_is_added_up() -> None:
    assert told_by(lines(CLAUDE, CLAUDE)) == Spending(484_080, 11_200, 0.8426)
    assert told_by(lines(*CODEX, *CODEX)) == Spending(49_526, 244, None)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "no JSON at all",
        '{"type": "result", "usage": ',
        '{"type": "result"}',
        '{"type": "result", "usage": [], "total_cost_usd": "1"}',
        '{"type": "result", "usage": {"input_tokens": -1, "output_tokens": true}, "total_cost_usd": NaN}',
        '{"type": "result", "usage": {"input_tokens": 1e300, "output_tokens": "9"}, "total_cost_usd": Infinity}',
        '{"type": "result", "usage": {"output_tokens": ' + "9" * 5_000 + "}}",
        '{"type": ["result"], "usage": {}}',
        '[[["result"]]]',
        "[" * 100_000 + '"result"',
        '["result", 1, null]',
        '{"type": "turn.completed", "usage": null}',
    ],
)
def test_odd_output_tells_nothing_and_fails_nobody(said: str) -> None:
    assert told_by(said) is None


def test_a_number_that_no_column_holds_is_not_believed() -> None:
    huge = {"type": "result", "usage": {"input_tokens": 2**60, "output_tokens": 7}, "total_cost_usd": 1}
    assert told_by(lines(huge)) == Spending(None, 7, 1.0)


def test_a_sum_that_no_column_holds_is_not_believed() -> None:
    most = 2**53 - 1
    usage = {"input_tokens": most, "cache_creation_input_tokens": most, "output_tokens": most}
    huge = {"type": "result", "usage": usage, "total_cost_usd": most}

    assert told_by(lines(huge)) == Spending(None, most, float(most))
    assert told_by(lines(*[huge] * 2000)) is None


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.integers(2**52, 2**54) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
USAGE = st.dictionaries(
    st.sampled_from(["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"]), ODD
)
SAID = st.fixed_dictionaries(
    {"type": st.sampled_from(["result", "turn.completed", "thread.started"]) | ODD},
    optional={"usage": USAGE | ODD, "total_cost_usd": ODD},
)
LINES = st.builds(json.dumps, SAID | st.lists(SAID | ODD, max_size=3))
RAW = st.sampled_from(
    [
        b'{"type":"result","usage":{"output_tokens":' + b"9" * 5_000 + b"}}",
        b'{"type":"result","total_cost_usd":1e999}',
        b"[" * 10_000 + b'"result"',
        b'{"type":"result","usage":{"input_tokens":' * 2_000,
        b'\xff\xfe{"type":"result"}\x00',
        b'{"type":"result","result":"\\ud800"}',
    ]
)


@given(st.lists(LINES.map(str.encode) | RAW | st.binary(max_size=40), max_size=6), st.sampled_from([1, 2_000]))
def test_whatever_is_printed_tells_what_a_column_holds_or_nothing(printed: list[bytes], times: int) -> None:
    text = b"".join(line + b"\n" for line in printed)
    said = told_by((text * min(times, 1 + 100_000 // (1 + len(text)))).decode("utf-8", "replace"))
    if said is not None:
        assert all(type(count) in (int, type(None)) for count in (said.input_tokens, said.output_tokens))
        assert all(value is None or 0 <= value < 2**53 for value in vars(said).values())


@given(st.text(alphabet='{}[]":,result turn.completed usage_tokens0123456789\n', max_size=300))
def test_no_output_whatever_fails(said: str) -> None:
    told_by(said)


def test_of_what_a_conversation_has_used_each_of_its_agents_keeps_its_own(store: Store, insert: Any) -> None:
    def work(tx: Transaction) -> list[tuple[int, int]]:
        for name, session in (("a1", "s"), ("other", "t"), ("a2", "s"), ("a3", "s")):
            insert(tx, "agent_lifecycle", agent_id=name, agent_type=name, kind="codex", workspace="/w", run_dir="/r",
                   term=1, created_at="2026-01-01T00:00:00.000Z", session_id=session)  # fmt: skip
        agents.spent(tx, "a1", Spending(100, 10), so_far=True)
        agents.spent(tx, "other", Spending(7, 7), so_far=True)
        agents.spent(tx, "a2", Spending(250, 30), so_far=True)
        agents.spent(tx, "a3", Spending(250, 30), so_far=True)
        rows = tx.all("SELECT input_tokens, output_tokens FROM agent_lifecycle ORDER BY rowid")
        return [(row["input_tokens"], row["output_tokens"]) for row in rows]

    assert store.run(work) == [(100, 10), (7, 7), (150, 20), (0, 0)]
