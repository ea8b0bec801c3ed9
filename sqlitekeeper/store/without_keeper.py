"""RESTORE.txt: how to get a database back with rclone, jq, zstd and a POSIX shell alone."""

# Whatever the store was: the manifest says how each snapshot is stored.
COMMANDS = r"""set -eu
to=b2:my-bucket/web1
manifest=production/production-20261124T030000Z.json

rclone copyto "$to/$manifest" manifest.json
field() { jq -r ".snapshot.$1" manifest.json; }
rclone copyto "$to/$(field object)" stored
rm -f restored.sqlite3
case $(field 'encoding // "plain"') in
plain) mv stored restored.sqlite3 ;;
zstd) zstd -dq stored -o restored.sqlite3 ;;
delta)
    rclone copyto "$to/$(field base)" base.zst
    zstd -dqf base.zst -o base
    at=1
    : > prefix
    field 'pieces[] | (.stretches[] | "stretch \(.[0]) \(.[1])"), "piece \(.stored_bytes)"' |
    while read -r what first second; do
        case $what in
        stretch)
            tail -c "+$((first + 1))" base | head -c "$second" >> prefix
            ;;
        piece)
            tail -c "+$at" stored | head -c "$first" > piece.zst
            zstd -dqc --patch-from=prefix piece.zst >> restored.sqlite3
            at=$((at + first))
            : > prefix
            ;;
        esac
    done
    ;;
esac
echo "$(field sha256)  restored.sqlite3" | sha256sum -c
"""
TEXT = """These are snapshots of SQLite databases, made by keeper.

With keeper:    keeper restore --from THIS_FOLDER --all --to FOLDER/
Without keeper: the commands below, in an empty folder, with rclone, jq and, for what is
compressed, zstd 1.4.5 or newer. `to` is this folder as rclone names it, `manifest` the
.json of the snapshot that you want, as `rclone lsf "$to/production"` lists them. The
last line tells whether restored.sqlite3 is what was backed up.

{commands}
A delta (.delta.zst) needs the whole snapshot (.sqlite3.zst) that its manifest names as
its base. Stop the application before you put the file in place, and move its -wal,
-shm and -journal away first.
"""


def restore_text() -> str:
    """The text of RESTORE.txt; its commands are indented."""
    lines = (f"    {line}" if line else "" for line in COMMANDS.splitlines())
    return TEXT.format(commands="\n".join(lines) + "\n")
