#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The Engine.IO test door with raw requests and stock clients, on one shard and on two: then a request may come to a
# shard that is not its session's.
. "$(dirname "$0")/lib.sh"

packages=$(sh tests/tools/npm.sh ws@8 engine.io-client@6 eio3@npm:engine.io-client@3) || {
    not_ok "npm brings ws and engine.io-client"
    finish
}
for shards in 1 2; do
    start_ringmain -o "node.shards=$shards" -o dedup.ids=65536 -o debug.echo=yes -o limits.output_bytes=4m \
        -o socketio.ping_interval_ms=300 -o socketio.ping_timeout_ms=200 -o socketio.upgrade_timeout_ms=250 || finish
    cases node "$BLACKBOX/engineio_door.mjs" "$packages" "$HTTP" 300 200
    stop_ringmain
    same "with $shards: it drains and ends with 0" 0 $?
    start_ringmain -o "node.shards=$shards" -o dedup.ids=65536 -o debug.echo=yes || finish
    cases node "$BLACKBOX/engineio_door.mjs" "$packages" "$HTTP" 25000 60000
    stop_ringmain
    same "with $shards: it drains and ends with 0 after a crowd" 0 $?
done
finish
