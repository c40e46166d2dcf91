"""The table of requirements is whole and true."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RANGES = (*range(25, 41), *range(79, 266))


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "make_requirements.py"))


def test_each_requirement_has_its_words_and_its_tests(made: dict[str, Any]) -> None:
    texts, tests = made["texts"](), made["tests"]()
    assert list(texts) == [f"R-{number:03}" for number in RANGES]
    assert [number for number in texts if not tests.get(number)] == []


def test_the_table_is_what_the_tests_say(made: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    assert text == made["document"](), "make docs"


def test_each_test_that_is_named_exists() -> None:
    text = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    named = re.findall(r"\[`(\w+)`\]\(\.\./([\w/.]+)\)", text)
    assert named
    for name, path in named:
        assert f"def test_{name}(" in (ROOT / path).read_text(encoding="utf-8"), name
