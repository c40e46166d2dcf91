"""Alarms as they are listed, those that stand and those that are over (R-223)."""

import json
from typing import Any

from .. import clock
from ..store import Row, Transaction
from ..wording import cut

LONGEST = 400
MOST = 200


def ended(tx: Transaction, since: str) -> list[Row]:
    """The youngest first."""
    return tx.all("SELECT * FROM workflow_alert WHERE ended_at >= ? ORDER BY ended_at DESC LIMIT ?", (since, MOST))


def told(row: Row) -> dict[str, Any]:
    shown = {key: row[key] for key in ("kind", "subject", "level", "begun_at")} | {"cause": cut(row["cause"], LONGEST)}
    if row["ended_at"] is not None:
        lasted = round(clock.seconds_between(row["begun_at"], row["ended_at"]))
        shown |= {"ended_at": row["ended_at"], "lasted_seconds": lasted}
    facts = json.loads(row["facts"])
    return shown | ({"facts": facts} if facts and len(row["facts"]) <= LONGEST else {})
