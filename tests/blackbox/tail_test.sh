#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# ringmain tail: what an operator sees of a room, through a restart, and what it says when it may not.
. "$(dirname "$0")/lib.sh"

SECRET=a-secret-of-the-tail-test-that-is-long-enough
key=(-o key.default.algorithm=HS256 -o "key.default.secret=$SECRET")
start_ringmain -o node.shards=2 -o auth.required=yes "${key[@]}" || finish
ops=$("$PROGRAM" token "${key[@]}" -u ops -t t1 -s 'ingest ingest:any admin')
post() { # lines of events
    curl -s --max-time 20 "http://$HTTP/events" -H "authorization: Bearer $ops" -H 'content-type: application/x-ndjson' \
        --data-binary @- >/dev/null
}
tail_() { "$PROGRAM" tail --to "ws://$HTTP" "$@"; }
watching() { grep -q 'connected to' "$1"; }

like "--help" 'Follows rooms live' "$("$PROGRAM" tail --help)"
like "no token: says what to do" 'refused with 401 .*--token or RINGMAIN_TOKEN' "$(tail_ --room lobby 2>&1)"
like "a bad address: says what is allowed" '--to must be ws://HOST:PORT' "$("$PROGRAM" tail --to ftp://x 2>&1)"
tail_ --room lobby >"$TMP/none" 2>&1
same "and its exit status is 1" 1 $?
export RINGMAIN_TOKEN=$ops
like "a room of somebody else is refused" 'refused with 403' "$(RINGMAIN_TOKEN=$("$PROGRAM" token "${key[@]}" -u mallory) tail_ --room user:bob 2>&1)"

tail_ --room lobby --room user:ops -n 3 >"$TMP/lines" 2>"$TMP/lines.err" &
plain=$!
tail_ --room lobby --types send_message --pretty -n 2 >"$TMP/pretty" 2>"$TMP/pretty.err" &
pretty=$!
check "both are connected" until_true 20 watching "$TMP/lines.err"
check "the second too" until_true 20 watching "$TMP/pretty.err"
post <<'J'
{"type":"send_message","roomId":"lobby","userId":"ops","id":"m1","data":{"message":"one"}}
{"type":"send_message","roomId":"lobby","userId":"ops","id":"m2","data":{"message":"zwei \u00fc"}}
J
wait "$plain"
same "-n 3 ends it well" 0 $?
wait "$pretty"
same "as does -n 2" 0 $?
"$PYTHON" - "$TMP/lines" >"$TMP/read" <<'P'
import json, sys
for line in open(sys.argv[1]):
    message = json.loads(line)
    if message["event"] == "dashboard_data":
        print("dashboard_data")
    elif message["event"] == "events":
        print("events", *[event["id"] for event in message["data"]])
    else:
        print(message["event"], message["room"], message["data"]["message"])
P
like "a line of JSON each" '^chat_message lobby one$' "$(sed -n 1p "$TMP/read")"
like "in order" '^chat_message lobby zwei ü$' "$(sed -n 2p "$TMP/read")"
like "--pretty is for people" '^[0-9:.]{12} lobby chat_message \{"id":"m1".*"message":"one"' "$(sed -n 1p "$TMP/pretty")"

# It goes on after a restart, and says so.
tail_ --room lobby -n 2 >"$TMP/again" 2>"$TMP/again.err" &
follower=$!
check "a third one is connected" until_true 20 watching "$TMP/again.err"
post <<<'{"type":"send_message","roomId":"lobby","userId":"ops","data":{"message":"before"}}'
has_line() { [ -s "$TMP/again" ]; }
check "it has the first" until_true 20 has_line
stop_ringmain
restart_ringmain
twice() { [ "$(grep -c 'connected to' "$TMP/again.err")" = 2 ]; }
check "it has come back" until_true 20 twice
post <<<'{"type":"send_message","roomId":"lobby","userId":"ops","data":{"message":"after"}}'
wait "$follower"
same "it ends well" 0 $?
like "with both" 'before.*after' "$(tr -d '\n' <"$TMP/again")"
like "and said what happened" 'connecting again' "$(cat "$TMP/again.err")"

"$PROGRAM" tail --to "ws://$HTTP" --room lobby >"$TMP/end" 2>"$TMP/end.err" &
follower=$!
check "a fourth one is connected" until_true 20 watching "$TMP/end.err"
exposed() { curl -s --max-time 5 "http://$METRICS/metrics" | grep -qxF "$1"; }
check "it is counted in its room" until_true 20 exposed 'websocket_room_connections{room_id="lobby"} 1'
check "and in its tenant" until_true 20 exposed 'websocket_connections_total{tenant_id="t1"} 1'
kill -TERM "$follower"
wait "$follower"
same "a signal ends it well" 0 $?
gone() { ! curl -s --max-time 5 "http://$METRICS/metrics" | grep -qE '^websocket_(room_connections|connections_total)\{'; }
check "then it is counted no more" until_true 20 gone
check "but for how long it was there" until_true 20 exposed 'websocket_connection_duration_seconds_count 2'
finish
