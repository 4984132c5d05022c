#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Socket.IO with packets made by hand and with stock clients 4, 3 and 2, by every transport, with one shard and with two.
. "$(dirname "$0")/lib.sh"

need_npm ws@8.18.3 socket.io-client@4.8.1 socket.io-client2@npm:socket.io-client@2.5.0 \
    socket.io-client3@npm:socket.io-client@3.1.3
export SECRET='a secret of the black-box tests, 32 bytes and more' LABEL
printf '%s' "$SECRET" >"$TMP/secret"
printf '[key default]\nalgorithm = HS256\nsecret_file = %s\n' "$TMP/secret" >"$TMP/keys.conf"

start_postgres
sql "create table projects (id text primary key, owner_id text, is_active boolean);
     insert into projects values ('mine', 'owner', true), ('theirs', 'other', true), ('asleep', 'owner', false)"

part() { cases timeout 300 node "$BLACKBOX/socketio.mjs" "$NPM" "$@"; }
end() {
    stop_ringmain
    same "$LABEL: it drains and ends with 0" 0 $?
}
secure=(-c "$TMP/keys.conf" -o auth.required=yes -o dedup.ids=65536)

for shards in 1 2; do
    LABEL="$shards shards"
    start_ringmain -o node.shards=$shards -o dedup.ids=65536 -o debug.echo=yes -o socketio.ping_interval_ms=300 \
        -o socketio.ping_timeout_ms=200 -o socketio.connect_timeout_ms=1000 || finish
    part protocol
    end
    start_ringmain "${secure[@]}" -o node.shards=$shards -o socketio.eio3=yes -o socketio.messages_per_minute=0 || finish
    RECOVERY_TRIES=6 part clients
    part old
    end
    start_ringmain "${secure[@]}" -o node.shards=$shards -o auth.leeway_s=0 -o socketio.messages_per_minute=5 \
        -o socketio.connections_per_user=2 -o socketio.connections_per_address=3 -o socketio.events_per_second=20 \
        -o socketio.idle_s=4 -o socketio.connect_timeout_ms=300 || finish
    part limits
    end
done
finish
