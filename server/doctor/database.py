"""The database, and who acts on it."""

from collections.abc import Iterator

from .. import clock, daemon, failed_starts, holds, lease, locating, log_ins, process, store
from ..errors import StoreError
from ..process import Identity
from ..store import Transaction
from .patient import SHOWN, Finding, Patient, fine, problem, warning


def database(patient: Patient) -> Iterator[Finding]:
    path = patient.data.database
    if not path.exists():
        yield fine("There is none yet; `crewyard run PLAN` makes it")
        return
    try:
        health = store.health(path)
    except StoreError as error:
        yield problem(error.message, error.hint)
        return
    metrics = path.with_name("metrics.db")
    if not metrics.exists():
        yield warning(
            f"{metrics} is gone, and with it what was measured of the machine and of agents.",
            "The next `crewyard start` or `run` makes a new one; put a backup in its place before, if you have one.",
        )
    if health.damage:
        shown = "; ".join(health.damage[:SHOWN])
        yield problem(
            f"{path} is damaged: {shown}", "`crewyard stop`, then put a backup in its place, or move the file away."
        )
    elif health.version > health.known:
        yield problem(
            f"{path} was written by a newer Crewyard (schema {health.version}, this one knows {health.known}).",
            "Upgrade Crewyard.",
        )
    elif health.version < health.known:
        yield warning(
            f"{path} is of schema {health.version}; this version works with {health.known}.",
            "The next `crewyard start` or `run` brings it up to date, after a backup.",
        )
    else:
        yield fine(f"schema {health.version}, whole, every reference leads somewhere")


def supervision(patient: Patient) -> Iterator[Finding]:
    present = daemon.running(patient.data)
    if present is not None:
        yield fine(f"the daemon runs: process {present.pid}, {present.url}")
        root = patient.root
        if root is not None and present.configuration not in ("", locating.fingerprint(root)):
            yield warning(
                "The daemon goes on with the settings that it started with; the file has changed since.",
                "`crewyard stop`, then `crewyard start` takes it in.",
            )
    if patient.store is None:
        return
    holder, work = patient.store.read(_holder)
    if holder is not None and process.is_alive(holder):
        yield fine(f"process {holder.pid} supervises")
    elif work:
        yield warning(
            f"Nobody supervises, and {work} {'dispatch is' if work == 1 else 'dispatches are'} at work.",
            "`crewyard start` or `crewyard run PLAN` goes on.",
        )
    else:
        yield fine("nobody supervises, and there is nothing to supervise")


def launches(patient: Patient) -> Iterator[Finding]:
    """Types of agents that failed to start, or were not logged in, when they were last tried."""
    held = [] if patient.store is None else patient.store.read(holds.listed)
    failing = [row for row in held if row["reason"] in (failed_starts.REASON, log_ins.REASON)]
    for row in failing:
        tried = clock.local_time(row["until"])
        yield problem(
            f"No agent of type {row['scope']} is started: {row['message']}.",
            f"Mend it; one is tried at {tried}, or at once with `crewyard run` or `start`.",
        )
    if not failing:
        yield fine("no type of agent failed to start when it was last tried")


def _holder(tx: Transaction) -> tuple[Identity | None, int]:
    row = lease.current(tx)
    held = row is not None and lease.is_held(row, uptime=clock.uptime())
    work = int(tx.value("SELECT count(*) FROM dispatch WHERE status = 'active'"))
    return (Identity(row["pid"], row["start_time"], row["boot_id"]) if row is not None and held else None), work
