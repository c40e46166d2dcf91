"""How text is fitted to the room that there is for it, and how numbers are said."""


def cut(text: str, limit: int) -> str:
    """The text, or so much of its beginning that it has ``limit`` characters with the sign that it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def cut_inside(text: str, limit: int) -> str:
    """As ``cut``, but of an id whose end tells it from others: what is left out lies in the middle."""
    if len(text) <= limit:
        return text
    end = max(0, 2 * (limit - 1) // 3)
    return f"{text[: limit - 1 - end]}…{text[len(text) - end :]}"[:limit]


def last_lines(text: str, limit: int = 4000) -> str:
    """The end of the text, of at most ``limit`` characters, from the beginning of a line where one begins there."""
    if len(text) <= limit:
        return text
    end = text[-limit:]
    return end.partition("\n")[2] or end


def stopped(text: str) -> str:
    """The text as a sentence that another may follow."""
    text = text.rstrip()
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def sentence(text: str) -> str:
    """The text with a capital at its beginning and a stop at its end."""
    return stopped(f"{text[:1].upper()}{text[1:]}")


def plural(noun: str, number: int) -> str:
    """The noun as it stands behind that number."""
    if number == 1:
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def counted(number: int, noun: str) -> str:
    """``1 task``, ``2,000 tasks``."""
    return f"{number:,} {plural(noun, number)}"


def lasted(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
