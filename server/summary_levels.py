"""How much of an activity summary is shown (R-154). Pure."""

from collections.abc import Mapping
from typing import Any, Literal

Level = Literal["summary", "detailed", "comprehensive"]
ROWS: dict[Level, int] = {"summary": 8, "detailed": 50, "comprehensive": 1_000_000}


def at_level(figures: Mapping[str, Any], level: Level) -> dict[str, Any]:
    """With lists as long as the level has them."""
    if level == "summary":
        path = {"seconds": figures["critical_path"]["seconds"]}
        return {key: value for key, value in figures.items() if key not in ("tasks", "timeline")} | {
            "critical_path": path
        }
    shown: dict[str, Any] = shortened(figures, ROWS[level])
    return shown


def shortened(value: Any, length: int) -> Any:
    """With lists of at most that many items."""
    if isinstance(value, dict):
        return {key: shortened(each, length) for key, each in value.items()}
    return [shortened(each, length) for each in value[:length]] if isinstance(value, list) else value


def core(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What has one size whatever was recorded."""
    return {key: figures[key] for key in ("range", "summary", "performance", "time_seconds", "usage", "resources")}
