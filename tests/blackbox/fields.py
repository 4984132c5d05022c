#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""fields.py FILE PREFIX: the rows of `events` whose id begins with PREFIX are exactly the events of FILE, in each field."""
import datetime
import decimal
import json
import sys

from kit import case, database, finish, holds, same

FILE, PREFIX = sys.argv[1:3]


def exact(text):
    return json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal)


def wanted(event):
    stamp = datetime.datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00"))
    return (event["type"], event.get("tenantId"), event.get("userId"), event.get("projectId"), event.get("sessionId"),
            event.get("roomId"), stamp, event.get("data"))


with open(FILE, encoding="utf-8") as file:
    events = {event["id"]: wanted(event) for event in map(exact, file)}

with case("%s all %d events are the same in every field" % (PREFIX.rstrip("-") + ":", len(events))):
    rows = database.rows("""select id, type, tenant_id, user_id, project_id, session_id, room_id, ts, data::text
                            from events where id like %s""", PREFIX + "%")
    seen = {row[0]: row[1:8] + (None if row[8] is None else exact(row[8]),) for row in rows}
    same(len(rows), len(events))
    different = [(id_, seen.get(id_), event) for id_, event in events.items() if seen.get(id_) != event]
    holds(not different, len(different), different[:2])
    same(database.one("""select count(*) from events where id like %s
                         and received_at between now() - interval '10 min' and now()""", PREFIX + "%"), len(events))
finish()
