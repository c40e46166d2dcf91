"""How a tool's answer looks to a person."""

from crewyard.server import workflow_view


def test_facts_come_first_then_tables_then_the_note() -> None:
    answer = {
        "action": "status",
        "status": "success",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "note": "More: limit.",
        "queues": [
            {"workflow": "genesis", "depth": 3, "oldest_wait_seconds": 12.5, "held": None, "paused": True},
            {"workflow": "content", "depth": 0, "paused": False},
        ],
        "review": 2,
        "levels": ["urgent", "low"],
        "range": {"from": "a", "to": "b"},
        "machine": {"load": [0.5, 1.0], "disks": [{"path": "x"}]},
        "nothing": [],
    }

    assert list(workflow_view.lines_of(answer)) == [
        "review: 2",
        "levels: urgent, low",
        "range: from a, to b",
        "machine:",
        "  load: 0.5, 1",
        "  disks:",
        "    PATH",
        "    x",
        "queues:",
        "  WORKFLOW  DEPTH  OLDEST WAIT SECONDS  PAUSED",
        "  genesis   3      12.5                 yes",
        "  content   0                           no",
        "More: limit.",
    ]


def test_a_long_text_is_cut_in_a_table_and_has_one_line() -> None:
    [_, row] = workflow_view.table([{"what": "x", "why": "words\nand " * 30, "id": 1}])
    assert row == f"x     {('words and ' * 30)[: workflow_view.CELL - 1]}…  1"
