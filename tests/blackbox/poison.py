#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""poison.py config GROUP                  streams for ringmain's configuration, one a case of poison_corpus.py
   poison.py tables GROUP                  the SQL that makes their tables
   poison.py mend                          the SQL that takes away what the rows of some cases fell over
   poison.py run GROUP HTTP ROWS [NAME…]   sends each case's ROWS rows, of which the first, the middle and the last one are
                                           bad, and checks that the good ones are stored once and in order, and the bad
                                           ones among the dead letters
   poison.py changes HTTP                  the values that Postgres keeps otherwise
   poison.py exported FILE                 checks what `ringmain dead-letters export` gave
Connects by $PG."""
import json
import os
import re
import struct
import subprocess
import sys
import time
import urllib.request
import uuid
from datetime import datetime, timezone
from decimal import Decimal

from poison_corpus import CASES, CHANGES

PATIENCE = 60


def report(name, faults):
    print(("not ok " if faults else "ok ") + name)
    for fault in faults:
        print("  # " + str(fault)[:600])


class Sql:
    """One psql for all questions."""

    def __init__(self):
        self.psql = subprocess.Popen(["psql", "-XqAt", "-F", "\t", "-d", os.environ["PG"]], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")

    def rows(self, query):
        self.psql.stdin.write("%s;\n\\echo --end\n" % query)
        self.psql.stdin.flush()
        found = []
        while (line := self.psql.stdout.readline().rstrip("\n")) != "--end":
            found.append(line.split("\t"))
        return found

    def one(self, query):
        return self.rows(query)[0]

    def next_sequence(self):
        return int(self.one("select coalesce(max(next_seq), 0) from ringmain_checkpoint")[0])


# ── events ────────────────────────────────────────────────────────────────────────────────────────

def written(case, value):
    """JSON as it is sent, and so as it must be found in the dead letter."""
    return json.dumps(value, ensure_ascii=getattr(case, "group", "") == "sql_ascii")


def bad_places(rows):
    return [0, rows // 2, rows - 1]


def event(case, n, value):
    # A member that is null counts as absent, and only what has a value can be sent as such.
    value = "" if value is None else ',"v":' + written(case, value)
    return '{"type":"%s","data":{"n":%d%s}}\n' % (case.name, n, value)


def post(http, body):
    request = urllib.request.Request("http://%s/events" % http, body.encode(), {"content-type": "application/x-ndjson"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def send(sql, http, body, rows):
    """Posts, and waits until all of it is stored or buried. How many ms that took."""
    end = sql.next_sequence() + rows
    began = time.monotonic()
    answer = post(http, body)
    if answer["accepted"] != rows:
        raise RuntimeError("the door refused some: %s" % json.dumps(answer)[:500])
    while sql.next_sequence() < end:
        if time.monotonic() - began > PATIENCE:
            raise RuntimeError("not stored within %d s" % PATIENCE)
        time.sleep(0.002)
    return (time.monotonic() - began) * 1000


# ── what a dead letter must hold ──────────────────────────────────────────────────────────────────

def numeric(value):
    """Postgres's binary numeric, by way of its own text."""
    sign, digits, exponent = Decimal(str(value)).as_tuple()
    scale = max(0, -exponent)
    digits = "".join(map(str, digits)) + "0" * max(0, exponent)
    whole, fraction = digits[:len(digits) - scale] or "0", digits[len(digits) - scale:] if scale else ""
    whole = whole.zfill((len(whole) + 3) // 4 * 4)
    fraction = fraction.ljust((len(fraction) + 3) // 4 * 4, "0")
    groups = [int((whole + fraction)[i:i + 4]) for i in range(0, len(whole + fraction), 4)]
    weight = len(whole) // 4 - 1
    while groups and groups[0] == 0:
        groups.pop(0)
        weight -= 1
    while groups and groups[-1] == 0:
        groups.pop()
    return struct.pack(">HhHH%dH" % len(groups), len(groups), weight if groups else 0, 0x4000 if sign and groups else 0,
                       scale, *groups)


def microseconds(text):
    delta = datetime.fromisoformat(text.replace("Z", "+00:00")) - datetime(2000, 1, 1, tzinfo=timezone.utc)
    return (delta.days * 86400 + delta.seconds) * 1000000 + delta.microseconds


BINARY = {
    "text": lambda case, v: v.encode(),
    "bigint": lambda case, v: struct.pack(">q", v),
    "integer": lambda case, v: struct.pack(">i", v),
    "double precision": lambda case, v: struct.pack(">d", v),
    "numeric": lambda case, v: numeric(v),
    "boolean": lambda case, v: bytes([v]),
    "timestamptz": lambda case, v: struct.pack(">q", microseconds(v)),
    "uuid": lambda case, v: uuid.UUID(v).bytes,
    "jsonb": lambda case, v: b"\1" + written(case, v).encode(),
}


def tuple_of(case, n, value):
    def field(data):
        return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data
    return struct.pack(">H", 2) + field(struct.pack(">q", n)) + field(
        None if value is None else BINARY[case.kind](case, value))


# ── a case ────────────────────────────────────────────────────────────────────────────────────────

def check_rows(sql, case, first, rows):
    """Rows first … first + rows - 1 of the column n."""
    bad = [first + place for place in bad_places(rows)]
    stored, distinct, buried, disorder = sql.one("""
        select count(*), count(distinct n), count(*) filter (where n in (%s)), count(*) filter (where n <= before)
        from (select n, lag(n) over (order by o) as before from %s where n >= %d) as x""" % (
        ",".join(map(str, bad)), case.name, first))
    if [int(stored), int(distinct), int(buried), int(disorder)] != [rows - 3, rows - 3, 0, 0]:
        yield "%d good rows: stored %s, different %s, bad ones among them %s, out of order %s" % (
            rows - 3, stored, distinct, buried, disorder)


def check_letters(sql, case, first, base, rows):
    letters = sql.rows("select seq, encode(raw, 'hex'), sqlstate, reason from ringmain_dead_letters "
                       "where stream = '%s' and seq >= %d order by seq" % (case.name, base))
    if len(letters) != 3:
        yield "%d dead letters" % len(letters)
        return
    for place, (sequence, raw, sqlstate, reason) in zip(bad_places(rows), letters):
        if int(sequence) != base + place:
            yield "event %s is dead, it should be %d" % (sequence, base + place)
        if bytes.fromhex(raw) != tuple_of(case, first + place, case.bad):
            yield "raw: wanted %s got %s" % (tuple_of(case, first + place, case.bad).hex(), raw)
        if sqlstate != case.sqlstate or not re.search(case.reason, reason):
            yield "wanted %s %s, got %s %s" % (case.sqlstate, case.reason, sqlstate, reason)


def run_case(sql, http, case, first, rows):
    """How many ms it took, and what was wrong."""
    base = sql.next_sequence()
    bad = bad_places(rows)
    body = "".join(event(case, first + i, case.bad if i in bad else case.good(first + i)) for i in range(rows))
    took = send(sql, http, body, rows)
    return took, [*check_rows(sql, case, first, rows), *check_letters(sql, case, first, base, rows)]


def control(sql, http, rows):
    """The same without a bad row, so that what a bad one costs can be told."""
    times = []
    for i in range(3):
        first = i * rows
        body = "".join('{"type":"control","data":{"n":%d,"v":"value %d"}}\n' % (first + k, first + k) for k in range(rows))
        times.append(send(sql, http, body, rows))
    return min(times)


def run(group, http, rows, names):
    sql = Sql()
    usual = control(sql, http, rows)
    costs = {True: [], False: []}
    for case in CASES:
        if case.group != group or (names and case.name not in names):
            continue
        first = int(sql.one("select count(n) + (select count(*) from ringmain_dead_letters where stream = '%s') from %s" %
                            (case.name, case.name))[0])
        try:
            took, faults = run_case(sql, http, case, first, rows)
            costs[case.line].append((took - usual) / 3)
            name = "%s: %s, %.1f ms a poison row" % (case.name, case.sqlstate, (took - usual) / 3)
        except (OSError, RuntimeError) as error:
            name, faults = case.name, [error]
        report("%s %d rows, %s" % (group, rows, name), faults)
    for line, all_of in costs.items():
        if all_of:
            print("# %d rows, the row found %s: %.1f ms a poison row, at most %.1f (%d cases; the batch itself %.0f ms)" % (
                rows, "by its line" if line else "by halving", sum(all_of) / len(all_of), max(all_of), len(all_of), usual))


def changes(http):
    sql = Sql()
    for change in CHANGES:
        send(sql, http, event(change, 1, change.sent), 1)
        kept = sql.rows("select v from %s" % change.name)
        wanted = [] if change.kept is None else [[change.kept]]
        faults = [] if kept == wanted else ["wanted %s, got %s" % (wanted, kept)]
        if sql.rows("select from ringmain_dead_letters where stream = '%s'" % change.name):
            faults.append("it is among the dead letters")
        report("%s: Postgres takes %s and keeps %s" % (change.name, json.dumps(change.sent), json.dumps(change.kept)), faults)


def exported(path):
    by_name = {case.name: case for case in CASES}
    faults, lines = [], 0
    for line in open(path, encoding="utf-8"):
        letter = json.loads(line)
        case = by_name[letter["stream"]]
        lines += 1
        wanted = case.bad
        if case.kind == "numeric" and wanted is not None:
            wanted = Decimal(str(wanted))
        got = json.loads(line, parse_float=Decimal)["row"]["v"] if case.kind == "numeric" else letter["row"]["v"]
        if got != wanted or letter["sqlstate"] != case.sqlstate or not re.search(case.reason, letter["reason"]):
            faults.append(line)
        if set(letter) != {"node", "shard", "epoch", "seq", "stream", "sqlstate", "reason", "at", "row"}:
            faults.append("members: %s" % sorted(letter))
    report("export: %d rows by their columns" % lines, faults or ([] if lines else ["none"]))


# ── what ringmain and Postgres are set up with ────────────────────────────────────────────────────

def of_group(group):
    return [case for case in CASES if case.group == group] + (CHANGES if group == "utf8" else [])


def config(group):
    for name, kind in [(case.name, case.kind) for case in of_group(group)] + [("control", "text")]:
        print("[stream %s]\ntypes = %s\ncolumns = n bigint from data.n, v %s from data.v" % (name, name, kind))


def tables(group):
    print("create table control (o bigint generated always as identity, n bigint, v text);")
    for case in of_group(group):
        print(case.sql())


def mend():
    for case in CASES:
        if case.mend:
            print(case.mend.replace("{t}", case.name) + ";")


def mended():
    print("\n".join(case.name for case in CASES if case.mend))


if __name__ == "__main__":
    verb, words = sys.argv[1], sys.argv[2:]
    if verb == "run":
        run(words[0], words[1], int(words[2]), words[3:])
    else:
        {"config": config, "tables": tables, "mend": mend, "mended": mended, "changes": changes,
         "exported": exported}[verb](*words)
