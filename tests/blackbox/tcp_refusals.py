#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each refusal of CONTRACTS.md 1 that the TCP door can give, with good neighbours on both sides."""
import json

from kit import Producer, case, database, finish, holds, same, until_one

LONG = "x" * 129

REFUSED = [
    # what is sent, the code, what the message must name
    (b"{", "INVALID_JSON", ""),
    (b"[1,2", "INVALID_JSON", ""),
    (b'{"type":"a"} x', "INVALID_JSON", ""),
    (b'{"type":"a",}', "INVALID_JSON", ""),
    (b"{'type':'a'}", "INVALID_JSON", ""),
    (b'{"type":"a","data":01}', "INVALID_JSON", ""),
    (b'{"type":"a","data":NaN}', "INVALID_JSON", ""),
    (b'{"type":"a","data":"\xff"}', "INVALID_JSON", ""),
    (b'{"type":"a","data":"\xed\xa0\x80"}', "INVALID_JSON", ""),
    (b'{"type":"a","data":"tab\there"}', "INVALID_JSON", ""),
    (b'{"type":"a","data":' + b"[" * 64 + b"]" * 64 + b"}", "INVALID_JSON", ""),
    (b'{"id":"x","data":{}}', "MISSING_TYPE", "type"),
    (b'{"type":null,"data":{}}', "MISSING_TYPE", "type"),
    (b'{"type":"cart_event","data":{"eventType":"item_stolen","userId":"u"}}', "UNSUPPORTED_TYPE", "type"),
    (b'{"type":"bad type!"}', "INVALID_FIELD", "type"),
    (b'{"type":""}', "INVALID_FIELD", "type"),
    (b'{"type":7}', "INVALID_FIELD", "type"),
    (json.dumps({"type": "t" * 65}).encode(), "INVALID_FIELD", "type"),
    (json.dumps({"type": "a", "id": LONG}).encode(), "INVALID_FIELD", "id"),
    (b'{"type":"a","id":""}', "INVALID_FIELD", "id"),
    (b'{"type":"a","id":{}}', "INVALID_FIELD", "id"),
    (json.dumps({"type": "a", "userId": LONG}).encode(), "INVALID_FIELD", "userId"),
    (b'{"type":"a","tenant_id":1.5}', "INVALID_FIELD", "tenantId"),
    (b'{"type":"a","projectId":true}', "INVALID_FIELD", "projectId"),
    (b'{"type":"a","sessionId":[]}', "INVALID_FIELD", "sessionId"),
    (b'{"type":"a","roomId":""}', "INVALID_FIELD", "roomId"),
    (b'{"type":"a","timestamp":"yesterday"}', "INVALID_FIELD", "timestamp"),
    (b'{"type":"a","timestamp":"2024-02-30T00:00:00Z"}', "INVALID_FIELD", "timestamp"),
    (b'{"type":"a","ts":true}', "INVALID_FIELD", "timestamp"),
    (b'{"type":"message","data":{"user_id":"one","channel_id":1,"content":"x"}}', "INVALID_FIELD", "user_id"),
    (b'{"type":"message","data":{"user_id":1,"channel_id":1}}', "INVALID_FIELD", "content"),
    (b'{"type":"a","data":{"deep":["\\u0000"]}}', "UNSTORABLE_TEXT", "data"),
    (b'{"type":"a","data":"\\ud800"}', "UNSTORABLE_TEXT", "data"),
    (b'{"type":"a","data":{"\\udfff":1}}', "UNSTORABLE_TEXT", "data"),
    (b'{"type":"a","userId":"u\\u0000"}', "UNSTORABLE_TEXT", "userId"),
    (b'{"type":"a","id":"\\udc00x"}', "UNSTORABLE_TEXT", "id"),
    (b'{"type":"a","else":"\\u0000"}', "UNSTORABLE_TEXT", "else"),
    (json.dumps({"type": "a", "data": "y" * 65536}).encode(), "TOO_LARGE", ""),
    (b'{"type":"a","data":"' + b"z" * 3000000 + b'"}', "TOO_LARGE", ""),
    (b"7", "INVALID_FIELD", ""),
    (b"[]", "INVALID_FIELD", ""),
    (b'"text"', "INVALID_FIELD", ""),
    (b"null", "INVALID_FIELD", ""),
]

with case("every refusal by its number, good neighbours kept"):
    with Producer({"ack": "stored"}).greeted() as producer:
        for n, (text, _, _) in enumerate(REFUSED):
            producer.send({"type": "neighbour", "id": "neighbour-%d" % n}, text)
        producer.send({"type": "neighbour", "id": "neighbour-last"})
        producer.until_ack(2 * len(REFUSED) + 1)
        same(sorted(producer.rejects), [2 * n + 2 for n in range(len(REFUSED))])
        same(database.one("select count(*) from events where type = 'neighbour'"), len(REFUSED) + 1)

for n, (text, code, member) in enumerate(REFUSED):
    got, message = producer.rejects.get(2 * n + 2), producer.messages.get(2 * n + 2, "")
    if (got, member in message) != (code, True):
        with case("%s for %r, naming %r" % (code, text[:60], member)):
            same((got, message), (code, member))
with case("each with its code, and a message that names the member"):
    same([producer.rejects[2 * n + 2] for n in range(len(REFUSED))], [code for _, code, _ in REFUSED])
    holds(all(producer.messages.values()), producer.messages)

with case("all aliases, integers as ids, and the two kinds of time"):
    with Producer({"ack": "stored"}).greeted() as producer:
        producer.send(
            {"eventType": "alias", "eventId": "al-1", "ts": 1700000000123, "externalUserId": 12345678901234567890,
             "tenant_id": -5, "project_id": "p", "session_id": "s", "room_id": "r", "payload": [1], "more": {"x": 1}},
            {"event_type": "alias", "event_id": "al-2", "time": 1700000000, "user_id": "u", "metadata": {"y": 2},
             "more": 3},
            {"type": "alias", "id": "al-3", "timestamp": "2024-02-29T23:59:59.123456+01:30", "type": "alias"})
        producer.until_ack(3)
        same(producer.rejects, {})
    same(database.rows("""select id, type, tenant_id, user_id, project_id, session_id, room_id,
                          (ts at time zone 'UTC')::text, data from events where type = 'alias' order by id"""),
         [("al-1", "alias", "-5", "12345678901234567890", "p", "s", "r", "2023-11-14 22:13:20.123",
           database.one("select data from events where id = 'al-1'")),
          ("al-2", "alias", None, "u", None, None, None, "2023-11-14 22:13:20", {"y": 2, "_extra": {"more": 3}}),
          ("al-3", "alias", None, None, None, None, None, "2024-02-29 22:29:59.123456", None)])
    kept = database.one("select data from events where id = 'al-1'")
    holds({"more": {"x": 1}} == kept.get("_extra") and [1] in kept.values(), kept)

with case("the last of duplicate members wins; escapes in names and values count as what they mean"):
    with Producer({"ack": "stored"}).greeted() as producer:
        producer.send(b'{"type":"no","typ\\u0065":"esc\\u0061ped","id":"\\u0065\\n\\"1\\u00e9\\ud83d\\ude00",'
                      b'"data":1,"data":{"a":1,"a":2}}')
        producer.until_ack(1)
    same(database.rows("select type, id, data from events where type = 'escaped'"),
         [("escaped", 'e\n"1é😀', {"a": 2})])

with case("depth 64 is good"):
    with Producer({"ack": "stored"}).greeted() as producer:
        producer.send(b'{"type":"deep","data":' + b"[" * 63 + b"]" * 63 + b"}")
        producer.until_ack(1)
        same(producer.rejects, {})

with case("an event of exactly 65,536 bytes is good, one more is TOO_LARGE"):
    with Producer({"ack": "stored"}).greeted() as producer:
        frame = b'{"type":"full","data":"%s"}'
        producer.send(frame % (b"x" * (65536 - len(frame) + 2)), frame % (b"x" * (65537 - len(frame) + 2)))
        producer.until_ack(2)
        same(producer.rejects, {2: "TOO_LARGE"})

with case("an event without id gets a UUIDv7, one without a time that of its receipt"):
    with Producer({"ack": "stored"}).greeted() as producer:
        producer.send({"type": "plain7"})
        producer.until_ack(1)
    same(database.one("""select id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'
                            and ts = received_at and abs(extract(epoch from received_at - now())) < 60
                         from events where type = 'plain7'"""), True)

with case("a too large line without an end does not keep what came before"):
    with Producer({"ack": "stored"}) as producer:
        producer.send({"type": "before.large"})
        producer.raw(b'{"type":"a","data":"' + b"z" * 200000)
        producer.half_close()
        producer.greeted().rest()
        same(producer.rejects, {2: "TOO_LARGE"})
        same(producer.acks[-1], 2)
    until_one(1, "select count(*) from events where type = 'before.large'")

finish()
