"""What a drill changes at a destination: its marks, and a hold that it lifts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlitekeeper.backups.catalog import Mark
from sqlitekeeper.backups.destination import Destination
from sqlitekeeper.backups.loss import with_hold
from sqlitekeeper.backups.manifest import encode
from sqlitekeeper.backups.marks import KINDS, mark_text
from sqlitekeeper.backups.naming import mark_object
from sqlitekeeper.backups.papers import fetch_papers, store_papers
from sqlitekeeper.backups.rclone import Rclone, RemoteObject
from sqlitekeeper.backups.untrusted import parse_manifest
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Level, Listener, Note, ignore


@dataclass(frozen=True, slots=True)
class Marking:
    """What a drill found of a snapshot, and why it failed if it did."""

    object: str
    at: datetime
    outcome: Mark
    reason: str | None

    @property
    def path(self) -> str:
        """Where its mark belongs."""
        return mark_object(self.object, self.outcome)


def leave_marks(
    rclone: Rclone,
    destination: Destination,
    markings: Sequence[Marking],
    host: str,
    listen: Listener = ignore,
) -> list[Marking]:
    """Upload marks, in one rclone run, and delete what they contradict, in another.

    Returns those that the destination did not take; that, and what it does not
    delete, is told as a warning.
    """
    texts = {
        one.path: mark_text(one.object, one.at, one.outcome, host, one.reason) for one in markings
    }
    problems = store_papers(rclone, destination, texts)
    opposite = [
        path
        for one in markings
        if one.path not in problems
        for path in (mark_object(one.object, kind) for kind in KINDS if kind != one.outcome)
        if destination.has(path)
    ]
    error = rclone.delete(destination.to, opposite).error if opposite else None
    if error:
        text = f"{destination.to}: marks of earlier drills stay: {error.full_text}"
        listen(Note("", text, Level.WARNING))
    if problems:
        said = "; ".join(dict.fromkeys(problems.values()))
        text = f"{destination.to}: takes no marks, so only this host remembers the drill: {said}"
        listen(Note("", text, Level.WARNING))
    return [one for one in markings if one.path in problems]


def lift_hold(rclone: Rclone, destination: Destination, latest: RemoteObject) -> None:
    """Let a database be pruned again: rewrite its latest.json, as it is now, without the hold.

    Raises:
        KeeperError: it could not be read, or not be written.
    """
    contents = fetch_papers(rclone, destination.to, [latest])
    manifest = parse_manifest(contents.get(latest.path, b""), f"{destination.to}/{latest.path}")
    text = encode(with_hold(manifest.raw, None))
    if problem := store_papers(rclone, destination, {latest.path: text}).get(latest.path):
        raise KeeperError(problem)
