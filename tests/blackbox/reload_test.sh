#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# SIGHUP: keys and limits change under load, and no connection notices; what is wrong changes nothing.
. "$(dirname "$0")/lib.sh"

CONF=$TMP/ringmain.conf
status() { curl -s --max-time 20 -o /dev/null -w '%{http_code}' "$@"; }
post() { status "http://$HTTP/events" -H "Authorization: Bearer $1" -d '{"type":"t"}'; } # token

# configure SECRET-FILE [LINE…]: the file that the next SIGHUP reads.
configure() {
    local secret=$1
    shift
    { printf '[key default]\nalgorithm = HS256\nsecret_file = %s\n' "$secret"; printf '%s\n' "$@"; } >"$CONF"
}

# A token that the present file's key has signed.
mint() { "$PROGRAM" token -c "$CONF" --user u --scope ingest; }

# hup WANTED: SIGHUP, and waits until it was read, or refused.
reloads() { curl -s --max-time 5 "http://$METRICS/metrics" | sed -n "s/^ringmain_reloads_total{result=\"$1\"} //p"; }
hup() {
    local before
    before=$(reloads "$1")
    kill -HUP "$PID"
    counted() { [ "$(reloads "$1")" = $((before + 1)) ]; }
    until_true 20 counted "$1"
}
says() { grep 'level=error room=reload' "$LOG" | tail -n "$1"; } # the last lines about what was refused

for name in a b c; do openssl rand -hex 32 | tr -d '\n' >"$TMP/secret.$name"; done
start_postgres
configure "$TMP/secret.a"
start_ringmain -c "$CONF" -o auth.required=yes -o node.shards=2 -o limits.idle_ms=60000 || finish
A=$(mint)
same "a token of the first key" 202 "$(post "$A")"
now_use() { echo "$1" >"$TMP/token.new" && mv "$TMP/token.new" "$TMP/token"; }
now_use "$A"
"$PYTHON" "$BLACKBOX/reload_load.py" >"$TMP/load.out" 2>&1 &
loader=$!

# ── keys, with overlap ──
configure "$TMP/secret.b" '[auth]' 'key_overlap_s = 300'
B=$(mint)
same "a token of a key that is not there yet" 401 "$(post "$B")"
check "SIGHUP: another secret" hup read
same "the new one's tokens" 202 "$(post "$B")"
same "the old one's, for a while" 202 "$(post "$A")"
now_use "$B"
to_and_fro() {
    local which
    for which in $(for n in $(seq 25); do echo a b; done); do
        configure "$TMP/secret.$which"
        hup read || return 1
        now_use "$(mint)"
    done
}
check "fifty times, to and fro, under load" to_and_fro
configure "$TMP/secret.c" '[auth]' 'key_overlap_s = 5'
check "SIGHUP: a third secret, five seconds of overlap" hup read
C=$(mint)
now_use "$C"
same "the second one's tokens still" 202 "$(post "$B")"
turned_away() { [ "$(post "$1")" = 401 ]; }
check "and then no more" until_true 20 turned_away "$B"
same "the first one's neither" 401 "$(post "$A")"
same "the third one's" 202 "$(post "$C")"

# ── what is wrong changes nothing ──
printf '[key default]\nalgoritm = HS256\nsecret_file = %s\n' "$TMP/secret.a" >"$CONF"
check "SIGHUP: a typing error is refused" hup refused
like "with its line" "$CONF:2: .*algoritm" "$(says 2)"
configure "$TMP/secret.nowhere"
check "SIGHUP: a secret that is not there is refused" hup refused
like "with its name" "SIGHUP: refused, everything stays as it was: .*secret.nowhere" "$(says 1)"
configure "$TMP/secret.a" '[limits]' 'idle_ms = 1'
check "SIGHUP: a value out of bounds is refused" hup refused
like "with what is allowed" 'idle_ms.*from 100' "$(says 2)"
rm "$CONF"
check "SIGHUP: no file is refused" hup refused
same "the third one's tokens, as before" 202 "$(post "$C")"
same "nobody else's" 401 "$(post "$A")"

touch "$TMP/stop"
wait "$loader"
cat "$TMP/load.out"
! grep -q '^not ok' "$TMP/load.out" || failures=$((failures + 1))

# ── limits, and what is open to all ──
configure "$TMP/secret.c" '[limits]' 'events_per_second = 3' '[cors]' 'origins = https://new.example' '[stats]' 'public = yes'
check "SIGHUP: limits and origins" hup read
burst=$(for n in 1 2 3 4 5 6; do echo '{"type":"t"}'; done | curl -s --max-time 20 "http://$HTTP/events" -H "Authorization: Bearer $C" \
    -H 'content-type: application/x-ndjson' --data-binary @-)
like "the limit holds" '"accepted":3,.*RATE_LIMITED' "$burst"
like "the origin may" 'Access-Control-Allow-Origin: https://new.example' \
    "$(curl -s -i -H 'Origin: https://new.example' "http://$HTTP/livez")"
same "the statistics are public" 200 "$(status "http://$HTTP/stats")"
configure "$TMP/secret.c" '[spool]' 'retain_stored_s = 5' '[log]' 'level = warn'
kill -HUP "$PID"
check "SIGHUP: what needs a restart is said" until_true 20 grep -q 'spool.retain_stored_s has changed, which takes effect at the next start' "$LOG"
stricter() { [ "$(status "http://$HTTP/stats")" = 401 ]; }
check "and the rest holds" until_true 20 stricter

# ── a key set, as an identity provider rotates it ──
key_set() { # KID=SECRET-FILE…
    local pair all=
    for pair in "$@"; do
        all+=${all:+,}$(printf '{"kty":"oct","alg":"HS256","kid":"%s","k":"%s"}' "${pair%%=*}" \
            "$(base64 -w 0 <"${pair#*=}" | tr '+/' '-_' | tr -d '=')")
    done
    echo "{\"keys\":[$all]}" >"$TMP/jwks.json"
}
signed_by() { # KID SECRET-FILE
    printf '[key %s]\nalgorithm = HS256\nsecret_file = %s\n' "$1" "$2" >"$TMP/signer.conf"
    "$PROGRAM" token -c "$TMP/signer.conf" --kid "$1" --user u --scope ingest
}
key_set "one=$TMP/secret.a"
printf '[auth]\njwks_file = %s\nkey_overlap_s = 0\n' "$TMP/jwks.json" >"$CONF"
check "SIGHUP: a key set" hup read
same "tokens of its key" 202 "$(post "$(signed_by one "$TMP/secret.a")")"
same "without overlap the key before it has ended at once" 401 "$(post "$C")"
key_set "one=$TMP/secret.a" "two=$TMP/secret.b"
check "SIGHUP: one key more" hup read
same "tokens of the new key" 202 "$(post "$(signed_by two "$TMP/secret.b")")"
same "and of the old one" 202 "$(post "$(signed_by one "$TMP/secret.a")")"
key_set "two=$TMP/secret.b"
check "SIGHUP: the old one taken out" hup read
same "its tokens are turned away" 401 "$(post "$(signed_by one "$TMP/secret.a")")"
echo '{"keys":[{' >"$TMP/jwks.json"
check "SIGHUP: half a key set is refused" hup refused
like "with its name" 'jwks.json: not a JSON Web Key Set' "$(says 1)"
same "the tokens of the key before, as before" 202 "$(post "$(signed_by two "$TMP/secret.b")")"

check "no secret and no token is in the log" bash -c '! grep -q -F -e eyJ -f <(cat "$TMP"/secret.?; echo) "$1"' _ "$LOG"
stop_ringmain
same "it drains and ends with 0" 0 $?

# ── no memory, at every allocation that it makes ──
if ! gcc -shared -fPIC -O1 -o "$TMP/failing_malloc.so" tests/tools/failing_malloc.c 2>"$TMP/said"; then
    not_ok "the failing malloc is built" "$(cat "$TMP/said")"
    finish
fi
configure "$TMP/secret.a" '[key rsa]' 'algorithm = ES256' "pem_file = $TMP/ec.pem" '[stream s]' 'columns = id text' 'types = s'
openssl ecparam -name prime256v1 -genkey -noout 2>/dev/null | openssl ec -pubout -out "$TMP/ec.pem" 2>/dev/null
head -c 8 /dev/zero >"$TMP/countdown"
FAILING_MALLOC=$TMP/countdown LD_PRELOAD=$TMP/failing_malloc.so start_ringmain -c "$CONF" -o auth.required=yes \
    -o auth.key_overlap_s=0 || finish # so that a configuration without its keys is seen at once
A=$(mint)
export TOKEN=$A
cases "$PYTHON" "$BLACKBOX/reload_memory.py"
same "it still knows its keys" 202 "$(post "$A")"
stop_ringmain
same "and drains and ends with 0" 0 $?
finish
