"""What is uploaded of a snapshot: the plain file, a compressed one, or a delta.

Each destination gets what it can use: a delta where the base of the last one is whole and
known here too, a whole one elsewhere.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlitekeeper.backup.model import StagedSnapshot, StoredSnapshot
from sqlitekeeper.backup.snapshot import Staging
from sqlitekeeper.config.settings import Store
from sqlitekeeper.destination.base import UsableBase, usable_base
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import stored_object, token_of
from sqlitekeeper.destination.manifest import MAX_MANIFEST_BYTES, encode
from sqlitekeeper.destination.stored import Base
from sqlitekeeper.errors import CheckError, KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.state.bases import Bases
from sqlitekeeper.state.history import History
from sqlitekeeper.store.base import BaseFile
from sqlitekeeper.store.delta import Delta, make_delta
from sqlitekeeper.store.files import Stored
from sqlitekeeper.store.frames import compress
from sqlitekeeper.store.library import StoreError

# Of a database's destinations, what each is to get.
Encoded = Mapping[str, StoredSnapshot]
# A destination that was not shipped to for so long gets a whole one next time.
KEPT_FOR = timedelta(days=92)
# What else is in a manifest, beside pieces, seldom takes a hundredth of this.
MOST_PIECES_BYTES = MAX_MANIFEST_BYTES // 2


@dataclass(frozen=True, slots=True)
class Encoder:
    """Makes what is stored out of snapshots in the staging folder, beside them."""

    staging: Staging
    store: Store
    bases: Bases
    destinations: Sequence[Destination]
    on_event: Listener

    def encode(self, staged: StagedSnapshot) -> Encoded:
        """What every destination is to get that does not hold this content.

        Raises:
            CheckError: the snapshot is not what it was when it was taken.
            OSError: there is no room for it.
        """
        wanting = [one for one in self.destinations if not one.error and not staged.held[one.to]]
        if self.store == "plain":
            return {one.to: staged.plain for one in wanting}
        found: dict[str, StoredSnapshot] = {}
        for base, places in self._by_base(staged.name, wanting).items():
            found |= self._delta(staged, base, places)
        left = [one.to for one in wanting if one.to not in found]
        return found | (dict.fromkeys(left, self._whole(staged)) if left else {})

    def _whole(self, staged: StagedSnapshot) -> StoredSnapshot:
        key = stored_object(staged.object, "zstd")
        made = compress(self.staging.file_of(staged), self.staging.path_of(key))
        _refuse_changed(staged, made)
        return _stored(staged.name, key, "zstd", made)

    def _by_base(
        self, name: str, destinations: Iterable[Destination]
    ) -> dict[Base, list[tuple[Destination, UsableBase]]]:
        """Destinations, by the base that the next delta there is to have."""
        earlier = self.staging.earlier
        found: dict[Base, list[tuple[Destination, UsableBase]]] = defaultdict(list)
        if self.store != "delta" or earlier.force:
            return found
        for one in destinations:
            key = (one.to, name)
            if key in earlier.manifests and key not in earlier.overtaken:
                usable = usable_base(one, earlier.manifests[key], earlier.clock())
                if usable:
                    found[usable.base].append((one, usable))
        return found

    def _delta(
        self,
        staged: StagedSnapshot,
        base: Base,
        places: Sequence[tuple[Destination, UsableBase]],
    ) -> dict[str, StoredSnapshot]:
        """A delta for each place; none where there is no such base here, or it is not worth it."""
        key = stored_object(staged.object, "delta", token_of(base.object))
        files = [self.bases.path(base.object)]
        files += [Path(one.to) / base.object for one, _ in places if one.is_local]
        try:
            with _opened(files, base) as opened:
                if opened is None:
                    text = f"{base.object} is not at hand to make a delta of; shipping a whole one"
                    self.on_event(Note(staged.name, text))
                    return {}
                made = make_delta(self.staging.file_of(staged), opened, self.staging.path_of(key))
        except StoreError as error:
            text = f"{error.message}; shipping a whole snapshot"
            self.on_event(Note(staged.name, text, Level.WARNING))
            return {}
        if made is None or not (pieces := _pieces(made)):
            return {}
        _refuse_changed(staged, made)
        facts = {
            "base": base.object,
            "base_bytes": base.bytes,
            "base_sha256": base.sha256,
            "pieces": pieces,
        }
        return {
            one.to: _stored(
                staged.name,
                key,
                "delta",
                made,
                facts | {"delta_bytes": usable.delta_bytes + made.stored_bytes},
            )
            for one, usable in places
        }

    def leave_staging(self, staged: StagedSnapshot, encoded: Encoded) -> None:
        """Remove the files of a snapshot; what deltas will be made of stays in the state folder."""
        for to, one in encoded.items():
            if self.store == "delta" and one.encoding == "zstd" and not self._is_local(to):
                self._keep(one)
                break
        paths = {self.staging.path_of(one.object) for one in encoded.values()}
        for path in (self.staging.file_of(staged), *paths):
            path.unlink(missing_ok=True)

    def _is_local(self, to: str) -> bool:
        return any(one.to == to and one.is_local for one in self.destinations)

    def _keep(self, one: StoredSnapshot) -> None:
        try:
            self.bases.keep(self.staging.path_of(one.object), one.object)
        except (KeeperError, OSError) as error:
            text = f"the next snapshot is shipped whole: {as_keeper_error(error).full_text}"
            self.on_event(Note(one.name, text, Level.WARNING))

    def forget_bases(self, names: Sequence[str]) -> None:
        """Remove the bases of some databases that no next snapshot will be a delta of.

        What is needed are those of the newest snapshots at all destinations that this host
        ships to now and then: one base for each database, but for those that differ.
        """
        if not self.bases.folder.is_dir():
            return
        since = self.staging.earlier.clock() - KEPT_FOR
        try:
            needed = {
                base
                for one in History(self.bases.folder.parent).shipments(names).values()
                if one.manifest.confirmed_at and one.manifest.confirmed_at > since
                for base in (one.object, one.manifest.base_object)
            }
            for name in names:
                self.bases.forget(name, needed)
        except (KeeperError, OSError) as error:
            text = f"a base that is not needed stays: {as_keeper_error(error).full_text}"
            self.on_event(Note("", text, Level.WARNING))


@contextmanager
def _opened(files: Iterable[Path], base: Base) -> Iterator[BaseFile | None]:
    """The first of these files that is the base, and stays it while it is read."""
    for file in files:
        try:
            opened = BaseFile(file)
        except (OSError, StoreError):
            continue
        with opened:
            if opened.stored_bytes == base.bytes and opened.sha256() == base.sha256:
                yield opened
                return
    yield None


def _pieces(made: Delta) -> list[dict[str, Any]]:
    """The pieces as the manifest has them; none where they would be too many for it."""
    pieces = [piece.to_json() for piece in made.pieces]
    return pieces if len(encode({"snapshot": {"pieces": pieces}})) <= MOST_PIECES_BYTES else []


def _stored(
    name: str, key: str, encoding: str, made: Stored, facts: Mapping[str, Any] | None = None
) -> StoredSnapshot:
    said = {
        "object": key,
        "encoding": encoding,
        "stored_bytes": made.stored_bytes,
        "stored_sha256": made.stored_sha256,
        **(facts or {}),
    }
    return StoredSnapshot(name, key, made.stored_bytes, made.stored_sha256, said)


def _refuse_changed(staged: StagedSnapshot, made: Stored) -> None:
    if made.sha256 != staged.sha256:
        raise CheckError(f"{staged.object}: the snapshot in the staging folder was changed")
