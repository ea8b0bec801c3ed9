#!/usr/bin/env bash
# Backups are often listed with an age in words, by humanize. One would expect "a day ago" to be about
# 24 hours and "a month ago" about 30 days. "a day ago" covers 23.5 to nearly 48 hours, so a list of
# daily backups looks right when the last night's is missing; "a month ago" is said from 16 to 45 days,
# right after "15 days ago". Two backups four weeks apart can read the same. For choosing what to
# restore, and for "is the newest backup recent enough?", show the time itself or count in one unit.
# Seen with humanize 4.17.0.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check humanize==4.17.0

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import sys
from datetime import timedelta

import humanize

print(f"humanize {humanize.__version__}")
EXPECTED = {
    timedelta(hours=23): "23 hours ago",
    timedelta(hours=23, minutes=30): "a day ago",
    timedelta(hours=47, minutes=59): "a day ago",
    timedelta(hours=48): "2 days ago",
    timedelta(days=15): "15 days ago",
    timedelta(days=16): "a month ago",
    timedelta(days=45): "a month ago",
    timedelta(days=46): "2 months ago",
}
found = {age: humanize.naturaltime(age) for age in EXPECTED}
for age, said in found.items():
    print(f"{age!s:>18} -> {said}")
if found != EXPECTED:
    sys.exit("not as the head says: humanize has other bounds")
PYTHON
