#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# dedup.scope = global: two nodes, one Postgres, the same events sent to both, kills in the middle; and what it costs.
. "$(dirname "$0")/lib.sh"

# Two nodes take turns as the one that lib.sh knows.
use() { # a or b
    local -n its=$1
    PID=${its[pid]:-} TCP=${its[tcp]:-} HTTP=${its[http]:-} METRICS=${its[metrics]:-}
    ringmain_arguments=(-o "node.name=$1" -o "spool.directory=$TMP/spool.$1" -o dedup.scope=global "${options[@]}")
}
keep() {
    local -n its=$1
    its=([pid]=$PID [tcp]=$TCP [http]=$HTTP [metrics]=$METRICS)
    PID=
}
declare -A a b
options=(-o dedup.ids=65536 -o node.shards=1 -o batch.max_rows=2000 -o postgres.hold_retry_ms=200)
start_node() {
    use "$1"
    start_ringmain "${ringmain_arguments[@]}" || finish
    keep "$1"
}
kill_again() { # kills node $1 and starts it again
    use "$1"
    kill_ringmain
    launch -o "listen.tcp=$TCP" -o "listen.http=$HTTP" -o "listen.metrics=$METRICS" || finish
    keep "$1"
}
end_nodes() {
    for node in a b; do
        use "$node"
        stop_ringmain || not_ok "node $node ends with 0"
    done
}
# The nodes that are not PID are ended too, whatever happens.
trap 'for p in "${a[pid]:-}" "${b[pid]:-}"; do [ -z "$p" ] || kill -KILL "$p" 2>/dev/null; done; end_all' EXIT

start_postgres max_connections=30
start_node a
start_node b
same "the index was made with its table" t \
    "$(sql "select exists (select from pg_index where indrelid = 'events'::regclass and indisunique)")"

# ── the same events to both, both killed on the way ──
"$PYTHON" -c '
for n in range(60000):
    print("{\"id\":\"id-%d\",\"type\":\"%s\",\"data\":{\"n\":%d}}" % (n * 7919 % 60000, "item_added" if n % 2 else "t", n))' >"$TMP/one"
sort -R --random-source=<(yes) "$TMP/one" >"$TMP/other"
use a; send "$TMP/one" --connections 2 >"$TMP/send.a" 2>&1 & sender_a=$!
use b; send "$TMP/other" --connections 2 >"$TMP/send.b" 2>&1 & sender_b=$!
all="(select id, (data->>'n')::bigint as n from events union all select id, (metadata->>'n')::bigint from cart_events) x"
some() { [ "$(sql "select count(*) from $all")" -ge "$1" ]; }
for n in 1 2 3 4 5; do
    until_true 60 some $((n * 4000)) || not_ok "$((n * 4000)) rows came" "$(sql "select count(*) from $all")"
    if [ $((n % 2)) = 0 ]; then kill_again a; else kill_again b; fi
    sql "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'ringmain'" >"$TMP/said"
done
wait "$sender_a"; same "all was acknowledged by one node" 0 $?
wait "$sender_b"; same "and by the other" 0 $?
check "each id is stored" until_sql 60000 "select count(distinct id) from $all"
drained() { use "$1"; [ "$(metric ringmain_spool_pending_events)" = 0 ]; }
check "one node's spool is stored" until_true 60 drained a
check "and the other's" until_true 60 drained b
same "once" '60000|60000' "$(sql "select count(*), count(distinct id) from $all")"
same "and whole" '1799970000' "$(sql "select sum(n) from $all")"
use a; doubles=$(metric ringmain_events_stored_before_total)
use b; check "what was there already is counted" test $((doubles + $(metric ringmain_events_stored_before_total))) -ge 1000
same "nobody locked anybody out" 0 "$(sql 'select deadlocks from pg_stat_database where datname = current_database()')"
same "no dead letters" 0 "$(sql 'select count(*) from ringmain_dead_letters')"

# ── past the window, and after a restart without a spool: as if it were another node ──
use a
stop_ringmain
rm -rf "$TMP/spool.a"
a=()
start_node a
use a
same "an id that only the table knows is accepted" '{"accepted":1,"duplicates":0,"rejected":[]}' \
    "$(curl -s --max-time 20 "http://$HTTP/events?ack=stored" -d '{"id":"id-0","type":"t"}')"
same "and not stored again" 1 "$(sql "select count(*) from events where id = 'id-0'")"
same "streams without an id go as ever" 202 "$(curl -s -o /dev/null -w '%{http_code}' --max-time 20 "http://$HTTP/messages?ack=stored" \
    -d '{"user_id":1,"channel_id":1,"content":"x"}')"

# ── a row that Postgres refuses, among good ones ──
sql "alter table events add check (type <> 'bad')"
"$PYTHON" -c 'for n in range(500): print("{\"id\":\"p-%d\",\"type\":\"%s\"}" % (n, "bad" if n in (0, 250, 499) else "t"))' >"$TMP/poison"
check "poison is sent" send "$TMP/poison"
check "the good ones are stored" until_sql 497 "select count(*) from events where id like 'p-%'"
check "the bad ones are dead letters" until_sql 3 'select count(*) from ringmain_dead_letters'
end_nodes

# ── an index that is not there ──
sql 'drop table events; create table events (id text, type text, tenant_id text, user_id text, project_id text, session_id text,
    room_id text, ts timestamptz, received_at timestamptz, data jsonb) partition by range (ts);
    create table events_all partition of events default'
a=() b=()
start_node a
use a
same "events are taken all the same" 202 "$(curl -s -o /dev/null -w '%{http_code}' --max-time 20 "http://$HTTP/events" -d '{"id":"new","type":"t"}')"
held() { curl -s --max-time 5 "http://$HTTP/health" | grep -q "$1"; }
check "without its index the stream is held, and /health says what to do" until_true 20 held 'needs a unique index on the table'
like "and so does the log" 'level=error room=writer message="held until it is mended: stream events: dedup.scope = global needs a unique index on the table' "$(cat "$LOG")"
sql 'create unique index on events (id, received_at, ts)' 2>/dev/null
check "one with another column in it will not do" until_true 20 held 'needs a unique index on the table'
sql 'create unique index on events (id, ts)'
check "partitioned: the id and what it is partitioned by" until_rows 1
curl -s --max-time 20 "http://$HTTP/events?ack=stored" -d '[{"id":"x","type":"t","ts":1700000000000}]' >"$TMP/said"
stop_ringmain; same "it drains and ends with 0" 0 $?
rm -rf "$TMP/spool.a"; a=()
start_node a
use a
curl -s --max-time 20 "http://$HTTP/events?ack=stored" -d '[{"id":"x","type":"t","ts":1700000000000},{"id":"y","type":"t","ts":1700000000000}]' >"$TMP/said"
same "the same id and time again is not stored again" 'x y' "$(sql "select string_agg(id, ' ' order by id) from events where id in ('x', 'y')")"
stop_ringmain

# ── what it costs: the same 100,000 events, node and global by turns, in one run ──
"$PYTHON" -c '
import uuid
for n in range(100000): print("{\"id\":\"%s\",\"type\":\"t\",\"data\":{\"n\":%d,\"text\":\"%s\"}}" % (uuid.uuid4(), n, "x" * 60))' >"$TMP/cost"
seconds() { # scope; sets spent
    drop_tables
    start_ringmain -o dedup.ids=1048576 -o node.shards=1 -o "dedup.scope=$1" || finish
    send "$TMP/cost" >"$TMP/said" 2>&1
    until_rows 100000 >"$TMP/said"
    spent=$(metric ringmain_batch_seconds_sum)
    stop_ringmain || not_ok "it drains and ends with 0"
}
seconds node; node=$spent
seconds global; global=$spent
check "both scopes store all of it" test -n "$node" -a -n "$global"
"$PYTHON" -c '
import sys
node, world = map(float, sys.argv[1:])
print("# 100,000 events of 150 bytes, random ids: %.2f s in Postgres with scope node, %.2f s with global: %.1f times"
      % (node, world, world / node))' "$node" "$global"
finish
