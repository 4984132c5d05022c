#!/usr/bin/env bash
# Includes point down only (the floors of the house), libraries stand behind their doors, and every include starts at the
# root. Prints "ok NAME" / "not ok NAME" lines.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0
say() { # name, offenders
    if [ -z "$2" ]; then echo "ok $1"; else echo "not ok $1"; echo "$2"; status=1; fi
}

# The floor of a file: ground 0, metrics 1, engine 2, proto 3, ws 4, batch 4 (sees proto), roof 5.
ground='must|span|buf|list|base64|crc32c|clock|file|socket|region|config(_[a-z]+)?|nearest|log|command'
roof='main|dead_letters|gateway[a-z_]*|serve[a-z_]*|server|settings|send[a-z_]*|check|tail[a-z_]*|token'
floor_of() {
    case $1 in
    metrics/*) echo 1 ;;
    proto/*) echo 3 ;;
    ws/* | batch/*) echo 4 ;;
    core/*)
        local name
        name=$(basename "$1" | sed 's/\..*//')
        if [[ $name =~ ^($ground)$ ]]; then echo 0; elif [[ $name =~ ^($roof)$ ]]; then echo 5; else echo 2; fi ;;
    *) echo 9 ;;
    esac
}

offenders=
while IFS=: read -r file include; do
    from=$(floor_of "$file")
    to=$(floor_of "$include")
    same_room=no
    [ "$(dirname "$file")" = "$(dirname "$include")" ] && same_room=yes
    if [ "$to" -gt "$from" ] || { [ "$to" -eq "$from" ] && [ "$from" -eq 4 ] && [ $same_room = no ]; }; then
        offenders+="  $file includes $include"$'\n'
    fi
done < <(grep -HoE '^#include "[^"]+"' core/*.[ch] proto/*.[ch] ws/*.[ch] batch/*.[ch] metrics/*.[ch] 2>/dev/null |
    sed 's/#include "//; s/"$//')
say "includes point down only" "$offenders"

say "includes start at the root" \
    "$(grep -nE '^#include "[^/"]+"' core/*.[ch] proto/*.[ch] ws/*.[ch] batch/*.[ch] metrics/*.[ch] 2>/dev/null)"

door() { # library header pattern, the one file allowed
    local found
    found=$(grep -lE "^#include <($1)>" core/*.[ch] proto/*.[ch] ws/*.[ch] batch/*.[ch] metrics/*.[ch] 2>/dev/null |
        grep -vxE "$2")
    say "only $2 includes <$1>" "$found"
}
door 'liburing\.h' 'core/ring\.c'
door 'libpq-fe\.h' 'batch/(postgres|directory)\.[ch]'
door 'jwt\.h' 'proto/jwt[a-z_]*\.c'
door 'llhttp(/llhttp)?\.h' 'proto/http_head\.c'
door 'zlib\.h' '(proto/gunzip|ws/deflate)\.c'
door 'ini\.h' 'core/config_file\.c'
door 'openssl/.*' '(proto/jwt_(pem|cache)|ws/handshake)\.c'

say "no mutable globals outside log sites" \
    "$(grep -nE '^(static )?(_Atomic )?(bool|int|unsigned|u?int[0-9]+_t|size_t|char|struct [a-z_]+) \*?[a-z_]+(\[[^]]*\])?( = [^(]*)?;' \
        core/*.c proto/*.c ws/*.c batch/*.c metrics/*.c 2>/dev/null | grep -v const)"
exit $status
