#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# kill -9 in the middle, start again, go on: exactly as many rows as events, through every door.
# EVENTS=1000000 for each door; the default is for everyday use.
. "$(dirname "$0")/lib.sh"

EVENTS=${EVENTS:-500000}
repeats=$(((EVENTS + 9999) / 10000))
EVENTS=$((repeats * 10000))
start_postgres max_wal_size=4GB
start_ringmain -o node.shards=2 -o "dedup.ids=$((4 * EVENTS + 1048576))"

# Waits until so many events were accepted since the last start, then kills.
kill_after() {
    accepted_at_least() { [ "$(metric ringmain_events_accepted_total)" -ge "$1" ]; }
    until_true 60 accepted_at_least "$1" || return 1
    kill -0 "$sender" 2>/dev/null || { echo "the sender was done before the kill"; return 1; }
    kill_ringmain
    restart_ringmain
}

sent() { "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$TMP/summary" "$1"; }

# through NAME [options of ringmain send]…: EVENTS new events with kills at a third and (counted anew) another third.
through() {
    local name=$1 file=$TMP/$1.ndjson
    shift
    "$PYTHON" "$BLACKBOX/make_events.py" 10000 | sed "s/\"id\":\"wa-/\"id\":\"$name-/" >"$file"
    send "$file" --repeat "$repeats" --rate $((EVENTS / 4)) --json "$@" >"$TMP/summary" 2>"$TMP/send.err" &
    sender=$!
    check "$name: killed at a third" kill_after $((EVENTS / 3))
    check "$name: killed again" kill_after $((EVENTS / 4))
    wait "$sender"
    same "$name: send resumed by itself and came to its end" 0 $?
    same "$name: nothing unacknowledged, nothing refused" "0 0" "$(sent unacknowledged) $(sent rejected)"
    check "$name: it had to reconnect" [ "$(sent reconnects)" -ge 2 ]
    check "$name: exactly $EVENTS rows" until_rows "$EVENTS" "events where id like '$name-%'"
    same "$name: as many ids" "$EVENTS" "$(sql "select count(distinct id) from events where id like '$name-%'")"
}

through tcp --to "tcp://$TCP" --connections 8
through http --to "http://$HTTP" --connections 8 --batch 100
through ws --to "ws://$HTTP" --connections 8 --batch 100 --ack stored

# All of it once more is all duplicates, also after a kill with everything stored.
kill_ringmain
restart_ringmain
send "$TMP/http.ndjson" --repeat "$repeats" --connections 4 --json >"$TMP/summary"
same "again: every event is recognised" "0 $EVENTS" "$(sent accepted) $(sent duplicates)"
same "again: no row was added" "$((3 * EVENTS))" "$(sql 'select count(*) from events')"

# Producers with names and events without ids: their count is all that there is. A drain among the kills.
each=$((EVENTS / 8))
"$PYTHON" "$BLACKBOX/named_producers.py" "$TCP" 8 "$each" $((each / 4)) >"$TMP/named" 2>"$TMP/named.err" &
sender=$!
check "named: killed" kill_after "$each"
check "named: killed again" kill_after "$each"
accepted_at_least() { [ "$(metric ringmain_events_accepted_total)" -ge "$each" ]; }
check "named: and drained" until_true 60 accepted_at_least
check "named: the drain ends well" stop_ringmain
restart_ringmain
wait "$sender"
same "named: every producer came to its end" 0 $?
cat "$TMP/named"
failures=$((failures + $(grep -c '^not ok' "$TMP/named")))
[ ! -s "$TMP/named.err" ] || sed 's/^/# /' "$TMP/named.err"
check "named: exactly $((8 * each)) rows" until_rows $((8 * each)) "events where type = 'counted'"
same "named: every number of every producer once" "8 $each $each 1" "$(sql "
    select count(*), min(numbers), max(numbers), min(first) from (
        select count(distinct (data->>'n')::int) as numbers, min((data->>'n')::int) as first
        from events where type = 'counted' group by data->>'producer') as each" | tr '|' ' ')"
same "named: stored in the order that each sent" 0 "$(sql "
    select count(*) from (
        select received_at, lag(received_at) over (partition by data->>'producer' order by (data->>'n')::int) as before
        from events where type = 'counted') as pairs where before > received_at")"
check "ringmain stops well" stop_ringmain
same "and no row more" $((3 * EVENTS + 8 * each)) "$(sql 'select count(*) from events')"
finish
