#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The clients that the source documents describe, with stock socket.io-client, ws and eventsource: with one shard and
# with two, by polling alone, by WebSocket alone, and by polling that is upgraded. See tests/blackbox/live/.
. "$(dirname "$0")/lib.sh"

need_npm socket.io-client@4.8.1 ws@8.18.3 eventsource@3.0.7
export SECRET='a secret of the black-box tests, 32 bytes and more' LABEL
printf '%s' "$SECRET" >"$TMP/secret"
printf '[key default]\nalgorithm = HS256\nsecret_file = %s\n' "$TMP/secret" >"$TMP/keys.conf"

start_postgres
tables() {
    sql "create table projects (id text primary key, owner_id text, is_active boolean);
         insert into projects values ('mine', 'owner-1', true), ('mine-too', 'owner-1', true), ('theirs', 'owner-2', true),
             ('asleep', 'owner-1', false)"
}
stored() { sql "select count(*) from $1 where $2"; }

# The hook of [001] is connected, loses its server, and finds it again.
hook() {
    rm -f "$TMP/hook"
    HOOK=$TMP/hook node "$BLACKBOX/live/stats.mjs" "$NPM" websocket 2>"$TMP/hook.err" &
    local hook_pid=$!
    check "$LABEL: the hook is connected" until_true 20 grep -qx 1 "$TMP/hook"
    stop_ringmain
    same "$LABEL: ringmain drains and ends with 0" 0 $?
    restart_ringmain || finish
    check "$LABEL: the hook is connected again" until_true 20 grep -qx 2 "$TMP/hook"
    kill "$hook_pid"
    wait "$hook_pid" 2>/dev/null
}

for shards in 1 2; do
    tables
    start_ringmain -c "$TMP/keys.conf" -o auth.required=yes -o node.shards=$shards -o dedup.ids=65536 || finish
    for way in polling websocket upgrade; do
        LABEL="$shards shards, $way"
        [ $shards -ne 1 ] || LABEL="1 shard, $way"
        for example in analytics chat preview; do
            cases timeout 300 node "$BLACKBOX/live/$example.mjs" "$NPM" $way
        done
    done
    for example in stats cart; do
        cases timeout 300 node "$BLACKBOX/live/$example.mjs" "$NPM" websocket
    done
    hook
    LABEL="$shards shards"
    check "$LABEL: what the routes store is stored" until_sql t "select count(*) > 0 from events where type = 'send_message'"
    same "$LABEL: what they do not is not" 0 "$(stored events "type in ('typing_start', 'typing_stop', 'user_status')")"
    same "$LABEL: of 65 messages in a minute 60 were taken" 0 \
        "$(sql "select count(*) from (select user_id from events where type = 'test' group by 1 having count(*) <> 60) t")"
    stop_ringmain
    same "$LABEL: it drains and ends with 0" 0 $?
    drop_tables
done
finish
