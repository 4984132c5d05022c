#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The number of shards changes from start to start: what a shard that is no more had accepted is stored all the same,
# its ids are still known, its files go when they may, and should it come back it goes on where it was.
. "$(dirname "$0")/lib.sh"

file=$(event_file)
start_postgres
postgres=$PG
PG=
start_ringmain -o node.shards=3
send "$file" --connections 12 --producer first --json >"$TMP/summary"
same "3 shards without Postgres take everything" 0 $? # by their names the 12 fall on all three
kill_ringmain
PG=$postgres
restart_ringmain -o node.shards=1
check "1 shard: what the others left is stored" until_rows 9999
same "from three spools" 3 "$(sql "select count(*) from ringmain_checkpoint where next_seq > 0")"
again() { send "$file" --connections 6 --ack "$1" --json --patience 20 | tee "$TMP/again" | grep -c '"duplicates":9999'; }
same "1 shard: every id is known, and that it is stored" 1 "$(again stored)"
stop_ringmain
restart_ringmain -o node.shards=2
same "2 shards: every id is known" 1 "$(again stored)"
stop_ringmain
restart_ringmain -o node.shards=3
same "3 shards again: every id is known" 1 "$(again spooled)"
check "and nothing is stored twice" until_rows 9999
stop_ringmain
segments() { find "$TMP/spool/shard-0$1" -name '*.seg' | wc -l; }
left() { [ "$(segments 1) $(segments 2)" = "1 1" ]; }
restart_ringmain -o node.shards=1 -o spool.retain_stored_s=1
check "1 shard: of the others' files only their last headers stay" until_true 30 left
same "and they are small" 0 "$(find "$TMP/spool/shard-01" "$TMP/spool/shard-02" -name '*.seg' -size +64k | wc -l)"
stop_ringmain
restart_ringmain -o node.shards=3
sed 's/"id":"/"id":"once-more-/' "$file" >"$TMP/more"
send "$TMP/more" --connections 12 --producer last --ack stored --json >"$TMP/summary"
same "3 shards once more go on where they were" 0 $?
check "and store what is new" until_rows 19998
check "SIGTERM ends it well" stop_ringmain
finish
