#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Crowds, by the load client of perf/, which checks every message: nothing lost, doubled or out of order, by WebSocket and
# by Socket.IO, on one shard and two, also beside a subscriber that is stopped; and what an idle Socket.IO connection takes.
. "$(dirname "$0")/lib.sh"

LOAD=build/release/perf/load/load
[ -x $LOAD ] || make --no-print-directory $LOAD >/dev/null || { not_ok "the load client is built"; finish; }
ulimit -n "$(ulimit -Hn)"
IDLE=${IDLE:-5000}
allowed=$((($(ulimit -n) - 200) / 2 * 2))
[ "$IDLE" -lt "$allowed" ] || IDLE=$allowed
SOCKETIO=(kind=socketio 'path=/socket.io/?EIO=4&transport=websocket')
export SECRET='a secret of the black-box tests, 32 bytes and more'
printf '%s' "$SECRET" >"$TMP/secret"
printf '[key default]\nalgorithm = HS256\nsecret_file = %s\n' "$TMP/secret" >"$TMP/keys.conf"
"$PYTHON" - >"$TMP/token" <<'END'
import base64, hashlib, hmac, json, os, time
part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")
text = part({"alg": "HS256"}) + b"." + part({"sub": "crowd", "tenantId": "t", "exp": int(time.time()) + 3600})
signature = hmac.new(os.environ["SECRET"].encode(), text, hashlib.sha256).digest()
print((text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode())
END

# all_there NAME LOAD'S ARGUMENTS…: a run of two seconds in which every subscriber gets everything.
all_there() {
    local name=$1 out
    shift
    out=$(echo 2 | timeout 120 $LOAD fan to="$HTTP" "$@" 2>&1)
    like "$name: nothing is lost" '"delivered":[1-9][0-9]*,.*"lost":0,"duplicate":0,"reordered":0,' "$out"
}

# hold COUNT ARGUMENTS…: connections that do nothing, by a coprocess that ends when it is let go.
hold() {
    local count=$1 line=
    shift
    coproc crowd { exec $LOAD hold connections="$count" to="$HTTP" "$@" 2>"$TMP/hold.err"; }
    crowd_pid=$!
    read -r -t 60 line <&"${crowd[0]}"
    same "$count are there" "open $count" "${line:-nothing; $(cat "$TMP/hold.err")}"
}
let_go() {
    eval "exec ${crowd[1]}>&-"
    wait "$crowd_pid"
}
memory() { awk '/^Rss(Anon|Shmem):/ { sum += $2 } END { print sum * 1024 }' "/proc/$PID/status"; }
nobody() { [ "$(metric ringmain_connections)" = 0 ]; }
overrun() { [ "$(metric ringmain_live_overruns_total)" = 1 ]; }

start_postgres
for shards in 1 2; do
    start_ringmain -o node.shards=$shards -o dedup.ids=65536 -o debug.echo=yes -o live.queue_bytes=256k \
        -o limits.output_bytes=256k || finish
    all_there "$shards: WebSocket, at full speed" path=/sub connections=300 batch=32 window=4
    all_there "$shards: WebSocket, 500 a second" path=/sub connections=300 rate=500
    hold 1 path=/sub
    kill -STOP "$crowd_pid"
    for _ in $(seq 40); do
        all_there "$shards: beside one that is stopped" path=/sub connections=50 batch=32 window=4 bytes=1000
        ! overrun || break
    done >"$TMP/runs"
    same "$shards: beside one that is stopped nothing is lost" 0 "$(grep -vc '^ok' "$TMP/runs")"
    check "$shards: and that one has been given up" overrun
    kill -KILL "$crowd_pid"
    wait "$crowd_pid" 2>/dev/null
    stop_ringmain
    same "$shards: it drains and ends with 0" 0 $?

    start_ringmain -o node.shards=$shards -o dedup.ids=65536 || finish
    all_there "$shards: Socket.IO, at full speed" "${SOCKETIO[@]}" publish=/api/publish 'target={"room":"r"}' room=r \
        connections=300 batch=16 window=2
    all_there "$shards: Socket.IO, 500 a second" "${SOCKETIO[@]}" publish=/api/publish 'target="all"' room=r connections=300 \
        rate=500
    stop_ringmain
    same "$shards: it drains and ends with 0" 0 $?
done

# As idle_test.sh: what a ringmain with room for many takes beyond one with room for few is the connections'.
open_to() {
    start_ringmain -c "$TMP/keys.conf" -o auth.required=yes -o node.shards=1 -o dedup.ids=65536 \
        -o limits.connections="$1" || finish
}
open_to 300
hold 200 "${SOCKETIO[@]}" tokens="$TMP/token"
let_go
check "and gone" until_true 20 nobody
before=$(memory)
stop_ringmain
open_to $((IDLE + 100))
hold "$IDLE" "${SOCKETIO[@]}" tokens="$TMP/token"
each=$((($(memory) - before) / IDLE))
echo "# $each bytes of ringmain's memory for each of $IDLE authenticated Socket.IO connections"
[ "$each" -le 8192 ]
same "an idle authenticated Socket.IO connection takes 8 KiB at most" 0 $?
let_go
check "all are gone when the clients are" until_true 20 nobody
stop_ringmain
same "it drains and ends with 0" 0 $?
finish
