#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Rows that Postgres refuses in spite of the doors' checks (poison_corpus.py): every good row is stored once and in order,
# every bad one stands in the dead letters with its bytes, its reason and its SQLSTATE, and can be taken out, or stored
# when its table has been mended. What is not the row's fault holds the stream, and nothing is buried.
# FULL=1: every case in batches of 10,000 rows; else only some, and the others in batches of 300.
. "$(dirname "$0")/lib.sh"

corpus() { PYTHONPATH=$BLACKBOX "$PYTHON" "$BLACKBOX/poison.py" "$@"; }
dead_letters() { "$PROGRAM" dead-letters "$1" -c "$TMP/$group.conf" -o "postgres.conninfo=$clerk" "${@:2}"; }

# A database and a ringmain whose role owns none of the streams' tables.
start_group() {
    group=$1
    corpus config "$group" >"$TMP/$group.conf"
    corpus tables "$group" >"$TMP/$group.sql"
    PGOPTIONS='-c client_min_messages=warning' psql -X -q -v ON_ERROR_STOP=1 -d "$PG" -f "$TMP/$group.sql" || exit 1
    sql "grant create, usage on schema public to clerk; grant select, insert on all tables in schema public to clerk"
    clerk=${PG/user=ringmain/user=clerk}
    start_ringmain -c "$TMP/$group.conf" -o "postgres.conninfo=$clerk" -o "spool.directory=$TMP/spool-$group" \
        -o node.shards=1 -o batch.linger_ms=60 -o postgres.hold_retry_ms=50 -o postgres.retry_min_ms=10
}

in_database() { PG=${server/dbname=ringmain/dbname=$1}; }

start_postgres autovacuum=off
server=$PG
sql "create role clerk login"

# ── the rows' fault ──────────────────────────────────────────────────────────────────────────────

start_group utf8
if [ -n "${FULL:-}" ]; then
    cases corpus run utf8 "$HTTP" 10000
else
    cases corpus run utf8 "$HTTP" 300
    cases corpus run utf8 "$HTTP" 10000 p_check p_unique p_index_row p_no_partition p_raise_deferred
fi
cases corpus changes "$HTTP"

# ── the dead letters ─────────────────────────────────────────────────────────────────────────────

dead=$(sql "select count(*) from ringmain_dead_letters")
dead_letters list >"$TMP/list"
same "list: a line each, and a head" $((dead + 1)) "$(wc -l <"$TMP/list")"
like "list: says what there is to say" \
    $'^blackbox\t0\t[0-9]+\tp_varchar\t22001\t20[-0-9]+T[:.0-9]+Z\t-\tvalue too long' "$(grep p_varchar "$TMP/list")"
same "list: by SQLSTATE" "$(sql "select count(*) from ringmain_dead_letters where sqlstate = '22001'")" \
    "$(dead_letters list --sqlstate 22001 | tail -n +2 | wc -l)"
same "list: by stream, no more than two" 2 "$(dead_letters list --stream=p_check -n 2 | tail -n +2 | grep -c p_check)"
dead_letters export >"$TMP/export"
cases corpus exported "$TMP/export"

dead_letters retry --stream p_check >"$TMP/retry" 2>"$TMP/retry.err"
same "retry: nothing was mended" 1 $?
like "retry: says so" '^0 stored, [36] refused again$' "$(cat "$TMP/retry")"
like "retry: says which and why" 'shard 0, event [0-9]+ \(stream p_check\): refused again: .*check constraint' \
    "$(cat "$TMP/retry.err")"
same "retry: they are where they were" "$dead" "$(sql "select count(*) from ringmain_dead_letters")"

# retry_misfit HARM WHAT_IT_SAYS MENDING
retry_misfit() {
    sql "alter table p_check $1"
    dead_letters retry --stream p_check -n 1 >"$TMP/retry" 2>"$TMP/retry.err"
    same "retry: $1: exit status" 1 $?
    like "retry: $1: says what to do" "$2" "$(cat "$TMP/retry.err")"
    sql "alter table p_check $3"
}
back='and the row was written for text\. Change the column.s type back and retry, or export the row and send its event again$'
sql "alter table p_check drop constraint p_check_v_check"
retry_misfit "alter v type bytea using convert_to(v, 'UTF8')" \
    "refused again: column v of table \"p_check\" is bytea now, $back" "alter v type text using convert_from(v, 'UTF8')"
retry_misfit "alter n type int" "refused again: column n of table \"p_check\" is integer now, ${back/text/bigint}" \
    "alter n type bigint"
retry_misfit "rename v to w" 'table "p_check" has no column v \(text\) now, and the row has one\. Add it and retry' \
    "rename w to v"
sql "alter table p_check add check (v <> 'bad')"
same "retry: after all that they are where they were" "$dead" "$(sql "select count(*) from ringmain_dead_letters")"

corpus mend | psql -X -q -v ON_ERROR_STOP=1 -d "$PG"
sql "grant select, insert on all tables in schema public to clerk"
mended=$(corpus mended)
list="'${mended//$'\n'/"','"}'"
fit=$(sql "select count(*) from ringmain_dead_letters where stream in ($list)")
retry_mended() {
    for name in $mended; do dead_letters retry --stream "$name"; done | awk '{ n += $1 } END { print n }'
}
retry_mended >"$TMP/one" 2>"$TMP/one.err" &
other=$!
retry_mended >"$TMP/two" 2>"$TMP/two.err"
wait "$other"
same "retry: two at once store each row once" "$fit" $(($(cat "$TMP/one") + $(cat "$TMP/two")))
like "retry: the others are left" "$((dead - fit))" "$(sql "select count(*) from ringmain_dead_letters")"
for name in $mended; do
    same "retry: $name is whole again" t "$(sql "select count(n) = max(n) + 1 and count(n) = count(distinct n) from $name")"
done
like "retry: nothing is left to do" '^0 stored, 0 refused again$' "$(dead_letters retry --stream p_check)"

# Columns that the stream has no longer: the letter knows its own.
sed -e '/stream p_unique\]/,/columns/s/^columns.*/columns = n bigint from data.n/' "$TMP/$group.conf" >"$TMP/other.conf"
like "export: a stream that has changed meanwhile" '"row":\{"n":[0-9]+,"v":"\\\\x74616b656e"\}' \
    "$("$PROGRAM" dead-letters export -c "$TMP/other.conf" -o "postgres.conninfo=$clerk" -s p_unique -n 1)"

dead_letters list -o "postgres.conninfo=$clerk dbname=absent" 2>"$TMP/err"
same "no such database: exit status 3" 3 $?
like "no such database: says so" 'database "absent" does not exist' "$(cat "$TMP/err")"
dead_letters bury 2>/dev/null
same "no such action: exit status 2" 2 $?

# ── not the rows' fault ──────────────────────────────────────────────────────────────────────────

buried=$(sql "select count(*) from ringmain_dead_letters")
fifty() {
    local first
    first=$sent
    sent=$((sent + 50))
    for ((i = first; i < sent; i++)); do echo "{\"type\":\"control\",\"data\":{\"n\":$i,\"v\":\"x\"}}"; done |
        curl -sf "http://$HTTP/events" -H 'content-type: application/x-ndjson' --data-binary @- >/dev/null
}

# held NAME HARM WHAT_THE_LOG_SAYS MENDING [BURIED]: all 150 rows are stored in the end, but for BURIED (0).
held() {
    local from stored=$((150 - ${5:-0}))
    sent=1000000
    sql "delete from control"
    fifty
    until_rows 50 control >"$TMP/said" || not_ok "$1: well before" "$(cat "$TMP/said")"
    from=$(($(wc -l <"$LOG") + 1))
    says() { tail -n "+$from" "$LOG" | grep -qE "held until it is mended: .*$1"; }
    sql "$2"
    check "$1: fifty are taken" fifty
    check "$1: the log says what to mend" until_true 20 says "$3"
    same "$1: so does the metric" 1 "$(metric ringmain_streams_held)"
    check "$1: fifty more are taken" fifty
    sql "$4"
    check "$1: all are stored when it is mended" until_sql "$stored|$stored" "select count(*), count(distinct n) from control"
    same "$1: ${5:-none} is buried" $((buried + ${5:-0})) "$(sql "select count(*) from ringmain_dead_letters")"
}

held "a dropped column" "alter table control drop column v" "column v" "alter table control add column v text"
held "a column of another type" "alter table control alter n type int" "column n of table control is integer" \
    "alter table control alter n type bigint"
held "a type that takes the bytes as well" "alter table control alter v type bytea using v::bytea" \
    "column v of table control is bytea, the stream needs text" "alter table control alter v type text using convert_from(v, 'UTF8')"
held "a new column that must be filled" "alter table control add w int not null default 1; alter table control alter w drop default" \
    "column w of table control is NOT NULL" "alter table control drop column w"
held "a revoked right" "revoke insert on control from clerk" "permission denied for table control" \
    "grant insert on control to clerk"
held "a sequence that may not be used" "create sequence p_numbers; alter table control add w bigint default nextval('p_numbers')" \
    "permission denied for sequence p_numbers" "grant usage on sequence p_numbers to clerk"
held "row-level security" "alter table control enable row level security" "row-level security" \
    "alter table control disable row level security"
held "a trigger that calls what is not there" "create function p_broken() returns trigger language plpgsql as
    \$\$ begin perform nowhere(new.v); return new; end \$\$; create trigger p_broken before insert on control
    for each row execute function p_broken()" "function nowhere" "drop trigger p_broken on control"
held "dead letters that can't be written" "alter table control add check (n <> 1000050);
    alter table ringmain_dead_letters owner to ringmain; revoke all on ringmain_dead_letters from clerk" \
    "permission denied for table ringmain_dead_letters" "alter table ringmain_dead_letters owner to clerk" 1
check "ringmain stops well" stop_ringmain

# ── other encodings ──────────────────────────────────────────────────────────────────────────────

for name in latin1 sql_ascii; do
    in_database ringmain
    sql "create database $name encoding '$name' locale 'C' template template0"
    in_database "$name"
    start_group "$name"
    cases corpus run "$name" "$HTTP" 300
    check "$name: ringmain stops well" stop_ringmain
done
finish
