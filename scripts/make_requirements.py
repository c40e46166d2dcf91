"""Writes docs/requirements.md: what is required, by number, and the tests that show it.

The numbers stand in the names of the tests (``test_r099_…``), what they mean in docs/requirements.txt.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "requirements.md"
TEXTS = ROOT / "docs" / "requirements.txt"

HEAD = """\
# Requirements and their tests

<!-- Made from docs/requirements.txt and the names of the tests by `make docs`. -->

What the documents of the orchestrator ask of its commands (R-025 to R-040, R-079 to R-162), of the tools (R-163 to
R-199) and of workflows (R-200 to R-265), in short words, and the tests that show it. Where Crewyard differs from a
document, the test shows what was decided, and the command's page in [commands](commands/README.md) says so.

| Number | What | Tests |
| --- | --- | --- |
"""


def texts() -> dict[str, str]:
    return dict(line.split(" ", 1) for line in TEXTS.read_text(encoding="utf-8").splitlines())


def tests() -> dict[str, list[tuple[str, str]]]:
    """By number, the file and name of each test that bears it."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
                numbers := re.match(r"test((?:_r\d{3})+)_", node.name)
            ):
                for number in re.findall(r"r(\d{3})", numbers[1]):
                    found[f"R-{number}"].append((str(path.relative_to(ROOT)), node.name))
    return found


def document() -> str:
    known = tests()
    rows = []
    for number, text in texts().items():
        shown = "<br>".join(
            f"[`{name.removeprefix('test_')}`](../{path})" for path, name in sorted(known.get(number, ()))
        )
        rows.append(f"| {number} | {text} | {shown} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
