"""How snapshots look, and what pruning does to them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import counted, size

if TYPE_CHECKING:
    from sqlitekeeper.backups.listing import ListedSnapshot
    from sqlitekeeper.backups.results import PruneResult

NO_RULE = "no rule"


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
            size(one.bytes),
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
    import humanize  # late, as in wording

    return humanize.naturaldelta(now - datetime.fromisoformat(one.taken_at))


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
        if r.reason and not r.exit_code:
            console.line(f"{r.name}: {r.reason}")
