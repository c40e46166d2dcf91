"""The fenced blocks of the documents, and which of them a reader can run as they stand."""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
SHELL = "sh"
# What stands behind `sh` of a block that no test can run as it stands, and what it needs.
NOT_RUN = {
    "needs-account": "a log-in at a provider of models",
    "needs-client": "a client's or an agent's program, without an account",
    "needs-network": "a registry of packages, or another machine",
}
# Runs until Ctrl-C: each line on a terminal of its own.
ENDLESS = "endless"
# Behind `text`: what the block above it prints, with … for what differs from time to time.
OUTPUT = "output"


@dataclass(frozen=True)
class Block:
    """One fenced block. ``line`` is that of its fence; ``marks`` are the words behind the language."""

    page: Path
    line: int
    language: str
    marks: tuple[str, ...]
    text: str

    @property
    def is_run(self) -> bool:
        return self.language == SHELL and not set(self.marks) & set(NOT_RUN)

    @property
    def file(self) -> str:
        """What the reader is to write the block into, where its fence says so (```markdown PLAN.md)."""
        return next((word for word in self.marks if "." in word), "")

    @property
    def where(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def lines(self) -> list[str]:
        """The commands, one a line, without what is said beside them."""
        said = (re.sub(r"(^|\s)#.*", "", line).strip() for line in self.text.splitlines())
        return [line for line in said if line]


def blocks(page: Path) -> list[Block]:
    """All of a page, in their order; those that are set off by blanks as well, without a language."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    found = []
    for token in tokens:
        if token.type in ("fence", "code_block"):
            language, *marks = token.info.split() or [""]
            found.append(Block(page, (token.map or [0])[0] + 1, language, tuple(marks), token.content))
    return found


def spans(page: Path) -> list[str]:
    """The pieces of code within sentences and tables."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    return [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]


def headings(page: Path) -> list[str]:
    """The anchors of a page's headings, as the hosts of repositories make them."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    titles = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
