#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every field of every event, through every door: an independent reader (fields.py) compares the file with the table.
# Then the tables of the default streams, and one of a user's own with every type of column.
. "$(dirname "$0")/lib.sh"

file=$(event_file)
post=(curl -s --max-time 60 "-HContent-Type: application/x-ndjson")

# renamed NAME: the file with ids of its own.
renamed() { sed "s/\"id\":\"/\"id\":\"$1-/" "$file" | tee "$TMP/$1.ndjson"; }
# arrives NAME: all of it, as it was sent.
arrives() {
    check "$1: 9999 rows" until_rows 9999 "events where id like '$1-%'"
    cases "$PYTHON" "$BLACKBOX/fields.py" "$TMP/$1.ndjson" "$1-"
}

start_postgres
start_ringmain -o node.shards=2 -o spool.segment_bytes=4m

# ── ringmain send ────────────────────────────────────────────────────────────────────────────────

renamed send >/dev/null
like "send: 9999 accepted" '^9999 events: 9999 accepted, 0 duplicates, 0 rejected, 0 unacknowledged' \
    "$(send "$TMP/send.ndjson" --ack stored --connections 3)"
same "send: what was acknowledged as stored is stored" 9999 "$(sql 'select count(*) from events')"
arrives send
like "send again: 9999 duplicates" '^9999 events: 0 accepted, 9999 duplicates, 0 rejected, 0 unacknowledged' \
    "$(send "$TMP/send.ndjson" --ack stored)"
like "again over HTTP" '^9999 events: 0 accepted, 9999 duplicates' \
    "$(send "$TMP/send.ndjson" --ack stored --to "http://$HTTP")"
like "again over WebSocket" '^9999 events: 0 accepted, 9999 duplicates' \
    "$(send "$TMP/send.ndjson" --ack stored --to "ws://$HTTP")"
same "again: no row more" 9999 "$(sql 'select count(*) from events')"

# ── clients that we did not write ────────────────────────────────────────────────────────────────

all='{"accepted":9999,"duplicates":0,"rejected":[]}'
renamed nc | nc_tcp
arrives nc
same "curl, NDJSON: all accepted" "$all" "$(renamed ndjson | "${post[@]}" --data-binary @- "http://$HTTP/events")"
arrives ndjson
same "curl, an array: all accepted" "$all" "$({ echo '['; renamed array | sed '$!s/$/,/'; echo ']'; } |
    curl -s -HContent-Type:application/json --data-binary @- "http://$HTTP/events?ack=stored")"
arrives array
same "curl, gzip: all accepted" "$all" "$(renamed gzip | gzip |
    "${post[@]}" -HContent-Encoding:gzip --data-binary @- "http://$HTTP/events?ack=received")"
arrives gzip
same "curl, chunked: all accepted" "$all" "$(renamed chunked | "${post[@]}" -XPOST -T - "http://$HTTP/events")"
arrives chunked
renamed ws >/dev/null
cases "$PYTHON" "$BLACKBOX/fields_ws.py" "$TMP/ws.ndjson"
arrives ws
check "ringmain stops well" stop_ringmain

# ── the other streams ────────────────────────────────────────────────────────────────────────────

drop_tables
sql 'create schema shop' >/dev/null
cat >"$TMP/streams.conf" <<'CONF'
[stream orders]
table = shop.orders
types = order.placed, order.paid
columns = number bigint generated always as identity, order_id bigint from data.orderId required, "Kind" text from type, small integer from data.small, ratio double precision from data.ratio, total numeric from data.total, paid boolean from data.paid, at timestamptz from data.at|timestamp, key uuid from data.key, raw jsonb from data, kept json from data.kept, who text from data.customer.name|userId, note text from data.note
[stream measures]
columns = id text, value numeric from data.value required, kept json from data.kept, received_at timestamptz
types = measure
CONF
start_ringmain -c "$TMP/streams.conf" -o spool.segment_bytes=4m
cases "$PYTHON" "$BLACKBOX/fields_streams.py"
check "ringmain stops well" stop_ringmain
finish
