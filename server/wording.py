"""How text is fitted to the room that there is for it."""


def cut(text: str, limit: int) -> str:
    """The text, or so much of its beginning that it has ``limit`` characters with the sign that it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
