"""The check of a snapshot: integrity, row counts, manifest."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from sqlitekeeper import wording
from sqlitekeeper.backup.loss_alarm import LossAlarm
from sqlitekeeper.backup.model import CheckedSnapshot, StagedSnapshot
from sqlitekeeper.backup.result import Seconds
from sqlitekeeper.backup.snapshot import Staging
from sqlitekeeper.database.check import Checked, CheckKind, check_snapshot
from sqlitekeeper.destination.hold import on_hold
from sqlitekeeper.destination.manifest import Manifest, Versions, build_manifest, refuse_large
from sqlitekeeper.events import Level, Listener, Note, Tick, ignore

# The manifest and `--json` have all of them.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks snapshots in the staging folder, and says what their manifests have to say."""

    staging: Staging
    kind: CheckKind
    host: str
    versions: Versions
    loss_alarm: LossAlarm

    def check(self, staged: StagedSnapshot, on_event: Listener = ignore) -> CheckedSnapshot:
        """Check a snapshot where it is not at every destination already; make its manifests.

        Raises:
            CheckError: the snapshot is not sound.
            KeeperError: its manifest would be too large to be read again.
        """
        began = time.monotonic()
        # What every destination holds was checked before.
        fresh = None if staged.is_unchanged else self._manifest(staged, on_event)
        seconds = Seconds(round(staged.seconds, 3), round(time.monotonic() - began, 3))
        manifests: dict[str, Manifest] = {}
        for to, shipment in staged.held.items():
            if shipment:
                manifests[to] = self.loss_alarm.carried_on(to, shipment.manifest)
            elif fresh:
                lost = self.loss_alarm.lost_rows(to, fresh)
                manifests[to] = self.loss_alarm.on_hold(to, fresh, lost)
        # A loss of an earlier run too: only a person ends the alarm.
        holds = [manifest.hold for manifest in manifests.values() if manifest.hold]
        tables = {table: rows for hold in holds for table, rows in hold.tables.items()}
        alarm = on_hold(staged.name, tables) if holds else None
        return CheckedSnapshot(staged, manifests, seconds, alarm)

    def _manifest(self, staged: StagedSnapshot, on_event: Listener) -> Manifest:
        assert staged.source  # what was not read is unchanged
        checked = check_snapshot(
            self.staging.file_of(staged),
            staged.sha256,
            self.kind,
            lambda done: on_event(Tick(staged.name, "check", done, staged.bytes)),
        )
        on_event(Tick(staged.name, "check", 1, 1))
        manifest = build_manifest(
            staged.name,
            self.host,
            staged.taken_at,
            staged.source,
            staged.object,
            checked,
            self.versions,
        )
        refuse_large(manifest)
        self._report(staged, checked, on_event)
        return manifest

    def _report(self, staged: StagedSnapshot, checked: Checked, on_event: Listener) -> None:
        violations = checked.foreign_key_violations
        said = "not checked" if self.kind == "none" else f"{self.kind} ok"
        size = wording.size(staged.bytes)
        on_event(Note(staged.name, f"snapshot {size} in {staged.seconds:.1f} s, {said}"))
        if violations:
            counted = wording.counted(violations, "foreign-key violation")
            text = f"{counted} (see PRAGMA foreign_key_check)"
            on_event(Note(staged.name, text, Level.WARNING))
        elif violations is None:
            text = "foreign keys could not be checked: one refers to columns that are not unique"
            on_event(Note(staged.name, text, Level.WARNING))
        keys = ((to, staged.name) for to in staged.held)
        before = [self.loss_alarm.before[key] for key in keys if key in self.loss_alarm.before]
        _report_remarks(staged.name, checked, before, on_event)


def _report_remarks(
    name: str, checked: Checked, before: Iterable[Manifest], on_event: Listener
) -> None:
    """Tell what a check remarks, in full only what no manifest from `before` has."""
    known: set[str] = set()
    for manifest in before:
        known |= {*(manifest.remarks or ()), *manifest.unchecked}
    new = [remark for remark in checked.remarks if remark.text not in known]
    for remark in new[:_SHOWN]:
        text = f"{remark.text}: {remark.why}; no damage (keeper doctor says what mends it)"
        on_event(Note(name, text, Level.WARNING))
    if more := new[_SHOWN:]:
        text = f"{wording.counted(len(more), 'more remark')}, which the manifest lists"
        on_event(Note(name, text, Level.WARNING))
    for sentence in checked.unchecked:
        if sentence not in known:
            # What only the application has is no fault; anything else may be damage.
            level = Level.STEP if "no such" in sentence else Level.WARNING
            on_event(Note(name, sentence, level))
    if old := [text for text in checked.remarked if text in known]:
        on_event(Note(name, f"{wording.counted(len(old), 'remark')} as before, no damage"))
