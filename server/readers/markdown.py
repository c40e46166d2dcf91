"""A plan in Markdown: a heading is a task, field lines below it say the rest (contract 6).

markdown-it-py tells which lines are headings, paragraphs and list items; fences, quotes and HTML are neither. Only
those lines are looked at, and whatever is no field stays in the description, in its own words.
"""

import re
from dataclasses import dataclass, field, replace

from markdown_it import MarkdownIt
from markdown_it.token import Token

from .draft import PlanDraft, TaskDraft
from .fields import one_line
from .headings import BOX, Resolver, slug, split
from .markdown_fields import LISTS, agent, check, field_of, hours, priority, split_list
from .notes import Notes

FORMAT = "markdown"
_BLOCKS = MarkdownIt("commonmark")
_BLOCKS.core.ruler.enableOnly(["normalize", "block"])
_INLINE = MarkdownIt("commonmark")


@dataclass
class _Section:
    """A heading and the lines up to the next one. ``first`` and ``last`` (exclusive) are line indexes."""

    title: str
    level: int
    line: int
    first: int
    last: int = 0
    values: dict[str, list[str]] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)

    def text(self, lines: list[str]) -> str:
        """What is left of the section when its fields are taken out."""
        kept = [lines[index] for index in range(self.first, self.last) if index not in self.taken]
        return "\n".join(kept).strip("\n").rstrip()


def read(text: str, notes: Notes) -> PlanDraft:
    """A plan from Markdown. Notes what is wrong."""
    lines = text.split("\n")
    _blank_front_matter(lines, notes)
    sections = _sections(lines)
    if sections and "\n".join(lines[: sections[0].line - 1]).strip():
        notes.warn("text above the first heading belongs to no task and is left out")
    if _is_title(sections):
        title = sections.pop(0)
        if title.text(lines):
            notes.warn(f"text below the plan's title belongs to no task and is left out (line {title.first + 1})")
    drafts = [_draft(section, lines, notes) for section in sections]
    ids = Resolver(drafts).ids
    tasks = tuple(
        replace(draft, depends_on=ids(draft.depends_on), soft_depends_on=ids(draft.soft_depends_on)) for draft in drafts
    )
    return PlanDraft(tasks, format=FORMAT, name=notes.name)


def _blank_front_matter(lines: list[str], notes: Notes) -> None:
    # Markdown itself would read it as a heading underlined by `---`.
    if lines[0].rstrip() != "---":
        return
    end = next((index for index in range(1, len(lines)) if lines[index].rstrip() in ("---", "...")), None)
    if end is not None and all(re.match(r"[\w\"'-]+\s*:|\s|#|-|$", line) for line in lines[1:end]):
        lines[: end + 1] = [""] * (end + 1)
        notes.warn("the front matter has no place here and is left out")


def _sections(lines: list[str]) -> list[_Section]:
    tokens = _BLOCKS.parse("\n".join(lines))
    sections: list[_Section] = []
    quotes = 0
    for index, token in enumerate(tokens):
        quotes += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
        if token.type == "heading_open" and token.level == 0 and not _is_underlined_field(token, lines):
            first, last = token.map or [0, 0]
            sections.append(_Section(_plain(tokens[index + 1].content), int(token.tag[1]), first + 1, last))
            if len(sections) > 1:
                sections[-2].last = first
        elif token.type in ("paragraph_open", "heading_open") and not quotes and sections:
            _take_fields(sections[-1], token, lines)
    if sections:
        sections[-1].last = len(lines)
    return sections


def _is_underlined_field(heading: Token, lines: list[str]) -> bool:
    """A rule right below field lines makes a heading of them, which nobody meant."""
    first, last = heading.map or [0, 0]
    return heading.markup in ("-", "=") and any(field_of(line) for line in lines[first : last - 1])


def _take_fields(section: _Section, token: Token, lines: list[str]) -> None:
    first, last = token.map or [0, 0]
    for index in range(first, last):
        found = field_of(lines[index]) if index not in section.taken else None
        if found is None or (found[0] not in LISTS and found[0] in section.values):
            continue
        key, value = found
        section.taken.add(index)
        values = [value]
        if not value and key in LISTS:
            values = _nested_items(section, lines, index)
        section.values.setdefault(key, []).extend(values)


def _nested_items(section: _Section, lines: list[str], index: int) -> list[str]:
    """The list items below an empty list field; they are taken with it."""
    items: list[str] = []
    depth = len(lines[index]) - len(lines[index].lstrip())
    is_item = lines[index].lstrip()[:1] in "-*+"
    for below in range(index + 1, len(lines)):
        if not lines[below].strip() and not items and not is_item:
            continue
        found = re.fullmatch(r"(\s*)[-*+]\s+(.*)", lines[below])
        if not found or field_of(lines[below]) or (is_item and len(found[1]) <= depth):
            break
        section.taken.add(below)
        items.append(found[2].strip())
    return items


def _plain(inline: str) -> str:
    """A heading's text without its markup."""
    children = _INLINE.parseInline(inline)[0].children or []
    return one_line("".join(" " if child.type.endswith("break") else child.content for child in children))


def _is_title(sections: list[_Section]) -> bool:
    """Whether the first heading names the plan: the only one of level 1, without fields, and nobody waits for it."""
    if len(sections) < 2 or sections[0].values or any(section.level == 1 for section in sections[1:]):
        return False
    named = {
        slug(each)
        for section in sections
        for value in section.values.get("depends on", ())
        for each in split_list(value)
    }
    return sections[0].level == 1 and not named & {slug(sections[0].title), slug(split(sections[0].title)[0])}


def _draft(section: _Section, lines: list[str], notes: Notes) -> TaskDraft:
    title, is_done = section.title, False
    if box := BOX.fullmatch(title):
        title, is_done = box[2], box[1] != " "
    task_id, title = split(title)
    where = f"line {section.line}"
    description = section.text(lines)
    if not description and not section.values:
        notes.warn("a heading with nothing below it is a task like every other", where)
    return TaskDraft(
        task_id,
        title,
        description=description,
        priority=priority(section.values, where, notes),
        estimated_hours=hours(section.values, where, notes),
        depends_on=tuple(section.values.get("depends on", ())),
        soft_depends_on=tuple(section.values.get("soft depends on", ())),
        files=tuple(dict.fromkeys(each for value in section.values.get("files", ()) for each in split_list(value))),
        agent_type=agent(section.values, where, notes),
        check=check(section.values, where, notes),
        status="completed" if is_done else "pending",
        source=where,
    )
