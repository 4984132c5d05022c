#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Postgres is away for a while under full load: ringmain takes events until its spool is full, holds its producers back,
# and takes no more memory however long it lasts; afterwards all of it is stored, once, and how fast is measured. This is
# the short form; AWAY_S=180 is the long one (make torture runs it).
. "$(dirname "$0")/lib.sh"

AWAY_S=${AWAY_S:-8} EVENTS=${EVENTS:-300000}
EACH=20000
memory() { awk '/^Rss(Anon|Shmem):/ { sum += $2 } END { print sum * 1024 }' "/proc/$PID/status"; }
sent() { "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$TMP/$1.sent" "$2"; }
mib() { echo $(($1 >> 20)); }

"$PYTHON" "$BLACKBOX/make_events.py" $EACH >"$TMP/events"
start_postgres
start_ringmain -o node.shards=1 -o spool.segment_bytes=4m -o spool.bytes=48m -o spool.memory=16m -o dedup.ids=8388608 \
    -o postgres.retry_max_ms=200
senders=()
for door in tcp http ws; do
    case $door in tcp) to=tcp://$TCP ;; *) to=$door://$HTTP ;; esac
    sed "s/\"id\":\"wa-/\"id\":\"$door-/" "$TMP/events" >"$TMP/$door.ndjson"
    "$PROGRAM" send "$TMP/$door.ndjson" --json --to "$to" --connections 4 --repeat $((EVENTS / 3 / EACH)) \
        --patience $((AWAY_S + 120)) \
        >"$TMP/$door.sent" 2>"$TMP/$door.err" &
    senders+=($!)
done
check "there is a load" until_true 30 metric_at_least ringmain_events_stored_total 20000
stop_postgres immediate
check "the spool fills" until_true 60 metric_at_least ringmain_spool_pressure_level 2
check "producers are held back" until_true 30 metric_at_least ringmain_throttled_connections 4
check "their receives were taken back" until_true 30 metric_at_least ringmain_receive_cancelled_total 1
like "HTTP says 503 and when to come again" '^HTTP/1.1 503 .*[Rr]etry-[Aa]fter: [1-9]' \
    "$(curl -s -i --max-time 5 "http://$HTTP/events" -d '{"type":"t"}' | tr -d '\r' | tr '\n' ' ')"
full=$(memory) most=0
for ((i = 0; i < AWAY_S * 5; i++)); do
    now=$(memory)
    [ "$now" -le "$most" ] || most=$now
    sleep 0.2
done
check "memory is flat: $(mib "$full") MiB when the spool was full, $(mib "$most") at most in the $AWAY_S s after" \
    [ "$most" -le $((full + (4 << 20))) ]
check "the disk holds no more than it may" [ "$(du -sb "$TMP/spool" | cut -f 1)" -le $((49 << 20)) ]
pending=$(metric ringmain_spool_pending_events)
stored=$(metric ringmain_events_stored_total)
start_postgres >/dev/null
check "the writer is back" until_true 30 metric_is ringmain_postgres_up 1
began=$(date +%s%N)
check "what has waited is stored" until_true 120 metric_at_least ringmain_events_stored_total $((stored + pending))
waited=$((($(date +%s%N) - began) / 1000000))
echo "# $pending events had waited; stored again at $(((pending * 1000) / (waited + 1))) events a second, with the producers going on"
for pid in "${senders[@]}"; do
    wait "$pid"
    same "a producer comes to its end" 0 $?
done
took=$((($(date +%s%N) - began) / 1000000))
same "all acknowledged, none refused" "0 0 0 0 0 0" "$(for door in tcp http ws; do
    echo "$(sent $door unacknowledged) $(sent $door rejected)"
done | xargs)"
total=$((EVENTS / 3 / EACH * EACH * 3))
check "all $total are stored" until_rows "$total" "events where id ~ '^(tcp|http|ws)-'"
same "once" "$total" "$(sql "select count(distinct id) from events where id ~ '^(tcp|http|ws)-'")"
echo "# away for $AWAY_S s and the time to fill; then all of it in $took ms"
check "ringmain stops well" stop_ringmain
finish
