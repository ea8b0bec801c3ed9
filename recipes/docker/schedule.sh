#!/bin/sh
# keeper's schedule where there is no cron: a backup at the start and in the hour
# KEEPER_BACKUP_HOUR (UTC), a vacuum at 17 minutes past every hour. What fails says
# so and is tried again at its next time.
set -u

backup_hour=${KEEPER_BACKUP_HOUR:-3}
child=

stop() {
    trap - TERM INT
    if [ -n "$child" ]; then
        kill -TERM "$child" 2>/dev/null
        wait "$child"
    fi
    exit 143
}
trap stop TERM INT

# In the background, so that a signal is heard at once and handed on.
run() {
    "$@" &
    child=$!
    wait "$child" || echo "$*: ended with $?" >&2
    child=
}

run keeper backup
while :; do
    now=$(date +%s)
    run sleep $((3600 - (now - 17 * 60) % 3600))
    run keeper vacuum
    if [ $(($(date +%s) / 3600 % 24)) -eq "$backup_hour" ]; then
        run keeper backup
    fi
done
