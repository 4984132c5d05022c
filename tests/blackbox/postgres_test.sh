#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Everything that a Postgres can do to a program: be away, die, cut connections, lose a column, refuse a row, stay away
# until the disk is full. Whatever was acknowledged is stored exactly once, or lies in the dead letters.
. "$(dirname "$0")/lib.sh"

"$PYTHON" "$BLACKBOX/make_events.py" 10000 >"$TMP/events"
# batch NAME: 10,000 events with ids of their own, in $TMP/NAME.ndjson
batch() { sed "s/\"id\":\"wa-/\"id\":\"$1-/" "$TMP/events" >"$TMP/$1.ndjson"; }
sent() { "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$TMP/$1.sent" "$2"; }
# begin NAME [options of ringmain send]…: in the background; `end NAME ROWS` waits for it and for its rows.
begin() {
    local name=$1
    shift
    [ -s "$TMP/$name.ndjson" ] || batch "$name"
    send "$TMP/$name.ndjson" --json "$@" >"$TMP/$name.sent" 2>"$TMP/$name.err" &
    sender=$!
}
end() {
    wait "$sender"
    same "$1: the sender came to its end" 0 $?
    same "$1: nothing unacknowledged, refused or doubled" "0 0 0" \
        "$(sent "$1" unacknowledged) $(sent "$1" rejected) $(sent "$1" duplicates)"
    exactly "$1" "$2"
}
exactly() {
    check "$1: exactly $2 rows" until_rows "$2" "events where id like '$1-%'"
    same "$1: as many ids" "$2" "$(sql "select count(distinct id) from events where id like '$1-%'")"
}
is_sending() { kill -0 "$sender" 2>/dev/null; }
rows_at_least() { [ "$(sql "select count(*) from events where id like '$1-%'")" -ge "$2" ]; }
logged() { grep -qE "$1" "$LOG"; }
healthy() { curl -s --max-time 5 "http://$HTTP/health"; }

settings=(-o spool.segment_bytes=1m -o postgres.retry_min_ms=20 -o postgres.retry_max_ms=100
    -o postgres.hold_retry_ms=100 -o batch.max_rows=1000 -o node.shutdown_s=1)

# ── away at the start ────────────────────────────────────────────────────────────────────────────

start_postgres
stop_postgres
start_ringmain -o node.shards=2 "${settings[@]}"
batch down
like "down: ringmain is up without it, and takes events" '^10000 events: 10000 accepted' "$(send "$TMP/down.ndjson")"
begin away --ack stored --connections 4
check "down: events wait in the spool" until_true 20 metric_at_least ringmain_spool_pending_events 20000
same "down: none of them counts as stored" "" "$(cat "$TMP/away.sent")"
check "down: the sender that wants them stored waits" is_sending
like "down: /health says so" '"postgres":"?\{?"?[a-z":]*(down|connecting)' "$(healthy)"
check "down: no writer has a connection" until_true 20 metric_is ringmain_postgres_up 0
start_postgres
end away 10000
exactly down 10000
check "down: the writer is up" until_true 10 metric_is ringmain_postgres_up 1

# ── dies under load ──────────────────────────────────────────────────────────────────────────────

begin dies --ack stored --connections 4 --repeat 4 --rate 12000
for n in 1 2; do
    check "dies: rows come in ($n)" until_true 30 rows_at_least dies $((n * 8000))
    stop_postgres immediate
    check "dies: the sender goes on ($n)" is_sending
    taken=$(metric ringmain_events_accepted_total)
    check "dies: events are taken meanwhile ($n)" until_true 20 metric_at_least ringmain_events_accepted_total $((taken + 2000))
    start_postgres
done
end dies 40000

# ── cuts connections ─────────────────────────────────────────────────────────────────────────────

begin cut --ack stored --connections 4 --repeat 3 --rate 15000
cuts=0
while is_sending; do
    cuts=$((cuts + $(sql "select count(*) from (select pg_terminate_backend(pid) as cut from pg_stat_activity
                          where pid <> pg_backend_pid() and backend_type = 'client backend') as all_ where cut")))
    sleep 0.02
done
end cut 30000
check "cut: it was cut off again and again ($cuts times)" [ "$cuts" -ge 5 ]

# ── both at once: kill -9 of ringmain while Postgres is dying ────────────────────────────────────

begin both --connections 4 --repeat 3 --rate 15000
check "both: rows come in" until_true 30 rows_at_least both 5000
stop_postgres immediate
kill_ringmain
start_postgres
restart_ringmain
check "both: the sender goes on" is_sending
wait "$sender"
same "both: the sender came to its end" 0 $?
exactly both 30000

# ── loses a column ───────────────────────────────────────────────────────────────────────────────

batch column
sql 'alter table events rename column session_id to somewhere_else'
begin column
check "column: the log names it" until_true 20 logged 'level=(warn|error) room=writer .*held.*session_id'
check "column: the metric says so" until_true 20 metric_at_least ringmain_streams_held 1
wait "$sender"
same "column: events are taken all the same" 0 $?
like "column: /health names it" 'session_id' "$(healthy)"
same "column: nothing was stored or given up" "0 0" \
    "$(sql "select count(*) from events where id like 'column-%'") $(sql 'select count(*) from ringmain_dead_letters')"
kill_ringmain
restart_ringmain
same "column: after a restart events are taken, too" 202 "$(curl -s -o "$TMP/said" -w '%{http_code}' "http://$HTTP/events" \
    -d '{"type":"t","id":"column-more"}')"
sql 'alter table events rename column somewhere_else to session_id'
exactly column 10001
check "column: nothing is held any more" until_true 20 metric_is ringmain_streams_held 0
kill_ringmain
sql 'alter table events alter column user_id type bytea using user_id::bytea'
restart_ringmain
send <(echo '{"type":"t","id":"type-1","userId":"a user with a long name"}') >/dev/null
check "column: at the start a wrong type is named, too" until_true 20 logged 'held.*user_id'
sql 'alter table events alter column user_id type text using convert_from(user_id, $$UTF8$$)'
exactly type 1
same "column: no dead letter" 0 "$(sql 'select count(*) from ringmain_dead_letters')"

# ── refuses rows ─────────────────────────────────────────────────────────────────────────────────

batch poison
sql "alter table events add constraint no_sevens check (id !~ '^poison-0*[0-9]*777\$')"
begin poison --ack stored --connections 2
wait "$sender"
same "poison: the sender came to its end" 0 $?
exactly poison 9990
same "poison: ten dead letters, each with its reason" "10|23514|t|t" "$(sql "
    select count(*), min(sqlstate), bool_and(reason like '%no_sevens%'),
        bool_and(position('poison-' in encode(raw, 'escape')) > 0) from ringmain_dead_letters")"
check "poison: the metric says so" until_true 20 metric_is ringmain_events_dead_lettered_total 10
sql 'alter table events drop constraint no_sevens'
sql "create function refuse() returns trigger language plpgsql as
     \$\$ begin if new.id = 'raised-00500' then raise exception 'not this one'; end if; return new; end \$\$;
     create trigger refuse before insert on events for each row execute function refuse()"
begin raised
end raised 9999
same "poison: what a trigger refuses is a dead letter, too" "1" \
    "$(sql "select count(*) from ringmain_dead_letters where sqlstate = 'P0001' and reason like '%not this one%'")"
sql 'drop trigger refuse on events'
check "ringmain stops well" stop_ringmain
same "poison: eleven in all" 11 "$(sql 'select count(*) from ringmain_dead_letters')"

# ── stays away until the spool is full ───────────────────────────────────────────────────────────

drop_tables
stop_postgres
start_ringmain -o node.shards=1 "${settings[@]}" -o spool.bytes=4m -o spool.memory=4m
batch full
begin http --to "http://$HTTP" --connections 4 --repeat 2
over_http=$sender
check "full: the spool fills" until_true 30 metric_at_least ringmain_spool_pressure_level 2
answer() { curl -s -i --max-time 5 "http://$HTTP/events" -d '{"type":"t","id":"one-1"}' | tr -d '\r'; }
like "full: HTTP says 503 and when to come again" '^HTTP/1.1 503 .*Retry-After: [1-9][0-9]* .*OVERLOADED' \
    "$(answer | tr '\n' ' ' | sed 's/retry-after/Retry-After/I')"
# TCP: escaped ids, so that a line which is cut, parsed and not taken is parsed again.
sed 's/"id":"full-\(.\)/"id":"f\\u0075ll-\\"\1/' "$TMP/full.ndjson" >"$TMP/tcp.ndjson"
begin tcp --connections 3 --repeat 2
over_tcp=$sender
sed 's/"id":"full-/"id":"nc-/' "$TMP/full.ndjson" | timeout 120 bash -c "exec nc -N ${TCP%:*} ${TCP##*:}" >"$TMP/nc.said" &
by_nc=$!
begin ws --to "ws://$HTTP" --connections 2
check "full: connections are held back" until_true 30 metric_at_least ringmain_throttled_connections 4
accepted=$(metric ringmain_events_accepted_total)
check "full: the disk holds no more than it may" [ "$(du -sb "$TMP/spool" | cut -f 1)" -le $((5 << 20)) ]
same "full: nobody was told that he is done" "" "$(cat "$TMP/http.sent" "$TMP/tcp.sent" "$TMP/ws.sent")"
like "full: still alive" '"status"' "$(healthy)"
kill_ringmain
restart_ringmain
check "full: full again after kill -9" until_true 30 metric_at_least ringmain_spool_pressure_level 1
like "full: many were accepted ($accepted)" '^[0-9]{4,}$' "$accepted"
start_postgres
wait "$by_nc"
for pid in "$sender" "$over_http" "$over_tcp"; do
    wait "$pid"
    same "full: a sender came to its end" 0 $?
done
same "full: nothing unacknowledged or refused" "0 0 0 0 0 0" "$(for name in http tcp ws; do
    echo "$(sent "$name" unacknowledged) $(sent "$name" rejected)"
done | xargs)"
check "full: HTTP was told to come again" [ "$(sent http retries)" -ge 1 ]
exactly http 20000
exactly ws 10000
check "full: TCP: exactly 20000 rows" until_rows 20000 "events where id ~ '^full-\"[0-9]+(-r1)?\$'"
same "full: TCP: as many ids" 20000 "$(sql "select count(distinct id) from events where id like 'full-%'")"
check "full: there is room again" until_true 20 metric_is ringmain_spool_pressure_level 0
begin after --ack stored
end after 10000
check "ringmain stops well" stop_ringmain

# ── a drain without Postgres ─────────────────────────────────────────────────────────────────────

stop_postgres
restart_ringmain -o spool.bytes=64m
batch drained
send "$TMP/drained.ndjson" >/dev/null
check "drain: it ends, although Postgres is away" stop_ringmain
start_postgres
restart_ringmain
exactly drained 10000
check "ringmain stops well" stop_ringmain
finish
