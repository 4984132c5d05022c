#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Producers with names: their count goes on across connections, on whichever shard they arrive."""
import random

from kit import Producer, case, database, finish, holds, same, until, until_one


def numbers(kind):
    return [n for n, in database.rows("select (data->>'n')::int from events where type = %s order by 1", kind)]


def counted(kind, first, last):
    return [{"type": kind, "data": {"n": n}} for n in range(first, last + 1)]


with case("a producer goes on where it was, and resending is not needed"):
    with Producer({"producer": "p1", "ack": "spooled"}).greeted() as producer:
        same(producer.welcome["resume"], 0)
        producer.send(*counted("p1", 1, 100))
        producer.until_ack(100)
    with Producer({"producer": "p1", "ack": "spooled"}).greeted() as producer:
        same(producer.welcome["resume"], 100)
        producer.send(*counted("p1", 101, 150))
        producer.until_ack(150)
    until(list(range(1, 151)), lambda: numbers("p1"))

with case("refused values and duplicates count, blank lines do not"):
    with Producer({"producer": "p2", "ack": "spooled"}).greeted() as producer:
        producer.send({"type": "p2", "id": "p2-a"}, b"bad", b"", {"type": "p2", "id": "p2-a"}, {"type": "p2"}, b"bad")
        producer.until_ack(5)
        same(producer.rejects, {2: "INVALID_JSON", 5: "INVALID_JSON"})
        same(producer.duplicates, 1)
    with Producer({"producer": "p2", "ack": "stored"}).greeted() as producer:
        same(producer.welcome["resume"], 5)
        producer.send({"type": "p2"}, b"bad")
        producer.until_ack(7)
        same(producer.rejects, {7: "INVALID_JSON"})
    until_one(3, "select count(*) from events where type = 'p2'")

for kind, end in (("reset", lambda p: p.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")), ("killed", lambda p: None),
                  ("half closed", lambda p: (p.half_close(), p.rest()))):
    with case("a producer that is %s in the middle of a line: the line is no value yet" % kind):
        with Producer({"producer": kind, "ack": "spooled"}).greeted() as producer:
            producer.send(*counted(kind.replace(" ", "_"), 1, 3))
            producer.until_ack(3)
            producer.raw(b'{"type":"x","data":{"n":4')
            end(producer)
            same(producer.rejects, {})
        with Producer({"producer": kind, "ack": "spooled"}).greeted() as producer:
            same(producer.welcome["resume"], 3)
            producer.send(*counted(kind.replace(" ", "_"), 4, 6))
            producer.until_ack(6)
        until([1, 2, 3, 4, 5, 6], lambda: numbers(kind.replace(" ", "_")))

with case("a whole last line without its newline counts"):
    with Producer({"producer": "whole", "ack": "spooled"}) as producer:
        producer.raw(b'{"type":"whole","data":{"n":1}}')
        producer.half_close()
        producer.greeted().rest()
        same(producer.acks, [1])
    with Producer({"producer": "whole"}).greeted() as producer:
        same(producer.welcome["resume"], 1)

with case("again and again cut off at random, each number once"):
    chance = random.Random(1)
    done, connections = 0, 0
    while done < 2000:
        with Producer({"producer": "p4", "ack": "spooled"}).greeted() as producer:
            resume = producer.welcome["resume"]
            holds(resume >= done, resume, done)
            connections += 1
            text = b"".join(b'{"type":"p4","data":{"n":%d}}\n' % n for n in range(resume + 1, 2001))
            done = resume
            part = text[:chance.randrange(1, 6000)]
            producer.raw(part)
            whole = resume + part.count(b"\n")
            while done < whole and chance.random() < 0.5:
                done = producer.answer()["ack"]
    holds(connections > 3, connections)
    until(list(range(1, 2001)), lambda: numbers("p4"))

with case("names move to their shard, with what was already read behind the hello"):
    names = ["wanderer %d" % n for n in range(40)]
    for first in (1, 11):
        for turn in range(3):
            for name in names:
                with Producer({"producer": name, "ack": "spooled"}) as producer:
                    if turn == 0:
                        producer.send(*({"type": "moved", "data": {"who": name, "n": n}}
                                        for n in range(first, first + 10)))
                    producer.greeted()
                    same(producer.welcome["resume"], first - 1 if turn == 0 else first + 9, name)
                    if turn == 0:
                        producer.until_ack(first + 9)
    until_one(800, "select count(*) from events where type = 'moved'")
    same(database.rows("""select count(*), min(n), max(n) from (
                              select count(distinct data->>'n') as n from events where type = 'moved'
                              group by data->>'who') as each"""), [(40, 20, 20)])

with case("all shards took part"):
    holds(len(database.rows("select shard from ringmain_checkpoint where next_seq > 0")) == 2,
          database.rows("select * from ringmain_checkpoint"))

with case("a second connection of the same name closes the first"):
    with Producer({"producer": "p5", "ack": "spooled"}).greeted() as first:
        first.send(*counted("p5", 1, 10))
        first.until_ack(10)
        with Producer({"producer": "p5", "ack": "spooled"}).greeted() as second:
            same(second.welcome["resume"], 10)
            same(first.ended(), True)
            second.send(*counted("p5", 11, 20))
            second.until_ack(20)
            with Producer({"producer": "p5", "ack": "spooled"}).greeted() as third:
                same(third.welcome["resume"], 20)
                same(second.ended(), True)
    until(list(range(1, 21)), lambda: numbers("p5"))

with case("names may be any text, and are told apart"):
    for n, name in enumerate(["ä", "a b", "'; drop table events; --", "x" * 128, "X" * 128], start=1):
        line = ('{"hello":{"producer":"%s","ack":"stored"}}' % name).encode()
        with Producer() as producer:
            producer.send(line)
            same(producer.greeted().welcome["resume"], 0)
            producer.send(*({"type": "any.name"} for _ in range(n)))
            producer.until_ack(n)
    until_one(15, "select count(*) from events where type = 'any.name'")

with case("more names than limits.producers: OVERLOADED, and the known ones go on"):
    refused = 0
    for n in range(200):
        with Producer({"producer": "crowd %d" % n}) as producer:
            answer = producer.answer()
            if "error" in answer:
                same(answer["error"]["code"], "OVERLOADED")
                same(producer.ended(), True)
                refused += 1
    holds(refused > 0, refused)
    with Producer({"producer": "p1"}).greeted() as producer:
        same(producer.welcome["resume"], 150)

finish()
