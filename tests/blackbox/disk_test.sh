#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A disk that is full, and one whose fdatasync fails, for real: small file systems on loop devices.
#
#   full     ext4 of 24 MiB, with a ballast file in it, while Postgres is away: producers at every door are held back, and
#            go on when the ballast is gone
#   failing  ext2 on a sparse file on a tmpfs that is too small for it: the block device fails where the kernel writes
#            back what it has promised. That is what a dying disk looks like from above: write() succeeds, fdatasync()
#            says EIO once, and the dirty pages are gone. Then the machine "restarts": kill -9, and the file system is
#            mounted anew, so that only what is really on it is left. What was acknowledged has to be there.
#
# Where nothing may be mounted only a tmpfs or nothing is left to test with: the test says so.
. "$(dirname "$0")/lib.sh"

mounts=()
undo() {
    for ((i = ${#mounts[@]} - 1; i >= 0; i--)); do umount "${mounts[i]}" 2>/dev/null || umount -l "${mounts[i]}"; done
}
trap '[ -z "$PID" ] || { kill -KILL "$PID"; wait "$PID"; } 2>/dev/null; undo; end_all' EXIT

# mounted DIRECTORY OPTIONS… DEVICE
mounted() {
    local where=$1
    shift
    mkdir -p "$where"
    mount "$@" "$where" 2>>"$TMP/mount.err" || return 1
    mounts+=("$where")
}

logged() { tail -n "+${2:-1}" "$LOG" | grep -qE "$1"; }
sent() { "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$TMP/$1.sent" "$2"; }
begin() { # NAME OPTIONS…: sends NAME.ndjson in the background
    sed "s/\"id\":\"wa-/\"id\":\"$1-/" "$TMP/events" >"$TMP/$1.ndjson"
    send "$TMP/$1.ndjson" --json "${@:2}" >"$TMP/$1.sent" 2>"$TMP/$1.err" &
    senders+=($!)
}
all_end() {
    local pid status=0
    for pid in "${senders[@]}"; do wait "$pid" || status=1; done
    senders=()
    return $status
}
exactly() { # NAME: all of it, once
    check "$test: $1: all are stored" until_rows "$EVENTS" "events where id like '$1-%'"
    same "$test: $1: as many ids" "$EVENTS" "$(sql "select count(distinct id) from events where id like '$1-%'")"
}
senders=()
EVENTS=40000
"$PYTHON" "$BLACKBOX/make_events.py" $EVENTS >"$TMP/events"
start_postgres

# ── full ─────────────────────────────────────────────────────────────────────────────────────────

test=full
truncate -s 24m "$TMP/full.image"
if mkfs.ext4 -q -F -m 0 "$TMP/full.image" 2>>"$TMP/mount.err" &&
    mounted "$TMP/disk" -o loop "$TMP/full.image"; then
    echo "# ext4 on a loop device"
elif mounted "$TMP/disk" -t tmpfs -o size=24m none; then
    echo "# no loop device here: a tmpfs"
else
    ok "full: nothing can be mounted here (postgres_test.sh fills a spool to its quota): $(tail -n 1 "$TMP/mount.err")"
    finish
fi
fallocate -l 10m "$TMP/disk/ballast"
stop_postgres
start_ringmain -o node.shards=1 -o spool.segment_bytes=1m -o spool.memory=4m -o "spool.directory=$TMP/disk/spool"
begin tcp --connections 2
begin http --to "http://$HTTP" --connections 2
begin ws --to "ws://$HTTP" --connections 2
check "full: the log says so" until_true 30 logged 'segment could not be made ready: No space left on device'
check "full: the metric says so" until_true 30 metric_at_least ringmain_spool_pressure_level 2
check "full: connections are held back" until_true 30 metric_at_least ringmain_throttled_connections 2
answer=$(curl -s -i --max-time 5 "http://$HTTP/events" -d '{"type":"t"}' | tr -d '\r' | tr '\n' ' ')
like "full: HTTP says 503 and when to come again" '^HTTP/1.1 503 .*[Rr]etry-[Aa]fter: [1-9].*OVERLOADED' "$answer"
spooled=$(metric ringmain_events_spooled_total)
same "full: nobody was told that he is done" "" "$(cat "$TMP"/{tcp,http,ws}.sent)"
rm "$TMP/disk/ballast"
check "full: it goes on when there is room" until_true 30 metric_at_least ringmain_events_spooled_total $((spooled + 5000))
check "full: and is full again" until_true 30 metric_at_least ringmain_spool_pressure_level 2
kill_ringmain
start_postgres >/dev/null
check "full: it starts on a full disk, or nobody would carry away what is there" restart_ringmain
check "full: every sender comes to its end when Postgres is back" all_end
for name in tcp http ws; do
    same "full: $name: all acknowledged" "0 0" "$(sent $name unacknowledged) $(sent $name rejected)"
    exactly $name
done
check "full: there is room again" until_true 20 metric_at_least ringmain_spool_segments 1
check "full: ringmain stops well" stop_ringmain

# ── failing ──────────────────────────────────────────────────────────────────────────────────────

test=failing
sick() { # a file system of 64 MiB with room for 12
    mounted "$TMP/store" -t tmpfs -o size=12m none && truncate -s 64m "$TMP/store/image" &&
        mkfs.ext2 -q -F -m 0 "$TMP/store/image" 2>>"$TMP/mount.err" && mounted "$TMP/sick" -o loop "$TMP/store/image"
}
if ! sick; then
    ok "failing: there is no loop device here: make sim has the failing fsync"
    finish
fi
stop_postgres
from=$(($(wc -l <"$LOG") + 1))
start_ringmain -o node.shards=1 -o spool.segment_bytes=1m -o spool.memory=4m -o spool.direct=no -o "spool.directory=$TMP/sick/spool"
begin sick --connections 2
check "failing: fdatasync fails, and the log says so" until_true 30 logged 'level=error room=spool .*(Input/output error|No space left)' "$from"
check "failing: events are not acknowledged for ever" until_true 30 metric_at_least ringmain_spool_pressure_level 1
mount -o remount,size=100m "$TMP/store"
acknowledged() { [ -s "$TMP/sick.sent" ]; }
check "failing: when the disk is whole again it goes on by itself" until_true 60 acknowledged
check "failing: the sender comes to its end" all_end
same "failing: all acknowledged" "0 0" "$(sent sick unacknowledged) $(sent sick rejected)"
kill_ringmain
umount "$TMP/sick" && mount -o loop "$TMP/store/image" "$TMP/sick"
start_postgres >/dev/null
check "failing: it starts from what is really on the disk" restart_ringmain
exactly sick
check "failing: ringmain stops well" stop_ringmain
finish
