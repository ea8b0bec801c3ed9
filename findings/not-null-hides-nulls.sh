#!/usr/bin/env bash
# Old migrations leave NULL in columns that are declared NOT NULL (the schema was edited after the rows were
# there; integrity_check says "NULL value in t.x"). One would mend that with UPDATE ... WHERE x IS NULL. It
# changes nothing and says nothing: SQLite believes the declaration and takes the condition for false, in
# SELECT too. WHERE typeof(x) = 'null' sees the rows, and an update through it mends them.
# Seen with apsw 3.54.1.0 (SQLite 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check apsw==3.54.1.0

timeout 60 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import apsw

print(f"SQLite {apsw.sqlite_lib_version()}")
path = f"{sys.argv[1]}/app.db"
old = apsw.Connection(path)
old.execute("CREATE TABLE episodes (id INTEGER PRIMARY KEY, season INTEGER)")
old.execute("INSERT INTO episodes (season) VALUES (1), (NULL), (NULL)")
# As https://sqlite.org/lang_altertable.html says under "Making Other Kinds Of Table Schema Changes".
old.execute("PRAGMA writable_schema = 1")
old.execute(
    "UPDATE sqlite_schema SET sql = replace(sql, 'season INTEGER', 'season INTEGER NOT NULL')"
    " WHERE name = 'episodes'"
)
old.execute("PRAGMA writable_schema = 0")
old.close()

app = apsw.Connection(path)


def one(sql):
    return app.execute(sql).get


def changed_by(condition):
    before = app.total_changes()
    app.execute(f"UPDATE episodes SET season = 0 WHERE {condition}")
    return app.total_changes() - before


complaint = one("PRAGMA integrity_check(1)")
seen = one("SELECT count(*) FROM episodes WHERE season IS NULL")
by_null, by_type = changed_by("season IS NULL"), changed_by("typeof(season) = 'null'")
print(f"integrity_check: {complaint}; WHERE season IS NULL counts {seen} rows")
print(f"rows updated by IS NULL: {by_null}, by typeof(season) = 'null': {by_type}")
print(f"integrity_check now: {one('PRAGMA integrity_check(1)')}")
if (seen, by_null, by_type) != (0, 0, 2) or "NULL value" not in complaint:
    sys.exit("not as the head says: what the conditions see of the NULLs")
PYTHON
