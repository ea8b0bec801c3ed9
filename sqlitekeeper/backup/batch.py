"""The way of a batch: uploaded and read back while it is proven, then announced.

What fails its check was uploaded for nothing and is deleted again; until then
it is an object without a manifest, which nobody takes for a snapshot.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime

from sqlitekeeper.backup.model import Delivered, Errors, Finished, Staged, Taken
from sqlitekeeper.backup.publish import failed
from sqlitekeeper.backup.result import BackupResult, Outcome, Seconds, Shipped
from sqlitekeeper.backup.snapshot import Stage
from sqlitekeeper.backup.upload import Shipper
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.manifest import timestamp
from sqlitekeeper.errors import CheckError, KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note, Tick
from sqlitekeeper.workers import Place, WorkerPool, given, result_of


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Brings batches from the staging folder to the destinations.

    One `prover` checks all batches: the cache of a check would stay with each
    thread that ever made one. What was uploaded is read back by one of the `readers`
    meanwhile, each of which has its destination: one that hangs holds up no other.
    """

    stage: Stage
    shipper: Shipper
    clock: Callable[[], datetime]
    on_event: Listener
    prover: WorkerPool
    readers: Mapping[str, WorkerPool]

    def deliver(self, batch: list[Taken], place: Place) -> Delivered:
        """Upload a batch while it is proven, and finish it at all destinations but the last.

        It begins when its `place` is reached, and leaves it when the last destination has
        been sent everything: what that does with it takes a while, and the next batch may
        be sent meanwhile. Nothing of the batch stays in the staging folder.
        """
        errors: Errors = {}
        proving = self.prover.submit(self._prove, batch)
        place.wait()
        began = time.monotonic()
        destination, *others = self.stage.destinations
        confirming = self._upload(destination, batch, errors, None if others else place.leave)
        uploaded = time.monotonic()
        proven = result_of(proving)
        waited = time.monotonic() - uploaded
        delivered = Delivered(
            batch, proven, errors, timestamp(self.clock()), destination, confirming, 0.0
        )
        for other in others:
            # Finished first: the next may be slow, or hang, or be what the run ends with.
            self._complete([delivered], errors)
            sent = place.leave if other is others[-1] else None
            sound = [one.taken for one in delivered.staged]
            confirming = self._upload(other, sound, errors, sent)
            delivered = replace(delivered, last=other, confirming=confirming)
            for taken in delivered.unsound:
                errors[other.to, taken.name] = "failed its check, so it was not uploaded"
        for taken in batch:
            self.stage.file_of(taken).unlink(missing_ok=True)
        return replace(delivered, seconds=time.monotonic() - began - waited)

    def announce(self, batches: Sequence[Delivered]) -> list[Finished]:
        """Finish batches at the last of their destinations; what has come of them."""
        began = time.monotonic()
        errors: Errors = {}
        for delivered in batches:
            errors |= delivered.errors
        self._complete(batches, errors)
        seconds = time.monotonic() - began
        return [
            self._finished(delivered, taken, one, errors, delivered.seconds + seconds)
            for delivered in batches
            for taken, one in zip(delivered.batch, delivered.proven, strict=True)
        ]

    def _finished(
        self,
        delivered: Delivered,
        taken: Taken,
        one: Staged | KeeperError,
        errors: Errors,
        seconds: float,
    ) -> Finished:
        if isinstance(one, KeeperError):
            result = failed(taken.name, taken.path, one)
            return Finished(taken, result, {}, delivered.confirmed_at)
        confirmed = {
            to: parcel for to, parcel in one.parcels.items() if (to, taken.name) not in errors
        }
        result = self._result(one, errors, seconds)
        return Finished(taken, result, confirmed, delivered.confirmed_at)

    def _prove(self, batch: list[Taken]) -> list[Staged | KeeperError]:
        proven: list[Staged | KeeperError] = []
        for taken in batch:
            try:
                proven.append(self.stage.prove(taken, self.on_event))
            except (KeeperError, OSError) as error:
                proven.append(as_keeper_error(error))
        return proven

    def _upload(
        self,
        destination: Destination,
        batch: list[Taken],
        errors: Errors,
        sent: Callable[[], None] | None,
    ) -> Future[dict[str, str]]:
        """Upload a batch, and have it read back; what comes of that is the future's.

        `sent` is called when rclone has read all of it, or has ended.
        """
        if destination.error:
            # Why is told once, at the start of the run.
            text = f"{destination.to} could not be listed, so nothing was shipped there"
            errors |= {(destination.to, taken.name): text for taken in batch}
            return given({})
        uploads = [taken.upload for taken in batch if not taken.held[destination.to]]
        total = sum(upload.bytes for upload in uploads)
        # Two batches may be on their way at once, each with a line of its own.
        about = uploads[0].database if uploads else ""
        if len(uploads) > 1:
            about += f" and {len(uploads) - 1} more"

        def progress(done: int) -> None:
            self.on_event(Tick(about, "upload", done, total))
            if sent and done >= total:
                sent()

        problems = self.shipper.upload(destination, uploads, progress)
        if sent:
            sent()
        errors |= {(destination.to, name): text for name, text in problems.items()}
        arrived = [upload for upload in uploads if upload.database not in problems]
        reader = self.readers[destination.to]
        return reader.submit(self.shipper.confirm, destination, arrived)

    def _complete(self, batches: Sequence[Delivered], errors: Errors) -> None:
        """Take back what is not sound, and write the manifests of what has arrived."""
        destination = batches[0].last
        unsound = [taken for delivered in batches for taken in delivered.unsound]
        # Those go whatever has arrived of them.
        going = {taken.name for taken in unsound}
        for delivered in batches:
            problems = result_of(delivered.confirming)
            errors |= {(destination.to, n): text for n, text in problems.items() if n not in going}
        self._withdraw(destination, unsound, errors)
        parcels = [
            (one.parcels[destination.to], delivered.confirmed_at)
            for delivered in batches
            for one in delivered.staged
            if (destination.to, one.taken.name) not in errors
        ]
        problems = self.shipper.announce(destination, parcels)
        errors |= {(destination.to, name): text for name, text in problems.items()}

    def _withdraw(self, destination: Destination, batch: list[Taken], errors: Errors) -> None:
        unsound = [
            taken.object
            for taken in batch
            if not taken.held[destination.to] and (destination.to, taken.name) not in errors
        ]
        if problem := self.shipper.withdraw(destination, unsound):
            text = f"{', '.join(unsound)} failed its check and could not be deleted: {problem}"
            text += f"; without a manifest it is not taken for a snapshot at {destination.to}"
            self.on_event(Note("", text, Level.WARNING))

    def _result(self, one: Staged, errors: Errors, ship_seconds: float) -> BackupResult:
        """One database's result, told as a log line too."""
        taken, name = one.taken, one.taken.name
        shipped = []
        for to, parcel in one.parcels.items():
            failed = (to, name) in errors
            outcome: Outcome = "failed" if failed else "uploaded" if parcel.upload else "unchanged"
            shipped.append(Shipped(to, None if failed else parcel.object, outcome, parcel.bytes))
            if outcome == "uploaded":
                text = f"shipped to {to} as {parcel.object} in {ship_seconds:.1f} s"
                self.on_event(Note(name, text))
            elif outcome == "unchanged":
                text = f"unchanged, {to} holds it as {parcel.object}"
                self.on_event(Note(name, text))
        problems = [errors[key] for key in errors if key[1] == name]
        reasons = [*problems, one.alarm] if one.alarm else problems
        checks = one.manifest["checks"]
        return BackupResult(
            name,
            taken.path,
            "failed" if problems else "unchanged" if taken.unchanged else "shipped",
            "; ".join(dict.fromkeys(reasons)) or None,
            bytes=taken.bytes,
            sha256=taken.sha256,
            check="none" if checks["kind"] == "none" else "ok",
            foreign_key_violations=checks["foreign_key_violations"],
            tables=one.manifest["tables"],
            shipped=tuple(shipped),
            seconds=Seconds(one.seconds.snapshot, one.seconds.check, round(ship_seconds, 3)),
            exit_code=CheckError.exit_code if one.alarm else 1 if problems else 0,
        )
