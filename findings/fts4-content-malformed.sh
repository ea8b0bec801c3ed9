#!/usr/bin/env bash
# integrity_check is taken to speak of damage only. `enable_fts(fts_version="FTS4")` of sqlite-utils
# makes an index that takes its text from the table and, without triggers, lags behind as soon as a row
# is added. SQLite 3.43 calls such a database ok; 3.54 says "malformed inverted index for FTS4 table",
# though each page is sound and rebuild_fts() settles it. A backup that refuses whatever integrity_check
# complains of stops backing up on the day that SQLite is upgraded, for a search index that was behind.
# Seen with sqlite-utils 4.2.1, apsw 3.43.2.0 and 3.54.1.0 (SQLite 3.43.2 and 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for apsw in 3.43.2.0 3.54.1.0; do
    python3 -m venv "$folder/$apsw"
    "$folder/$apsw/bin/pip" install -q --disable-pip-version-check "apsw==$apsw"
done
"$folder/3.54.1.0/bin/pip" install -q --disable-pip-version-check sqlite-utils==4.2.1

change() {
    timeout 60 "$folder/3.54.1.0/bin/python" - "$folder/app.db" <<PYTHON
import sys
import sqlite_utils
database = sqlite_utils.Database(sys.argv[1])
notes = database["notes"]
$1
database.conn.commit()
PYTHON
}

check() {
    echo "$1"
    for apsw in 3.43.2.0 3.54.1.0; do
        timeout 60 "$folder/$apsw/bin/python" - "$folder/app.db" "$folder/$apsw.said" <<'PYTHON'
import pathlib
import sys
import apsw
connection = apsw.Connection(sys.argv[1], flags=apsw.SQLITE_OPEN_READONLY)
(said,), = connection.execute("PRAGMA integrity_check").fetchall()
print(f"  SQLite {apsw.sqlite_lib_version()}: {said}")
pathlib.Path(sys.argv[2]).write_text(said)
PYTHON
    done
    seen="${seen:-}$(cut -c 1-9 "$folder/3.43.2.0.said")|$(cut -c 1-9 "$folder/3.54.1.0.said") "
}

"$folder/3.54.1.0/bin/sqlite-utils" --version
change 'notes.insert({"id": 1, "body": "first"}, pk="id"); notes.enable_fts(["body"], fts_version="FTS4")'
check "index just made:"
change 'notes.insert({"id": 2, "body": "second"})'
check "a row added since:"
change 'notes.rebuild_fts()'
check "after rebuild_fts():"

if [ "$seen" != "ok|ok ok|malformed ok|ok " ]; then
    echo "not as the head says: $seen" >&2
    exit 1
fi
