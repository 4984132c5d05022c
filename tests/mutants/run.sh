#!/usr/bin/env bash
# The gate of the simulation: bugs that it has to see. Each tests/mutants/NAME.patch is planted in a copy of the tree (the
# work tree is left alone), what it changes is built, and seeds are run until the first one fails.
#   run.sh [NAME …]     these only; else all
#   SHORT=1             those of tests/mutants/short only
#   SEEDS=n             a bug that so many seeds do not see has survived (20,000)
# A patch that does not apply, or does not build, is a failure: what it was to show has moved, and it has to be written anew.
set -uo pipefail
cd "$(dirname "$0")/../.."
seeds=${SEEDS:-20000}
status=0
caught=0
work=$(mktemp -d "${TMPDIR:-/tmp}/ringmain-mutants-XXXXXX")
trap 'rm -rf "$work"' EXIT

# The tree as it stands, with what of it has been built.
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -p -t "$work" 2>/dev/null
mkdir -p "$work/build/release/tests"
for room in core proto ws batch metrics llhttp tests/sim; do
    [ -d "build/release/$room" ] && cp -a "build/release/$room" "$work/build/release/$room"
done

build() { # what a mutant changes need not be fast, only built soon; nor need it be free of warnings
    make --no-print-directory -j"$(nproc)" -C "$work" BUILD=release CFLAGS="$1" sims >"$work/log" 2>&1
}

# Out again: sources and objects are put back with their times, so that nothing else is built anew.
restore() {
    local object
    for object in "$work"/saved/*; do
        [ -e "$object" ] && cp -p "$object" "$work/$(basename "$object" | tr '%' '/')"
    done
    rm -rf "$work/saved"
}

save() {
    local file
    mkdir -p "$work/saved"
    for file in "$@"; do
        cp -p "$work/$file" "$work/saved/$(echo "$file" | tr '/' '%')"
    done
}

plant() { # patch file
    local patch=$1 source
    local -a sources objects
    mapfile -t sources < <(sed -n 's|^+++ b/||p' "$patch")
    mapfile -t objects < <(cd "$work" && grep -lE "[ :](${sources[0]//./\\.})( |:|\$)" -r build/release --include='*.d' | sed 's/d$/o/')
    for source in "${sources[@]:1}"; do
        mapfile -t -O "${#objects[@]}" objects < <(cd "$work" &&
            grep -lE "[ :](${source//./\\.})( |:|\$)" -r build/release --include='*.d' | sed 's/d$/o/')
    done
    save "${sources[@]}" "${objects[@]}"
    patch -d "$work" -p1 -s -F2 --no-backup-if-mismatch <"$patch" >"$work/log" 2>&1
}

say() { # ok or not ok, name, what came of it
    printf '%s %s: %s\n' "$1" "$2" "$3"
    [ "$1" = ok ] || { status=1; sed 's/^/# /' "$work/log" | head -n 12; }
}

try() { # name
    local name=$1 patch=tests/mutants/$1.patch seed started=$SECONDS
    if ! plant "$patch"; then
        say "not ok" "$name" "does not apply any more"
    elif ! build "-O1 -w"; then
        say "not ok" "$name" "does not build"
    elif (cd "$work" && STOP=1 SEEDS=$seeds build/release/tests/sim/sim) >"$work/log" 2>&1; then
        say "not ok" "$name" "survived $seeds seeds: $(head -n 1 "$patch")"
    else
        seed=$(sed -n 's/^# seed \([0-9]*\):.*/\1/p' "$work/log" | head -n 1)
        if [ -n "$seed" ]; then
            caught=$((caught + 1))
            say ok "$name" "caught by seed $seed, $((SECONDS - started)) s: $(sed -n 's/^# seed [0-9]*: //p' "$work/log" | head -n 1 | cut -c1-100)"
        else
            say "not ok" "$name" "the simulation fails, but no seed of it"
        fi
    fi
    restore
}

if ! build ""; then
    sed 's/^/# /' "$work/log" | tail -n 20
    echo "not ok the simulation can be built"
    exit 1
fi
names=("$@")
[ ${#names[@]} -gt 0 ] || [ -z "${SHORT:-}" ] || mapfile -t names <tests/mutants/short
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(cd tests/mutants && printf '%s\n' *.patch | sed 's/\.patch$//')
for name in "${names[@]}"; do
    try "$name"
done
echo "# $caught of ${#names[@]} planted bugs were caught"
exit $status
