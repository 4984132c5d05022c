#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The HTTP door: curl as people use it, then tests/blackbox/http_door.py byte by byte, in five phases.
. "$(dirname "$0")/lib.sh"

# What both need.
ask() { curl -s --max-time 20 "$@"; }
status() { ask -o /dev/null -w '%{http_code}' "$@"; }
events=http://HTTP/events
new_server() {
    start_ringmain -o dedup.ids=65536 -o spool.segment_bytes=1m "$@" || finish
    events=http://$HTTP/events
}

# curl PATH-OF-BODY in the ways that curl sends.
by_curl() {
    local body=$TMP/body.json
    same "curl -d" '{"accepted":1,"duplicates":0,"rejected":[]}' \
        "$(ask "$events" -H 'content-type: application/json' -d '{"id":"curl-1","type":"t","data":{"a":1}}')"
    same "curl -d with curl's own content type" '{"accepted":1,"duplicates":1,"rejected":[]}' \
        "$(ask "$events?ack=stored" -d '[{"id":"curl-1","type":"t"},{"id":"curl-2","type":"t"}]')"
    same "the row that curl sent" 'curl-1|t|{"a": 1}' "$(sql "select id, type, data from events where id = 'curl-1'")"
    "$PYTHON" -c 'for n in range(20000): print("{\"id\":\"big-%d\",\"type\":\"t\",\"data\":{\"n\":%d}}" % (n, n))' >"$body"
    same "curl -T - sends in chunks" '{"accepted":20000,"duplicates":0,"rejected":[]}' \
        "$(ask "$events" -X POST -T - -H 'content-type: application/x-ndjson' <"$body")"
    same "curl waits for 100 Continue" '{"accepted":0,"duplicates":20000,"rejected":[]}' \
        "$(ask "$events" -H 'Expect: 100-continue' --expect100-timeout 60 --data-binary "@$body")"
    gzip -k "$body"
    same "curl sends gzip" '{"accepted":0,"duplicates":20000,"rejected":[]}' \
        "$(ask "$events?ack=stored" -H 'content-encoding: gzip' --data-binary "@$body.gz")"
    same "all of it is stored, once" '20000|20000|199990000' \
        "$(sql "select count(*), count(distinct id), sum((data->>'n')::int) from events where id like 'big-%'")"
    same "curl --http1.0" 202 "$(status --http1.0 "$events" -d '{"type":"t"}')"
    same "curl uses one connection for two requests" '200 1|200 0|' \
        "$(ask -o /dev/null -o /dev/null -w '%{http_code} %{num_connects}|' "http://$HTTP/livez" "http://$HTTP/readyz")"
    same "curl offers HTTP/2 and gets HTTP/1.1" '200 1.1' \
        "$(ask --http2 -o /dev/null -w '%{http_code} %{http_version}' "http://$HTTP/livez")"
    same "curl -I" 200 "$(status -I "http://$HTTP/health")"
}

start_postgres
new_server
by_curl
cases "$PYTHON" "$BLACKBOX/http_door.py" open
stop_ringmain; same "it drains and ends with 0" 0 $?

echo "a secret of the black-box tests, 32 bytes and more" | tr -d '\n' >"$TMP/secret"
printf '[key default]\nalgorithm = HS256\nsecret_file = %s\n' "$TMP/secret" >"$TMP/keys.conf"
new_server -c "$TMP/keys.conf" -o auth.required=yes \
    -o limits.body_bytes=65536 -o limits.events_per_second=20 -o auth.failures_per_minute=40
same "a token of ringmain token opens the door" 202 \
    "$(status "$events" -H "Authorization: Bearer $("$PROGRAM" token -c "$TMP/keys.conf" --user u)" -d '{"type":"t"}')"
cases "$PYTHON" "$BLACKBOX/http_door.py" strict
stop_ringmain; same "it drains and ends with 0" 0 $?
new_server -o limits.header_ms=300 -o limits.body_ms=400 -o limits.idle_ms=400
cases "$PYTHON" "$BLACKBOX/http_door.py" slow
check "no token is in the log" bash -c '! grep -q eyJ "$1"' _ "$LOG"
stop_ringmain; same "it drains and ends with 0" 0 $?

stop_postgres
rm -rf "$TMP/spool"
new_server -o spool.bytes=4m -o node.shards=1 -o postgres.retry_min_ms=20
cases "$PYTHON" "$BLACKBOX/http_door.py" full
start_postgres
cases "$PYTHON" "$BLACKBOX/http_door.py" relieved
stop_ringmain; same "it drains and ends with 0" 0 $?
finish
