#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Mistakes at the clients' command line: what send and tail say of a wrong file, address, port, door, token or server,
# within their time and with a status that a script can go by.
. "$(dirname "$0")/lib.sh"
start_ringmain -o dedup.ids=65536 -o spool.segment_bytes=1m -o spool.bytes=64m -o postgres.conninfo= || finish
"$PYTHON" "$BLACKBOX/make_events.py" 200 >"$TMP/events"

# says NAME STATUS REGEX COMMAND…: it ends by itself with this status, and says so.
says() {
    local name=$1 wanted=$2 regex=$3 said status
    shift 3
    said=$(RINGMAIN_TOKEN='' timeout 15 "$@" 2>&1 </dev/null)
    status=$?
    same "$name: exit status" "$wanted" "$status"
    like "$name: what it says" "$regex" "$(tr '\r\n' '  ' <<<"$said")"
}
sends() { says "$1" "$2" "$3" "$PROGRAM" send "${@:4}"; }
tails() { says "$1" "$2" "$3" "$PROGRAM" tail "${@:4}"; }

sends "no file" 2 'no FILE is given' --to "tcp://$TCP"
sends "a file that is not there" 3 '/none: No such file' /none --to "tcp://$TCP"
sends "a directory" 3 "$TMP: Is a directory" "$TMP" --to "tcp://$TCP"
sends "an empty input" 3 'no event in the input' - --to "tcp://$TCP"
sends "a wrong scheme" 2 'must begin with tcp://, http:// or ws://' "$TMP/events" --to "$TCP"
for port in 0 65536 99999 x ''; do
    sends "port '$port'" 2 "port.*1 to 65535" "$TMP/events" --to "tcp://127.0.0.1:$port"
    tails "tail: port '$port'" 2 "must be ws://HOST:PORT.*1 to 65535" --to "ws://127.0.0.1:$port"
done
sends "nobody there" 3 "Connection refused; trying again.*no progress for 1 s \(--patience\): .*Connection refused" \
    "$TMP/events" --to "tcp://127.0.0.1:$(free_port)" --patience 1
sends "HTTP to the TCP door" 3 'not an HTTP/1.1 server: it said \{"reject":1' "$TMP/events" --to "http://$TCP"
sends "WebSocket to the TCP door" 3 'not an HTTP/1.1 server: it said \{"reject":1' "$TMP/events" --to "ws://$TCP"
sends "TCP to the HTTP door" 3 'not a ringmain TCP door: it said HTTP/1.1 400' "$TMP/events" --to "tcp://$HTTP"
tails "tail: the TCP door" 1 'this is no HTTP server' --to "ws://$TCP" --once
sends "no such path" 3 'refused with status 404' "$TMP/events" --to "http://$HTTP/none"
sends "no such path, WebSocket" 3 'refused: HTTP/1.1 404' "$TMP/events" --to "ws://$HTTP/none"
for door in "tcp://$TCP" "http://$HTTP" "ws://$HTTP"; do
    sends "${door%%:*}: a bad token" 3 'not a token' "$TMP/events" --to "$door" --token bad
    sends "${door%%:*}: stored without Postgres" 3 'postgres.conninfo' "$TMP/events" --to "$door" --ack stored
done
sends "a producer that breaks JSON" 3 'hello.producer: must be' "$TMP/events" --to "tcp://$TCP" --producer 'a"b\'
sends "a token that breaks JSON" 3 'refused: ' "$TMP/events" --to "tcp://$TCP" --token 'a"b'
head -c 3000 /dev/urandom >"$TMP/noise"
sends "noise over TCP" 1 'rejected: .*INVALID_JSON' "$TMP/noise" --to "tcp://$TCP"
sends "noise over HTTP" 1 'rejected: .*INVALID_JSON' "$TMP/noise" --to "http://$HTTP"
sends "noise over WebSocket" 3 'closed with 1007' "$TMP/noise" --to "ws://$HTTP"
sends "a host with several addresses" 0 '0 unacknowledged; 0 reconnects' "$TMP/events" --to "tcp://localhost:${TCP##*:}"
sends "and all is well otherwise" 0 '200 events: .* 0 rejected, 0 unacknowledged; 0 reconnects' "$TMP/events" --to "tcp://$TCP"
finish
