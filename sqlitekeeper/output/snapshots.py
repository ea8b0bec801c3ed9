"""Snapshots, their age, and what pruning does to them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import counted, size, span, stored_text

if TYPE_CHECKING:
    from sqlitekeeper.destination.prune import PruneResult
    from sqlitekeeper.destination.snapshots import ListedSnapshot
    from sqlitekeeper.destination.status import StatusEntry


NEVER = "never"
NO_RULE = "no rule"


def show_status(console: Console, results: "Sequence[StatusEntry]") -> None:
    """How fresh everything is; by host where there are several."""
    fleet = any(r.host is not None for r in results)
    if console.is_terminal:
        console.table(
            (
                *(["host"] if fleet else []),
                *("database", "outcome", "age", "snapshot (UTC)", "confirmed", "proven", "size"),
            ),
            [(*([r.host or ""] if fleet else []), *_cells(r)) for r in results],
        )
    for r in results:
        if r.exit_code:
            continue
        name = f"{r.host}/{r.name}" if r.host else r.name
        if not console.is_terminal and r.age_seconds is not None:
            console.line(
                f"{name}: {r.outcome}, {span(r.age_seconds)} old, {size(r.bytes)},"
                f" snapshot {time_text(r.last_snapshot_at)},"
                f" confirmed {time_text(r.last_confirmed_at)}, proven {time_text(r.last_proven_at)}"
            )
        if r.reason:
            console.line(f"{name}: {r.reason}")


def _cells(r: "StatusEntry") -> tuple[str, ...]:
    return (
        r.name,
        r.outcome,
        "" if r.age_seconds is None else span(r.age_seconds),
        time_text(r.last_snapshot_at),
        time_text(r.last_confirmed_at),
        time_text(r.last_proven_at),
        size(r.bytes),
    )


def time_text(text: str | None) -> str:
    """A time in ISO 8601 UTC, to the minute."""
    return text[:16].replace("T", " ") if text else NEVER


def show_snapshots(
    console: Console, listed: "Sequence[ListedSnapshot]", places: Sequence[str], now: datetime
) -> None:
    """A table of snapshots, or a line for each."""
    if not listed:
        console.line(f"no snapshots at {', '.join(places)}")
    rows = [
        (
            one.database,
            f"{datetime.fromisoformat(one.taken_at):%Y-%m-%d %H:%M:%S}",
            _age(one, now),
            _bulk(one),
            ", ".join(one.kept_by) or NO_RULE,
            _proof(one),
            one.to,
        )
        for one in listed
    ]
    if console.is_terminal:
        headings = ("database", "taken (UTC)", "age", "size", "kept by", "proof", "destination")
        destinations = [to for to in places if any(one.to == to for one in listed)]
        if len(destinations) < 2:
            console.table(headings, rows)
            return
        # On a narrow terminal the column that tells them apart would be the first to go.
        for to in destinations:
            console.line(f"at {to}:")
            console.table(headings[:-1], [row[:-1] for row in rows if row[-1] == to])
        return
    for one, (name, _, age, bulk, why, proof, to) in zip(listed, rows, strict=True):
        facts = [one.object, one.taken_at, f"{age} old", bulk, f"kept by {why}", proof, f"at {to}"]
        console.line(f"{name}: {', '.join(filter(None, facts))}")


def _age(one: "ListedSnapshot", now: datetime) -> str:
    return span((now - datetime.fromisoformat(one.taken_at)).total_seconds())


def _bulk(one: "ListedSnapshot") -> str:
    """How large it is, and what is stored of it where that is not the plain file."""
    if not one.is_whole:
        return "delta, not whole"
    return stored_text(one.bytes, one.stored_bytes, one.encoding)


def _proof(one: "ListedSnapshot") -> str:
    if one.proof is None:
        return ""
    return f"{one.proof} {one.proof_at[:10]}" if one.proof_at else one.proof


def show_prune(console: Console, results: "Sequence[PruneResult]") -> None:
    """What went; or, of a dry run, what would go and why the rest stays."""
    for r in results:
        for path in r.would_delete:
            console.line(f"{r.name}: would delete {path}")
        if r.dry_run:
            for kept in r.kept:
                console.line(f"{r.name}: keeps {kept.object}: {', '.join(kept.kept_by)}")
        elif r.outcome == "done":
            went, left = counted(len(r.deleted), "object"), counted(len(r.kept), "snapshot")
            console.line(f"{r.name}: deleted {went}, {left} kept")
        console.remark(r)
