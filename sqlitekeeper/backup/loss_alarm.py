"""The loss alarm: a sound snapshot of a database that has lost what it is for.

Row counts are compared with those of the snapshot before. After an alarm the
database is on hold: the snapshots from before the loss stay, until a person
says that all is well. The hold is written into the manifests, so that it
outlives this host.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlitekeeper.destination.hold import Hold, LostRows
from sqlitekeeper.destination.manifest import Manifest, timestamp

# Smaller tables come and go.
LEAST_ROWS = 100


def lost_rows(
    before: Mapping[str, int],
    after: Mapping[str, int],
    share: float,
    ignored: Collection[str] = (),
) -> dict[str, tuple[int, int]]:
    """The tables that lost too much, with their rows before and after.

    Too much is all of a table that had rows and is gone, or more than `share`
    of its rows and at least LEAST_ROWS. A share of 0 finds nothing.
    """
    if not share:
        return {}
    found = {}
    for table, rows in before.items():
        lost = rows - after.get(table, 0)
        gone = table not in after and rows > 0
        if table not in ignored and (gone or (lost >= LEAST_ROWS and lost > share * rows)):
            found[table] = (rows, rows - lost)
    return found


@dataclass(frozen=True, slots=True)
class LossAlarm:
    """Compares new snapshots with what each destination had of a database before.

    `before` holds manifests by destination and database; the losses of the
    `accepted` databases are no loss, and their holds are over.
    """

    share: float = 0.5
    accepted: frozenset[str] = frozenset()
    before: Mapping[tuple[str, str], Manifest] = field(default_factory=dict)

    def lost_rows(self, to: str, manifest: Manifest) -> LostRows:
        """What a database has lost since the newest snapshot that a destination had of it."""
        before = self.before.get((to, manifest.database))
        if before is None or manifest.database in self.accepted:
            return {}
        shadows = _shadow_tables(before) | _shadow_tables(manifest)
        return lost_rows(before.tables, manifest.tables, self.share, shadows)

    def on_hold(self, to: str, manifest: Manifest, lost: LostRows) -> Manifest:
        """The manifest of a new snapshot, on hold as before or for what was lost now."""
        hold = self._hold_before(to, manifest.database)
        if lost:
            known = dict(hold.tables) if hold else {}
            now = {table: (known.get(table, rows)[0], rows[1]) for table, rows in lost.items()}
            hold = Hold(hold.since if hold else timestamp(manifest.taken_at), known | now)
        return manifest.with_hold(hold)

    def carried_on(self, to: str, manifest: Manifest) -> Manifest:
        """The manifest of what has not changed, on hold if it was before."""
        return self.on_hold(to, manifest, {})

    def _hold_before(self, to: str, database: str) -> Hold | None:
        """The hold that a database was under before, unless it is accepted now."""
        if database in self.accepted:
            return None
        before = self.before.get((to, database))
        return before.hold if before else None


def _shadow_tables(manifest: Manifest) -> frozenset[str]:
    """The tables whose rows are no one's data: an FTS index shrinks when it is optimised."""
    return frozenset(name for name in manifest.shadow_tables if not name.endswith("_content"))
