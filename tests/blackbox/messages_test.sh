#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# GET /messages, as the dashboard of the message buffer polls it: what POST /messages took, out of Postgres.
. "$(dirname "$0")/lib.sh"

get() { curl -s --max-time 20 "http://$HTTP/messages$1"; }
status() { curl -s --max-time 20 -o /dev/null -w '%{http_code}' "$@"; }
post() { # user, channel, content
    status "http://$HTTP/messages?ack=stored" -H 'content-type: application/json' \
        -d "{\"user_id\":$1,\"channel_id\":$2,\"content\":\"$3\"}"
}
answered() { [ "$(status "http://$HTTP/messages")" = 200 ]; }
field() { "$PYTHON" -c 'import json, sys; print(" ".join(str(m[sys.argv[1]]) for m in json.load(sys.stdin)))' "$1"; }

start_postgres
start_ringmain -o node.shards=2 -o directory.timeout_ms=5000 || finish
# The writer makes the table once it has connected; until then the answer is 503.
check "there is a table" until_true 30 answered
same "before the first message there is none" '[]' "$(get '')"
for n in 1 2 3 4 5; do
    same "POST /messages $n" 202 "$(post "$n" $((n % 2)) "Test $n")"
done
same "newest first" "5 4 3 2 1" "$(get '' | field user_id)"
same "a page" "5 4" "$(get '?limit=2' | field id)"
same "the next page" "3 2" "$(get '?limit=2&before=4' | field id)"
same "one channel" "Test 4 Test 2" "$(get '?channel_id=0' | field content)"
like "as the API that it stands for shows them" \
    '^\[\{"id":5,"user_id":5,"channel_id":1,"content":"Test 5","created_at":"20[0-9-]+T[0-9:.]+\+00:00"\}\]$' "$(get '?limit=1')"
same "limit=0 is unprocessable" 422 "$(status "http://$HTTP/messages?limit=0")"
like "and says why" '"loc":\["query","limit"\]' "$(get '?limit=0')"
same "curl -I" 200 "$(status -I "http://$HTTP/messages")"
like "who has shut down its sending end still gets the answer" '"id":5' \
    "$(printf 'GET /messages HTTP/1.1\r\nHost: h\r\n\r\n' | nc -N -w 20 "${HTTP%:*}" "${HTTP##*:}")"
like "pipelined, each gets its own, in order" '^\[\{"id":5.*\[\{"id":4.*\{"status":"ok"\}$' \
    "$(printf 'GET /messages?limit=1 HTTP/1.1\r\nHost: h\r\n\r\nGET /messages?limit=1&before=5 HTTP/1.1\r\nHost: h\r\n\r\nGET /livez HTTP/1.1\r\nHost: h\r\n\r\n' |
        nc -N -w 20 "${HTTP%:*}" "${HTTP##*:}" | grep -a '^[[{]' | tr -d '\n')"
seq 400 | xargs -P 40 -I{} curl -s --max-time 20 -o /dev/null -w '%{http_code}\n' "http://$HTTP/messages?limit=3" |
    sort | uniq -c | tr -s ' ' >"$TMP/codes"
same "400 at a time, or nearly so" ' 400 200' "$(cat "$TMP/codes")"

# One question hangs in Postgres: nobody else waits for it but who asks Postgres too.
sql 'begin; lock table messages; select pg_sleep(3); commit' >"$TMP/lock" &
locker=$!
until_sql t "select exists (select from pg_locks where relation = 'messages'::regclass and granted and mode = 'AccessExclusiveLock')"
get '?limit=1' >"$TMP/waited" &
waiter=$!
same "events are taken while it waits" 202 "$(status "http://$HTTP/events" -d '{"type":"t"}')"
wait "$waiter" "$locker"
like "and it is answered in the end" '"id":5' "$(cat "$TMP/waited")"

stop_postgres
same "without Postgres it is 503" 503 "$(status "http://$HTTP/messages")"
like "with when to come again" 'Retry-After: 1' "$(curl -s -i --max-time 20 "http://$HTTP/messages")"
start_postgres
check "Postgres is back, and so are they" until_true 30 answered
sql 'alter table messages rename content to text'
same "a table that does not fit is 503" 503 "$(status "http://$HTTP/messages")"
like "and the log says what is wrong with it" 'GET /messages: column .*content.* does not exist.*42703' "$(cat "$LOG")"
sql 'alter table messages rename text to content'
same "mended, it is 200 again" 200 "$(status "http://$HTTP/messages")"
check "look-ups are counted" until_true 20 metric_at_least ringmain_directory_lookups_total 400
stop_ringmain
same "it drains and ends with 0" 0 $?
start_ringmain -o auth.required=yes || finish
same "without a token it is 401" 401 "$(status "http://$HTTP/messages")"
finish
