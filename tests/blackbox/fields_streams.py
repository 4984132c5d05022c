#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""messages, cart_events, and the user's streams orders (every type of column) and measures: what arrives, as what."""
import asyncio
import json
import os
import urllib.error
import urllib.request

import websockets

from kit import Producer, case, database, finish, same


def post(path, value):
    request = urllib.request.Request("http://%s%s" % (os.environ["HTTP"], path), json.dumps(value).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def columns(table):
    return database.rows("""select string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position)
                            from information_schema.columns where table_schema || '.' || table_name = %s""", table)[0][0]


def tcp(*values):
    """Sends, waits until all is stored; the refusals by number: (code, message)."""
    with Producer({"ack": "stored"}).greeted() as producer:
        producer.send(*values)
        producer.until_ack(len(values))
        return {n: (code, producer.messages[n]) for n, code in producer.rejects.items()}


with case("the tables are made as the contract and the configuration say"):
    same(columns("public.events"), "id text, type text, tenant_id text, user_id text, project_id text, session_id text, "
         "room_id text, ts timestamp with time zone, received_at timestamp with time zone, data jsonb")
    same(columns("public.messages"), "id bigint, user_id bigint, channel_id bigint, content text, "
         "created_at timestamp with time zone")
    same(columns("public.cart_events"), "id text, user_id text, event_type text, metadata jsonb, "
         "ts timestamp with time zone, received_at timestamp with time zone")
    same(columns("shop.orders"), "number bigint, order_id bigint, Kind text, small integer, ratio double precision, "
         "total numeric, paid boolean, at timestamp with time zone, key uuid, raw jsonb, kept json, who text, note text")
    same(columns("public.measures"), "id text, value numeric, kept json, received_at timestamp with time zone")

# ── messages ─────────────────────────────────────────────────────────────────────────────────────

with case("POST /messages is queued and stored, numbered by Postgres"):
    for n in range(3):
        status, answer = post("/messages?ack=stored", {"user_id": 1, "channel_id": 2 ** 62, "content": "grüß \n%d" % n})
        same((status, answer["status"]), (202, "queued"))
    same(database.rows("""select id, user_id, channel_id, content, abs(extract(epoch from created_at - now())) < 60
                          from messages order by id"""),
         [(n + 1, 1, 2 ** 62, "grüß \n%d" % n, True) for n in range(3)])
with case("a bad body for /messages is 422 and stores nothing"):
    for body in ({"user_id": 1, "channel_id": 1}, {"user_id": "x", "channel_id": 1, "content": "y"}, [], "text",
                 {"user_id": 2 ** 63, "channel_id": 1, "content": "y"}):
        same(post("/messages", body)[0], 422, body)
    same(database.one("select count(*) from messages"), 3)
with case("type message enters messages through POST /events and TCP"):
    message = {"type": "message", "data": {"user_id": 7, "channel_id": 8, "content": "by event"}}
    same(post("/events?ack=stored", message)[1]["accepted"], 1)
    same(tcp(message, {"type": "message", "userId": "9", "timestamp": "2024-01-02T03:04:05Z",
                       "data": {"channel_id": "8", "content": "by TCP"}}), {})
    same(database.rows("select user_id, channel_id, content from messages where id > 3 order by id"),
         [(7, 8, "by event"), (7, 8, "by event"), (9, 8, "by TCP")])

# ── cart events ──────────────────────────────────────────────────────────────────────────────────

KINDS = ["item_added", "item_removed", "item_updated", "cart_viewed", "cart_cleared", "coupon_applied",
         "checkout_started", "checkout_completed", "cart_abandoned"]


def cart(kind, door):
    return {"type": "cart_event",
            "data": {"eventId": "%s-%s" % (door, kind), "eventType": kind, "userId": "u1",
                     "metadata": {"cartValue": 59.98, "items": [1, 2]}, "timestamp": "2025-08-10T03:27:06.5Z"}}


async def over_websocket():
    async with websockets.connect("ws://%s/events/stream?ack=stored" % os.environ["HTTP"]) as door:
        await door.recv()
        for kind in KINDS + ["item_stolen"]:
            await door.send(json.dumps(cart(kind, "ws")))
        return [json.loads(await door.recv()) for _ in KINDS + ["bad"]]


with case("cart events of every type, wrapped, through all doors"):
    answers = asyncio.run(over_websocket())
    same([(a["type"], a.get("status"), a["eventId"]) for a in answers],
         [("ack", "accepted", "ws-" + kind) for kind in KINDS] + [("error", None, "ws-item_stolen")])
    same(answers[-1]["code"], "UNSUPPORTED_TYPE")
    same(tcp(*(cart(kind, "tcp") for kind in KINDS)), {})
    same(post("/events?ack=stored", [cart(kind, "http") for kind in KINDS])[1],
         {"accepted": 9, "duplicates": 0, "rejected": []})
    for door in ("ws", "tcp", "http"):
        same(database.rows("""select event_type, user_id, metadata, ts = '2025-08-10T03:27:06.5Z'
                              from cart_events where id like %s order by event_type""", door + "-%"),
             [(kind, "u1", {"cartValue": 59.98, "items": [1, 2]}, True) for kind in sorted(KINDS)])
with case("a cart event's type is enough to be stored with them"):
    same(tcp({"type": "item_added", "id": "bare-1", "user_id": 5, "metadata": {"a": 1}}), {})
    same(database.rows("select event_type, user_id, metadata from cart_events where id = 'bare-1'"),
         [("item_added", "5", {"a": 1})])

# ── a user's own ─────────────────────────────────────────────────────────────────────────────────

FULL = {"orderId": 9223372036854775807, "small": -2147483648, "ratio": 0.1, "total": 1, "paid": True,
        "at": "2024-02-29T23:59:59.999999+14:00", "key": "6F9619FF-8B86-D011-B42D-00C04FC964FF",
        "kept": {"b": 1, "a": [None, 2]}, "customer": {"name": "Ann"}, "note": "x"}


def order(number, **members):
    data = {name: value for name, value in {**FULL, "orderId": number, **members}.items() if value is not None}
    return {"type": "order.placed", "id": "o-%d" % number, "userId": "u-9", "timestamp": 1700000000000, "data": data}


with case("a row with every type of column"):
    same(tcp({"type": "order.paid", "data": FULL}), {})
    same(database.rows("""select number, "Kind", order_id, small, ratio, total, paid, at::text, key::text, raw, kept::text,
                                 who, note from shop.orders"""),
         [(1, "order.paid", 9223372036854775807, -2147483648, 0.1, 1, True,
           database.one("select timestamptz '2024-02-29T09:59:59.999999Z'::text"),
           "6f9619ff-8b86-d011-b42d-00c04fc964ff", FULL, '{"b": 1, "a": [null, 2]}', "Ann", "x")])

GOOD = [  # member, as JSON, column, the value in SQL
    ("orderId", "-9223372036854775808", "order_id", "-9223372036854775808"),
    ("orderId", '"9007199254740993"', "order_id", "9007199254740993"),
    ("orderId", "5.0e1", "order_id", "50"),
    ("small", "2147483647", "small", "2147483647"),
    ("small", "null", "small", "null"),
    ("ratio", "1.7976931348623157e308", "ratio", "'1.7976931348623157e308'::float8"),
    ("ratio", "5e-324", "ratio", "'5e-324'::float8"),
    ("ratio", "-0.0", "ratio", "'-0'::float8"),
    ("ratio", "123456789012345678901234567890", "ratio", "'123456789012345678901234567890'::float8"),
    ("total", "123456789012345678901234567890.1234567890", "total", "123456789012345678901234567890.1234567890"),
    ("total", "0.00000000000000000001", "total", "0.00000000000000000001"),
    ("total", "-1E+100", "total", "'-1e100'::numeric"),
    ("total", '"10000.00"', "total", "10000.00"),
    ("total", "0", "total", "0"),
    ("total", "99999999", "total", "99999999"),
    ("paid", "false", "paid", "false"),
    ("paid", '"true"', "paid", "true"),
    ("at", "1700000000123", "at", "'2023-11-14 22:13:20.123Z'::timestamptz"),
    ("at", "1700000000", "at", "'2023-11-14 22:13:20Z'::timestamptz"),
    ("at", "null", "at", "'2023-11-14 22:13:20Z'::timestamptz"),
    ("at", '"0001-01-01T00:00:00Z"', "at", "'0001-01-01 00:00:00Z'::timestamptz"),
    ("key", '"{6f9619ff8b86d011b42d00c04fc964ff}"', "key", "'6f9619ff-8b86-d011-b42d-00c04fc964ff'::uuid"),
    ("kept", '{"b":2, "b":1}', "kept::text", "'{\"b\":2, \"b\":1}'"),
    ("note", "5", "note", "'5'"),
    ("note", '""', "note", "''"),
    ("note", '"tab\\t\\u00e9\\ud83d\\ude00 \\"\\\\N"', "note", "E'tab\\té😀 \"\\\\N'"),
    ("note", "true", "note", "'true'"),
    ("customer", "null", "who", "'u-9'"),
]


def changed(number, member, text):
    """An order whose data has `text` for one member."""
    line, name = json.dumps(order(number)), json.dumps(member)
    old = "%s: %s" % (name, json.dumps(order(number)["data"][member]))
    same(line.count(old), 1)
    return line.replace(old, "%s: %s" % (name, text)).encode()


with case("values at the edge of their types are stored as they are"):
    same(tcp(*(changed(n, member, text) for n, (member, text, _, _) in enumerate(GOOD))), {})
    wrong = []
    for n, (member, text, column, value) in enumerate(GOOD):
        where = "order_id = %s" % (value if member == "orderId" else n)
        if database.rows("select (%s)::text is not distinct from (%s)::text from shop.orders where %s" %
                         (column, value, where)) != [(True,)]:
            wrong.append((member, text, database.rows("select %s from shop.orders where %s" % (column, where))))
    same(wrong, [])

BAD = [
    ("orderId", "5.5", "data.orderId"), ("orderId", "9223372036854775808", "data.orderId"),
    ("orderId", '"five"', "data.orderId"), ("orderId", "null", "data.orderId"), ("orderId", "{}", "data.orderId"),
    ("small", "2147483648", "data.small"), ("small", '" 1"', "data.small"), ("small", "true", "data.small"),
    ("ratio", "1e400", "data.ratio"), ("ratio", '"NaN"', "data.ratio"), ("total", '"1,000"', "data.total"),
    ("total", "1e200000", ""), ("paid", "1", "data.paid"), ("paid", '"yes"', "data.paid"),
    ("at", '"noon"', "data.at"), ("at", "{}", "data.at"), ("at", '"2023-02-29T00:00:00Z"', "data.at"),
    ("key", '"6f9619ff"', "data.key"), ("key", "5", "data.key"),
]
with case("values that do not fit are refused by name, their neighbours stored"):
    before = database.one("select count(*) from shop.orders")
    refusals = tcp(*(line for n, (member, text, _) in enumerate(BAD)
                     for line in (changed(1000 + n, member, text), order(2000 + n))))
    same(sorted(refusals), [2 * n + 1 for n in range(len(BAD))])
    wrong = [(member, text, refusals[2 * n + 1]) for n, (member, text, name) in enumerate(BAD)
             if refusals[2 * n + 1][0] != "INVALID_FIELD" or name not in refusals[2 * n + 1][1]]
    same(wrong, [])
    same(database.one("select count(*) from shop.orders") - before, len(BAD))

with case("a text that cannot be stored is refused by name"):
    refusals = tcp(b'{"type":"order.placed","data":{"orderId":1,"note":"\\u0000"}}',
                   b'{"type":"order.placed","data":{"orderId":1,"note":"\\ud800"}}',
                   b'{"type":"measure","id":"m-nul","data":{"value":3,"kept":"\\u0000","other":"\\udfff"}}')
    same({n: code for n, (code, _) in refusals.items()}, {1: "UNSTORABLE_TEXT", 2: "UNSTORABLE_TEXT"})
with case("a json column keeps what jsonb could not, and what is in no column matters to nobody"):
    same(database.rows("select value, kept::text from measures where id = 'm-nul'"), [(3, '"\\u0000"')])

with case("each type goes where it belongs, over HTTP in one array"):
    status, answer = post("/events?ack=stored", [
        {"type": "measure", "id": "m-1", "data": {"value": 1.5}}, {"type": "order.paid", "data": {"orderId": 77}},
        {"type": "other", "id": "e-1"}, {"type": "measure", "data": {}}])
    same((status, answer["accepted"]), (202, 3))
    same([(r["index"], r["code"]) for r in answer["rejected"]], [(3, "INVALID_FIELD")])
    same(database.rows("select value::text from measures where id = 'm-1'"), [("1.5",)])
    same(database.one("select count(*) from shop.orders where order_id = 77 and \"Kind\" = 'order.paid'"), 1)
    same(database.one("select count(*) from events"), 1)

with case("no dead letter was needed"):
    same(database.one("select count(*) from ringmain_dead_letters"), 0)
finish()
