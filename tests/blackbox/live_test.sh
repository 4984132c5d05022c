#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The doors for subscribers without a protocol of their own, and the HTTP API of the hub: on one shard and on two, with
# python3-websockets, event streams read byte by byte, and npm's EventSource.
. "$(dirname "$0")/lib.sh"

printf 'a secret of the black-box tests, 32 bytes and more' >"$TMP/secret"
printf '[key default]\nalgorithm = HS256\nsecret_file = %s\n' "$TMP/secret" >"$TMP/keys.conf"
start_postgres

# Four curls that listen, and what they end with.
pids=()
listeners() {
    local i
    pids=()
    for i in 1 2 3 4; do
        { curl -s -N --max-time 60 "http://$HTTP/sse?room=last" >"$TMP/heard.$i"; echo $? >"$TMP/code.$i"; } &
        pids+=($!)
    done
    for i in 1 2 3 4; do until_true 20 grep -q '^id: ' "$TMP/heard.$i" || not_ok "curl $i hears the stream"; done
}

for SHARDS in 1 2; do
    export SHARDS
    start_ringmain -o "node.shards=$SHARDS" -o debug.echo=yes -o live.heartbeat_ms=300 -o live.retry_ms=700 || finish
    cases "$PYTHON" "$BLACKBOX/live_door.py" open
    need_npm eventsource@2.0.2
    cases node "$BLACKBOX/live_door.mjs" "$NPM"
    listeners
    stop_ringmain
    same "$SHARDS shards: it drains and ends with 0" 0 $?
    wait "${pids[@]}"
    same "$SHARDS shards: streams end in order when it stops" "0 0 0 0" "$(cat "$TMP"/code.[1-4] | paste -sd ' ')"
    start_ringmain -c "$TMP/keys.conf" -o "node.shards=$SHARDS" -o auth.required=yes -o auth.leeway_s=0 \
        -o auth.failures_per_minute=1000 -o 'live.presence=watched-*' || finish
    cases "$PYTHON" "$BLACKBOX/live_door.py" strict
    check "no token is in the log" bash -c '! grep -q eyJ "$1"' _ "$LOG"
    stop_ringmain
    same "$SHARDS shards, tokens required: it drains and ends with 0" 0 $?
    start_ringmain -o "node.shards=$SHARDS" -o live.queue_bytes=1m -o limits.output_bytes=256k || finish
    cases "$PYTHON" "$BLACKBOX/live_door.py" slow
    stop_ringmain
    same "$SHARDS shards, a slow reader: it drains and ends with 0" 0 $?
done
finish
