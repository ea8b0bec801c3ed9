"""`keeper doctor`: what is wrong or risky here, each with its fix."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click

from sqlitekeeper.cli.destinations import make_rclone
from sqlitekeeper.cli.options import common_options, database_arguments
from sqlitekeeper.cli.session import Session
from sqlitekeeper.config import (
    Config,
    Database,
    refuse_claimed_names,
    refuse_indistinct_files,
    select_databases,
)
from sqlitekeeper.config.settings import COMMAND_LINE
from sqlitekeeper.doctor.configured_modes import judge_expected
from sqlitekeeper.doctor.database import DatabaseDiagnosis, diagnose_database, find_twins
from sqlitekeeper.doctor.destinations import diagnose_remotes
from sqlitekeeper.doctor.finding import BackupPlan, Finding
from sqlitekeeper.doctor.freshness import diagnose_freshness
from sqlitekeeper.doctor.host import diagnose_folder, diagnose_host, diagnose_same_disk
from sqlitekeeper.doctor.integrity import check_live, judge_remarks, remembered_remarks
from sqlitekeeper.errors import ConfigError, KeeperError
from sqlitekeeper.output.doctor import show_findings, total
from sqlitekeeper.output.json import print_object, results_object

HELP = """Say what is wrong or risky on this host and with these databases.

Each finding comes with the command or the line that mends it. Nothing is
changed, and nothing leaves this host without --remote. Ends with 1 when
something is wrong; warnings alone end with 0. What is in order shows with
--verbose.

\b
  keeper doctor
  keeper doctor --remote      also ask the destinations, one listing each
  keeper doctor --check       also read the databases: integrity_check, pointer map
"""


@click.command("doctor", help=HELP)
@database_arguments
@click.option("--remote", is_flag=True, help="Contact the destinations too.")
@click.option(
    "--check",
    is_flag=True,
    help="Run integrity_check on the live files too, in turns that keep nobody waiting.",
)
@common_options
def command(session: Session, names: tuple[str, ...], remote: bool, check: bool) -> int:
    """Look at the host, the databases and, if asked, the destinations."""
    config = session.config()
    databases = select_databases(config, names) if names or config.databases else ()
    now = datetime.now(UTC)
    diagnoses = [(database, _diagnose(database)) for database in databases]
    plan = backup_plan(config, diagnoses)
    findings = diagnose_host(plan)
    findings += [diagnose_folder(one.name, one.path) for one in config.files]
    for one, diagnosis in diagnoses:
        findings += diagnosis.findings
        if found := diagnosis.measured:
            modes = (one.journal_mode, one.auto_vacuum)
            findings += judge_expected(one.name, one.path, found, *modes)
            findings += _checked(config, one, check)
    findings += _indistinct_names(config)
    findings += find_twins((one.name, one.path) for one in databases)
    saved = {one.name: one.path for one in databases if one.name in plan.databases}
    findings += diagnose_same_disk(plan.to, saved)
    findings += diagnose_freshness(plan, saved, now)
    if remote:
        findings += _ask(session, config, plan, now)
    return _finish(session, findings)


def backup_plan(
    config: Config, diagnoses: Sequence[tuple[Database, DatabaseDiagnosis]]
) -> BackupPlan:
    """What the configuration says about backups, with the size of the largest snapshot."""
    sizes = [d.measured.live_bytes for one, d in diagnoses if one.backup and d.measured]
    return BackupPlan(
        file=config.file,
        to=config.backup.to,
        staging=config.backup.staging,
        state=config.state,
        rclone=config.rclone,
        rclone_args=config.backup.rclone_args,
        max_age_seconds=config.backup.max_age_seconds,
        timeout_seconds=config.backup.timeout_seconds,
        # A path of the command line is not backed up by what cron runs.
        databases=tuple(
            one.name
            for one, d in diagnoses
            if one.backup and one.origin != COMMAND_LINE and d.measured
        ),
        largest_bytes=max(sizes, default=0),
        files_to=tuple(one.to for one in config.files),
        store=config.backup.store,
    )


def _diagnose(database: Database) -> DatabaseDiagnosis:
    name, path = database.name, database.path
    if database.optional and not os.path.lexists(path):
        message = f"{path}: there is none, and it is optional"
        return DatabaseDiagnosis((Finding("ok", name, "open", message),))
    if database.unmatched:
        message = f"{path}: no file matches"
        fix = f"correct path at {database.origin}, or add: optional = true"
        return DatabaseDiagnosis((Finding("fail", name, "open", message, fix),))
    return diagnose_database(name, path)


def _checked(config: Config, database: Database, live: bool) -> list[Finding]:
    """What SQLite's checks say: of the live file if asked, else of the last snapshot."""
    if live:
        return check_live(config.state, database.name, database.path)
    texts = remembered_remarks(config.state, database.name, config.backup.to)
    return judge_remarks(database.name, database.path, texts)


def _indistinct_names(config: Config) -> list[Finding]:
    try:
        refuse_claimed_names(config, ())
        refuse_indistinct_files(config.files, config.backup.to)
    except ConfigError as error:
        return [Finding("fail", None, "names", error.message, error.hint)]
    return []


def _ask(session: Session, config: Config, plan: BackupPlan, now: datetime) -> list[Finding]:
    try:
        rclone = make_rclone(session, config)
    except KeeperError:
        return []  # the finding about rclone says why
    return list(diagnose_remotes(plan, rclone, now))


def _finish(session: Session, findings: Sequence[Finding]) -> int:
    session.console.close()
    failures = [one for one in findings if one.level == "fail"]
    code = 1 if failures else 0
    if session.json:
        listed = [asdict(one) for one in findings]
        more = {"findings": listed}
        print_object(results_object(session.command, [], code, total(findings), more))
    else:
        verbose = bool(click.get_current_context().params["verbose"])
        show_findings(session.console, findings, everything=verbose)
    if session.json or session.console.quiet:
        for one in failures:
            session.console.failure(one.database or "host", one.check, one.message)
    return code
