#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The TCP door, CONTRACTS.md 1 and 3: nc, and a producer written from the contract alone (kit.py).
. "$(dirname "$0")/lib.sh"

file=$(event_file)
start_postgres
start_ringmain -o node.shards=2 -o limits.producers=64

# ── no client at all ─────────────────────────────────────────────────────────────────────────────

same "nc < file, no hello: nothing is said" "" "$(nc_tcp <"$file")"
check "nc < file: every event is stored" until_rows 9999
same "a last line without its newline: nothing is said" "" \
    "$(printf '{"type":"plain","id":"first"}\n{"type":"plain","id":"last"}' | nc_tcp)"
check "a last line without its newline is an event too" until_rows 2 "events where type = 'plain'"
same "CRLF and blank lines: nothing is said" "" \
    "$(head -n 100 "$file" | sed 's/"id":"wa-/"id":"crlf-/; s/$/\r\n\r/' | nc_tcp)"
check "CRLF and blank lines are tolerated" until_rows 100 "events where id like 'crlf-%'"
same "CRLF changes no event" 0 "$(sql "
    select count(*) from events a where id like 'crlf-%' and not exists (
        select from events b where b.id = replace(a.id, 'crlf-', 'wa-') and b.data = a.data and b.type = a.type)")"
like "what is refused is said without a hello too" '^\{"reject":2,"code":"INVALID_JSON","message":".+"\}$' \
    "$(printf '{"type":"near","id":"n1"}\nno json\n{"type":"near","id":"n3"}\n' | nc_tcp)"
check "and its neighbours are kept" until_rows 2 "events where type = 'near'"
printf '{"plan":"pro","n":1}\n' | nc_tcp
check "a bare object is the data of an event" \
    until_sql '{"n": 1, "plan": "pro"}' "select data from events where type = 'event'"
check "nothing else was stored" until_rows 10104

# ── a producer ───────────────────────────────────────────────────────────────────────────────────

cases "$PYTHON" "$BLACKBOX/tcp_hello.py"
cases "$PYTHON" "$BLACKBOX/tcp_refusals.py"
cases "$PYTHON" "$BLACKBOX/tcp_producers.py"
check "ringmain stops well" stop_ringmain

# ── tokens ───────────────────────────────────────────────────────────────────────────────────────

drop_tables
cat >"$TMP/tokens.conf" <<CONF
[key default]
algorithm = HS256
secret = a secret of this test, thirty-two bytes and more
[key other]
algorithm = HS256
secret = another secret that is long enough for HS256, too
CONF
token() { "$PROGRAM" token -c "$TMP/tokens.conf" "$@"; }
start_ringmain -c "$TMP/tokens.conf" -o auth.required=yes -o limits.events_per_second=0
TOKEN=$(token --user u1 --tenant t1 --scope ingest)
TOKEN_ANY=$(token --user u1 --tenant t1 --scope "ingest ingest:any")
TOKEN_OTHER=$(token --user u2 --tenant t1 --scope ingest --kid other)
export TOKEN TOKEN_ANY TOKEN_OTHER
like "no token: UNAUTHORIZED" '"error":\{"code":"UNAUTHORIZED","message":".*token' \
    "$(printf '{"type":"a"}\n' | nc_tcp)"
like "no token and no newline: UNAUTHORIZED" '"error":\{"code":"UNAUTHORIZED"' "$(printf '{"type":"a"}' | nc_tcp)"
cases "$PYTHON" "$BLACKBOX/tcp_tokens.py"
same "send with a token" 0 "$(send "$file" --ack stored --token "$TOKEN_ANY" >/dev/null 2>&1; echo $?)"
same "send without one" 3 "$(send "$file" >/dev/null 2>&1; echo $?)"
same "exactly what was permitted is stored" 10009 "$(sql 'select count(*) from events')"
check "ringmain stops well" stop_ringmain

# ── limits ───────────────────────────────────────────────────────────────────────────────────────

start_ringmain -o limits.events_per_second=100 -o tcp.ack_interval_ms=200 -o limits.header_ms=300
cases "$PYTHON" "$BLACKBOX/tcp_limits.py"
check "ringmain stops well" stop_ringmain
finish
