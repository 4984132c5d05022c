#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Postgres fails over to a standby that had not got the last transactions, twice, in the middle of traffic: rows and
# checkpoint have gone back together, and ringmain stores again from its spool what is missing, exactly once. The second
# standby can't take rows for longer than spool.retain_stored_s, so that the segments that it needs come of age meanwhile.
. "$(dirname "$0")/lib.sh"

RETAIN_S=${RETAIN_S:-5}
settings="max_prepared_transactions=2 max_wal_size=2GB"
# shellcheck disable=SC2086
start_postgres $settings
start_ringmain -o node.shards=2 -o spool.segment_bytes=1m -o "spool.retain_stored_s=$RETAIN_S" \
    -o postgres.retry_min_ms=20 -o postgres.retry_max_ms=100 -o batch.max_rows=1000 # more would be in memory already
"$PYTHON" "$BLACKBOX/make_events.py" 10000 >"$TMP/ten_thousand.ndjson"

field() { "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
stored_at_least() { [ "$(sql 'select count(*) from events')" -ge "$1" ]; }

# A standby as it was at this moment.
copy_server() {
    stop_postgres fast
    mkdir -p "$1" && cp -a "$TMP/pg/data" "$1/data"
    # shellcheck disable=SC2086
    start_postgres $settings
}

# The server dies, and the copy takes its place and its address.
fail_over_to() {
    sql 'select count(*) from events' >"$TMP/before"
    stop_postgres immediate
    mv "$TMP/pg/data" "$1/lost" && mv "$1/data" "$TMP/pg/data"
    # shellcheck disable=SC2086
    start_postgres $settings
    echo "# the standby lacks $(($(cat "$TMP/before") - $(sql 'select count(*) from events'))) rows that had been stored"
}

# send_slowly NAME LEVEL: 60,000 events in about three seconds.
send_slowly() {
    sed "s/\"id\":\"wa-/\"id\":\"$1-/" "$TMP/ten_thousand.ndjson" >"$TMP/$1.ndjson"
    send "$TMP/$1.ndjson" --repeat 6 --rate 20000 --connections 4 --ack "$2" --json >"$TMP/$1.sent" 2>"$TMP/$1.err" &
    sender=$!
}

came_through() {
    wait "$sender"
    same "$1: the sender came to its end" 0 $?
    same "$1: all acknowledged, none refused, none a duplicate" "0 0 60000" \
        "$(field "$TMP/$1.sent" unacknowledged) $(field "$TMP/$1.sent" rejected) $(field "$TMP/$1.sent" accepted)"
    check "$1: exactly $2 rows" until_rows "$2"
    same "$1: as many ids" "$2" "$(sql 'select count(distinct id) from events')"
}

check "some are stored before" send "$TMP/ten_thousand.ndjson" --ack stored
copy_server "$TMP/standby"
send_slowly first spooled
check "rows that the standby does not have" until_true 30 stored_at_least 35000
fail_over_to "$TMP/standby"
came_through first 70000
like "the log says what happened" "Postgres went back .*stored again from the spool" "$(cat "$LOG")"

# The standby's table is locked by a prepared transaction, which outlives restarts.
copy_server "$TMP/slow"
slow=$(bash tests/tools/postgres.sh start "$TMP/slow" max_prepared_transactions=2)
psql -X -q -d "$slow" -c "begin" -c "lock table events in share row exclusive mode" -c "prepare transaction 'slow'"
bash tests/tools/postgres.sh stop "$TMP/slow"
send_slowly second stored
check "rows that the slow standby does not have" until_true 30 stored_at_least 90000
fail_over_to "$TMP/slow"
is_waiting() { [ "$(sql "select count(*) from pg_stat_activity where wait_event_type = 'Lock'")" -gt 0 ]; }
check "the writer waits for the lock" until_true 30 is_waiting
sleep $((RETAIN_S + 1)) # the one thing here that is about time
same "and nothing was stored meanwhile" 70000 "$(sql 'select count(*) from events')"
sql "rollback prepared 'slow'"
came_through second 130000

same "nothing is dead" 0 "$(sql 'select count(*) from ringmain_dead_letters')"
check "ringmain stops well" stop_ringmain
same "and no row more" 130000 "$(sql 'select count(*) from events')"
finish
