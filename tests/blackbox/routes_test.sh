#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The table of routes: the contract's, one of the configuration's own, and what is wrong with others.
. "$(dirname "$0")/lib.sh"

need_npm socket.io-client@4
SECRET=a-secret-of-the-routes-test-that-is-long-enough
start_postgres
for shards in 1 2; do
    [ "$shards" = 1 ] || drop_tables
    sql "create table projects(id text primary key, owner_id text, is_active boolean); insert into projects values('p1', 'bob', true)"
    start_ringmain -o "node.shards=$shards" -o auth.required=yes -o key.default.algorithm=HS256 -o "key.default.secret=$SECRET" \
        -o socketio.messages_per_minute=0 -o dashboard.interval_ms=100 \
        -o route.order.types=order_placed,order_paid -o 'route.order.has=data.orderId' -o 'route.order.to=project:{projectId}' \
        -o route.order.emit=order -o 'route.order.data=orderId, amount from data.total, who from data.by.name|userId, kind from type, source from "shop"' ||
        finish
    cases node "$BLACKBOX/routes.mjs" "$NPM" "$HTTP" "$TCP" "$SECRET"
    check "with $shards shards, what was shown is stored under the same id" \
        until_sql 1 "select count(*) from events where type = 'send_message' and data->>'message' like 'Gr%' and id ~ '^[0-9a-f-]{36}\$'"
    same "what is not to be kept is not" 0 "$(sql "select count(*) from events where type in ('typing_start', 'typing_stop', 'user_status')")"
    check "and messages are counted by type and tenant" \
        grep -q '^websocket_messages_total{type="send_message",tenant_id="t1"} ' <(curl -s "http://$METRICS/metrics")
    stop_ringmain
done

# SIGHUP: another table, without a connection being lost.
printf '[route note]\ntypes = note\nto = lobby\nemit = first\ndata = data\n' >"$TMP/live.conf"
start_ringmain -c "$TMP/live.conf" -o node.shards=2 || finish
"$PROGRAM" tail --to "ws://$HTTP" --room lobby -n 2 >"$TMP/seen" 2>"$TMP/seen.err" &
follower=$!
watching() { grep -q 'connected to' "$TMP/seen.err"; }
seen() { [ "$(wc -l <"$TMP/seen")" = "$1" ]; }
reread() { [ "$(grep -c 'SIGHUP: ' "$LOG")" = "$1" ]; }
note() { curl -s --max-time 20 "http://$HTTP/events" -d "{\"type\":\"note\",\"data\":$1}" >/dev/null; }
check "somebody watches" until_true 20 watching
note 1
check "the first table" until_true 20 seen 1
printf '[route note]\ntypes = note\nto = {lobby\nemit = second\n' >"$TMP/live.conf"
kill -HUP "$PID"
check "a table that is wrong is refused" until_true 20 reread 1
like "with where it is wrong" 'live.conf:3: \[route note\] to = ' "$(cat "$LOG")"
printf '[route note]\ntypes = note\nto = lobby\nemit = second\ndata = data\n' >"$TMP/live.conf"
kill -HUP "$PID"
check "one that is right is taken" until_true 20 reread 2
note 2
wait "$follower"
same "and holds, on the same connection" "first 1 second 2 1" \
    "$("$PYTHON" -c 'import json, sys
for message in map(json.loads, open(sys.argv[1])):
    print(message["event"], message["data"], end=" ")
print(open(sys.argv[2]).read().count("connected to"))' "$TMP/seen" "$TMP/seen.err")"
stop_ringmain

# What is wrong with a route stops the start, and says where.
wrong() { # name, what is to be said; the configuration is the standard input
    cat >"$TMP/ringmain.conf"
    "$PROGRAM" check -c "$TMP/ringmain.conf" >"$TMP/said" 2>&1 && echo 'it was taken' >>"$TMP/said"
    like "$1" "$2" "$(cat "$TMP/said")"
}
wrong "a room without its bracket" "ringmain.conf:3: \[route x\] to = \"user:\{userId\": allowed are \* \(everyone\), user:\{MEMBER\}" <<'C'
[route x]
types = a
to = user:{userId
emit = x
C
wrong "a route to nowhere" 'ringmain.conf:2: \[route x\] to = "": allowed are' <<'C'
[route x]
emit = x
C
wrong "a source that there is not" 'ringmain.conf:4: \[route x\] data = "y from user": allowed are event, data, or up to' <<'C'
[route x]
to = *
emit = x
data = id, y from user
C
wrong "a stream that there is not" 'ringmain.conf:2: \[route events\] streams = "orders": allowed are the names' <<'C'
[route events]
streams = events, orders
C
wrong "a scope that there is not" 'ringmain.conf:2: \[route broadcast\] scope = "root": allowed are ingest' <<'C'
[route broadcast]
scope = root
C
wrong "a name of Socket.IO's own" 'ringmain.conf:3: \[route x\] emit = "disconnect": needed is the name' <<'C'
[route x]
to = *
emit = disconnect
C
wrong "not kept, and of any type" 'ringmain.conf:4: \[route x\] stored = no: such a route needs types' <<'C'
[route x]
to = *
emit = x
stored = no
C
wrong "a key that there is not" 'ringmain.conf:2: unknown key tpyes in \[route x\]; did you mean types\?' <<'C'
[route x]
tpyes = a
C
wrong "all is well" '^the configuration is good: 3 streams, 0 keys, 10 routes$' <<'C'
[route broadcast]
enabled = no
C
finish
