#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""hello, welcome and acknowledgements at each level; both formats."""
import json
import socket

from kit import Producer, case, database, finish, holds, same, until_one



def stored(kind):
    return database.one("select count(*) from events where type = %s", kind)


for level in ("received", "spooled", "stored"):
    with case("hello with ack %s: welcome, rising acks up to the last" % level):
        with Producer({"ack": level}).greeted() as producer:
            same(producer.welcome["ack"], level)
            same(producer.welcome["format"], "ndjson")
            same(producer.welcome["resume"], 0)
            for n in range(20):
                producer.send(*({"type": "level." + level, "id": "%s-%d-%d" % (level, n, m)} for m in range(50)))
            producer.until_ack(1000)
            if level == "stored":
                same(stored("level.stored"), 1000)
    until_one(1000, "select count(*) from events where type = %s", "level." + level)

with case("hello with ack none: a welcome, no ack, events stored"):
    with Producer({"ack": "none"}).greeted() as producer:
        producer.send(*({"type": "level.none"} for n in range(10)))
        producer.half_close()
        same(producer.rest(), [])
    until_one(10, "select count(*) from events where type = 'level.none'")

with case("without ack in hello it is spooled"):
    with Producer({}).greeted() as producer:
        same(producer.welcome["ack"], "spooled")
        producer.send({"type": "level.default"})
        producer.until_ack(1)

with case("an ack at level stored is never early"):
    with Producer({"ack": "stored"}).greeted() as producer:
        sent = 0
        while sent < 4000:
            producer.send(*({"type": "early", "data": n} for n in range(sent, sent + 100)))
            sent += 100
            if sent >= 1000:
                producer.answer()
                seen = stored("early")
                holds(seen >= producer.acks[-1], seen, producer.acks)
        producer.until_ack(4000)
        same(stored("early"), 4000)

with case("the last ack comes before the end when the producer closes its half"):
    with Producer({"ack": "stored"}) as producer:
        producer.send(*({"type": "halved"} for n in range(99)))
        producer.raw(b'{"type":"halved"}')
        producer.half_close()
        lines = producer.rest()
        holds("welcome" in lines[0], lines)
        same(producer.acks[-1], 100)
        same(stored("halved"), 100)

with case("duplicates are acknowledged, counted, and stored once"):
    with Producer({"ack": "stored"}).greeted() as producer:
        producer.send(*({"type": "twice", "id": "twice-%d" % (n % 50)} for n in range(100)))
        producer.until_ack(100)
        same(producer.duplicates, 50)
    with Producer({"ack": "spooled"}).greeted() as producer:
        producer.send(*({"type": "twice", "id": "twice-%d" % n} for n in range(50)))
        producer.until_ack(50)
        same(producer.duplicates, 50)
    same(stored("twice"), 50)

with case("hello, cut at every byte, with the first event behind it"):
    text = b'{"hello":{"ack":"spooled","format":"ndjson"}}\n{"type":"cut"}\n'
    for at in range(1, len(text)):
        with Producer() as producer:
            producer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            producer.raw(text[:at])
            producer.raw(text[at:])
            producer.greeted().until_ack(1)
    until_one(len(text) - 1, "select count(*) from events where type = 'cut'")

with case("hello with CRLF and blanks around it"):
    with Producer() as producer:
        producer.raw(b'\r\n {"hello" : { "ack" : "spooled" } } \r\n{"type":"blanks"}\r\n')
        producer.greeted().until_ack(1)

with case("an object whose first member is called hello but holds no object is an event"):
    with Producer() as producer:
        producer.raw(b'{"hello":"world"}\n')
        producer.half_close()
        same(producer.rest(), [])
    until_one(1, "select count(*) from events where data = '{\"hello\": \"world\"}'")

with case("a hello that does not come to its end is no event, and is told so"):
    with Producer() as producer:
        producer.raw(b'{"hello":{"token":"secret"}}')
        producer.half_close()
        lines = producer.rest()
        same([line["error"]["code"] for line in lines], ["INVALID_JSON"])
    same(database.one("select count(*) from events where data::text like '%%secret%%'"), 0)

with case("a second hello is a value like any other"):
    with Producer({}).greeted() as producer:
        producer.send({"hello": {"ack": "none"}}, {"type": "after"})
        producer.until_ack(2)

for hello, member in (
    ({"ack": "maybe"}, "hello.ack"),
    ({"format": "xml"}, "hello.format"),
    ({"producer": ""}, "hello.producer"),
    ({"producer": "x" * 129}, "hello.producer"),
    ({"ack": 1}, "hello.ack"),
    ({"colour": "red"}, "hello.colour"),
):
    with case("a bad hello is answered by an error that names %s, then closed: %s" % (member, json.dumps(hello)[:40])):
        with Producer(hello) as producer:
            producer.send({"type": "never"})
            lines = producer.rest()
            same(len(lines), 1)
            error = lines[0]["error"]
            same(error["code"], "INVALID_FIELD")
            holds(error["message"].startswith(member), error)
with case("nothing behind a bad hello is stored"):
    same(stored("never"), 0)

with case("length32: frames of any kind of JSON text, also with newlines inside"):
    with Producer({"format": "length32", "ack": "stored"}).greeted() as producer:
        same(producer.welcome["format"], "length32")
        producer.frame({"type": "framed", "data": 1}, b'{\n "type" :\r\n "framed",\n "data": 2}\n', b"[]", b"",
                       {"type": "framed", "data": "ä\n"})
        producer.until_ack(5)
        same(producer.rejects.keys(), {3, 4})
        same(database.rows("select data from events where type = 'framed' order by data::text"),
             [("ä\n",), (1,), (2,)])

with case("length32: cut at every byte"):
    with Producer({"format": "length32"}).greeted() as producer:
        producer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        value = b'{"type":"framed.cut"}'
        for at in range(len(value) + 4):
            data = len(value).to_bytes(4, "big") + value
            producer.raw(data[:at])
            producer.raw(data[at:])
        producer.until_ack(len(value) + 4)

with case("length32: a frame that is too large is passed over"):
    with Producer({"format": "length32", "ack": "stored"}).greeted() as producer:
        producer.frame({"type": "framed.large", "data": 1}, b"x" * 1000000, {"type": "framed.large", "data": 2},
                       json.dumps({"type": "framed.large", "data": "y" * 65536}).encode(),
                       {"type": "framed.large", "data": 3})
        producer.until_ack(5)
        same(producer.rejects, {2: "TOO_LARGE", 4: "TOO_LARGE"})
        same(stored("framed.large"), 3)

with case("acks come also when no new event pushes them"):
    with Producer({"ack": "stored"}).greeted() as producer:
        for n in range(1, 6):
            producer.send({"type": "alone"})
            producer.until_ack(n)
            same(stored("alone"), n)

with case("many connections at once, each with its own numbers"):
    producers = [Producer({"ack": "spooled"}) for _ in range(200)]
    for producer in producers:
        producer.send(*({"type": "crowd"} for n in range(10)))
    for producer in producers:
        producer.greeted().until_ack(10)
        producer.close()
    until_one(2000, "select count(*) from events where type = 'crowd'")

finish()
