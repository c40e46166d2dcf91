"""The processes that wait for a dispatch. While another one lives, an interrupted run leaves the agents to it."""

from .store import Transaction


def add(tx: Transaction, dispatch_id: str, who: tuple[int, str, str], *, now: str) -> None:
    """Note that the process ``who`` (pid, start time, boot id) waits for the dispatch to end."""
    tx.run("INSERT OR REPLACE INTO dispatch_watcher VALUES (?, ?, ?, ?, ?)", (dispatch_id, *who, now))


def remove(tx: Transaction, dispatch_id: str, who: tuple[int, str, str]) -> None:
    tx.run(
        "DELETE FROM dispatch_watcher WHERE dispatch_id = ? AND pid = ? AND start_time = ? AND boot_id = ?",
        (dispatch_id, *who),
    )


def of(tx: Transaction, dispatch_id: str) -> list[tuple[int, str, str]]:
    """The processes that are noted as waiting; some may have died without a word."""
    rows = tx.all("SELECT pid, start_time, boot_id FROM dispatch_watcher WHERE dispatch_id = ?", (dispatch_id,))
    return [(row["pid"], row["start_time"], row["boot_id"]) for row in rows]
