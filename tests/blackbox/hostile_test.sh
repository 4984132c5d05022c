#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A hostile client tries every way in and must see nothing; and no token reaches the log or a metric.
. "$(dirname "$0")/lib.sh"

need_npm socket.io-client@4.8.1 ws@8.18.3 eventsource@3.0.7
export SECRET='a secret of the black-box tests, 32 bytes and more' LABEL
export RSA_PRIVATE=$TMP/rsa.pem RSA_PUBLIC=$TMP/rsa.pub
printf '%s' "$SECRET" >"$TMP/secret"
openssl genrsa -out "$RSA_PRIVATE" 2048 2>/dev/null && openssl rsa -in "$RSA_PRIVATE" -pubout -out "$RSA_PUBLIC" 2>/dev/null
printf '[key default]\nalgorithm = HS256\nsecret_file = %s\n[key rsa]\nalgorithm = RS256\npem_file = %s\n' \
    "$TMP/secret" "$RSA_PUBLIC" >"$TMP/keys.conf"

start_postgres
for shards in 1 2; do
    sql "create table projects (id text primary key, owner_id text, is_active boolean);
         insert into projects values ('mine', 'owner-1', true), ('theirs', 'owner-2', true)"
    start_ringmain -c "$TMP/keys.conf" -o auth.required=yes -o auth.leeway_s=0 -o auth.failures_per_minute=100000 \
        -o node.shards=$shards -o log.level=debug -o dedup.ids=65536 || finish
    for way in polling websocket; do
        LABEL="$shards shards, $way"
        cases timeout 300 node "$BLACKBOX/live/hostile.mjs" "$NPM" $way
    done
    LABEL="$shards shards"
    # A token in three parts, or the middle of one.
    same "$LABEL: no token is in a metric" 0 "$(curl -s "http://$METRICS/metrics" | grep -cE 'eyJ[A-Za-z0-9_-]{8}')"
    stop_ringmain
    same "$LABEL: it drains and ends with 0" 0 $?
    drop_tables
done
same "no token is in the log" 0 "$(grep -cE 'eyJ[A-Za-z0-9_-]{8}' "$LOG")"
finish
