#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The limits of the machine, and those who use them up: no descriptors left, no receive buffers left, peers that send or
# read as slowly as they can, peers that are half gone, and 10,000 that are dropped and come back at once. ringmain goes
# on for everybody else, and takes no more memory than it may. (A completion queue that overflows: overflow_test.sh.)
. "$(dirname "$0")/lib.sh"

ulimit -n "$(ulimit -Hn)"
memory() { awk '/^Rss(Anon|Shmem):/ { sum += $2 } END { print sum * 1024 }' "/proc/$PID/status"; }
start_postgres

# ── no descriptors ───────────────────────────────────────────────────────────────────────────────

program=$PROGRAM
printf '#!/bin/sh\nulimit -n 64\nexec %s "$@"\n' "$program" >"$TMP/with_64"
chmod +x "$TMP/with_64"
PROGRAM=$TMP/with_64
start_ringmain -o node.shards=1 -o dedup.ids=65536 -o spool.memory=16m || finish
cases "$PYTHON" "$BLACKBOX/limits.py" descriptors
check "descriptors: the log says it, and not for each" [ "$(grep -c 'no descriptors left' "$LOG")" -le 5 ]
like "descriptors: and what to do" 'no descriptors left; new connections wait .LimitNOFILE' "$(cat "$LOG")"
PROGRAM=$program
check "ringmain stops well" stop_ringmain

# ── slow ones ────────────────────────────────────────────────────────────────────────────────────

start_ringmain -o node.shards=1 -o dedup.ids=65536 -o spool.memory=16m -o limits.header_ms=500 -o limits.body_ms=1000 \
    -o limits.idle_ms=3000 -o limits.connection_memory=32m || finish
cases "$PYTHON" "$BLACKBOX/limits.py" slow
check "slow: all are gone" until_true 20 metric_is ringmain_connections 0

# ── half gone ────────────────────────────────────────────────────────────────────────────────────

"$PYTHON" "$BLACKBOX/make_events.py" 20000 >"$TMP/events"
senders=()
for ((i = 0; i < 6; i++)); do
    door=$((i % 3 == 0 ? 0 : 1))
    sed "s/\"id\":\"wa-/\"id\":\"half$i-/" "$TMP/events" >"$TMP/half$i"
    case $((i % 3)) in
    0) to=tcp://$TCP ;;
    1) to=http://$HTTP ;;
    2) to=ws://$HTTP ;;
    esac
    "$PROGRAM" send "$TMP/half$i" --quiet --connections 2 --to "$to" --rate 20000 >"$TMP/half$i.out" 2>&1 &
    senders+=($!)
done
until_true 20 bash -c '[ "$(psql -XqAt -d "$PG" -c "select count(*) from events")" -gt 2000 ]' || not_ok "half: a load"
kill -STOP "${senders[@]:0:3}"
for pid in "${senders[@]:3}"; do
    wait "$pid"
    same "half: whoever is not stopped comes to its end" 0 $?
done
check "half: the stopped ones are closed when they have been idle" until_true 20 metric_is ringmain_connections 0
kill -CONT "${senders[@]:0:3}"
for pid in "${senders[@]:0:3}"; do
    wait "$pid"
    same "half: a stopped one goes on by itself" 0 $?
done
check "half: all are stored" until_rows 120000 "events where id like 'half%'"
same "half: once" 120000 "$(sql "select count(distinct id) from events where id like 'half%'")"
check "ringmain stops well" stop_ringmain

# ── no receive buffers ───────────────────────────────────────────────────────────────────────────

start_ringmain -o node.shards=1 -o dedup.ids=262144 -o limits.receive_buffers=16 -o limits.receive_buffer_bytes=1k || finish
sed 's/"id":"wa-/"id":"few-/' "$TMP/events" >"$TMP/few"
for to in "tcp://$TCP" "http://$HTTP" "ws://$HTTP"; do
    sed "s/\"id\":\"few-/\"id\":\"few-${to%%:*}-/" "$TMP/few" >"$TMP/few.${to%%:*}"
    "$PROGRAM" send "$TMP/few.${to%%:*}" --quiet --connections 40 --to "$to" >"$TMP/few.out" 2>&1 &
    few+=($!)
done
for pid in "${few[@]}"; do
    wait "$pid"
    same "buffers: 40 busy connections share 16 of 1 KiB with 80 others" 0 $?
done
check "buffers: all are stored" until_rows 60000 "events where id like 'few-%'"
starved=$(metric ringmain_receive_starved_total)
again=$(($(metric 'ringmain_ring_armed_total{request="receive"}') - $(metric ringmain_connections_opened_total)))
check "buffers: $starved receives ended for want of one" [ "$starved" -gt 0 ]
check "buffers: $again were asked for again" [ "$again" -ge "$starved" ]
check "ringmain stops well" stop_ringmain

# ── 10,000 come back at once ─────────────────────────────────────────────────────────────────────

COUNT=${COUNT:-10000}
[ "$(ulimit -n)" -ge $((COUNT + 300)) ] || COUNT=$(($(ulimit -n) - 300))
cc -std=gnu11 -O1 -Wall -Wextra -Werror -o "$TMP/idle" tests/tools/idle.c || { not_ok "tests/tools/idle.c compiles"; finish; }
start_ringmain -o node.shards=1 -o dedup.ids=65536 -o "limits.connections=$((COUNT + 2000))" || finish
hold() {
    local line=
    coproc crowd { exec "$TMP/idle" "${HTTP##*:}" "$COUNT" 2>"$TMP/idle.err"; }
    holder=$!
    read -r -t 60 line <&"${crowd[0]}"
    said=${line:-nothing; $(cat "$TMP/idle.err")}
}
hold
same "crowd: $COUNT are there" "open $COUNT" "$said"
for round in 1 2; do
    before=$(memory)
    kill -KILL "$holder"
    began=$(date +%s%N)
    wait "$holder" 2>/dev/null
    hold
    same "crowd: all dropped, and there again ($round)" "open $COUNT" "$said"
    echo "# $COUNT connections are dropped and back in $((($(date +%s%N) - began) / 1000000)) ms; memory $((before >> 20)) MiB, then $(($(memory) >> 20)) MiB"
done
check "crowd: no more than before" [ "$(memory)" -le $((before + before / 10)) ]
check "crowd: the old ones are gone" until_true 20 metric_is ringmain_connections "$COUNT"
kill -KILL "$holder"
wait "$holder" 2>/dev/null
same "crowd: events still get in" '{"accepted":1,"duplicates":0,"rejected":[]}' "$(curl -s "http://$HTTP/events" -d '{"type":"t"}')"
check "ringmain stops well" stop_ringmain
finish
