# SPDX-License-Identifier: Apache-2.0
"""The HTTP door, byte by byte (CONTRACTS.md 1, 3, 4). Phases: open, strict, slow, full, relieved; see http_test.sh."""
import gzip
import json
import os

from client import (Http, case, equal, fresh, get, metric, post, rows, run, stored, token, true, until)

LINES = {"Content-Type": "application/x-ndjson"}
DURABLE = os.path.join(os.environ["TMP"], "accepted")  # from phase full to phase relieved


def event(**members):
    return {"type": "test", "id": fresh(), **members}


def lines(*values):
    return b"".join(value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n" for value in values)


def counts(response, status, accepted, duplicates=0, rejected=()):
    """The answer is this one and has exactly these members; `rejected` holds (index, code)."""
    equal(response.status, status, response.body)
    body = response.json()
    equal(sorted(body), ["accepted", "duplicates", "rejected"], "members")
    equal((body["accepted"], body["duplicates"]), (accepted, duplicates), body)
    equal([(one["index"], one["code"]) for one in body["rejected"]], list(rejected), body)
    for one in body["rejected"]:
        true(isinstance(one["message"], str) and one["message"] and set(one) <= {"index", "code", "message", "id"}, one)
    return body


def refused(response, status, code):
    """An answer about the request as a whole."""
    equal((response.status, response.json()["code"]), (status, code), response.body)
    true(response.json()["message"], "a message")
    return response


def kept(*events):
    """Every one is a row, once."""
    ids = [one["id"] for one in events]
    found = stored("select id from events where id = any(%s)", ids, count=len(ids))
    equal(sorted(row[0] for row in found), sorted(ids))


# ── open: nobody needs a token ───────────────────────────────────────────────────────────────────

@case("open")
def one_object_becomes_a_row():
    one = event(userId="u-7", tenantId="t", projectId=12, sessionId="s", roomId="r",
                timestamp="2024-02-29T12:00:00.25+02:00", data={"a": [1, None, "ü"]})
    response = post("/events", one)
    equal((response.status, response.body), (202, b'{"accepted":1,"duplicates":0,"rejected":[]}'))
    equal(response.headers["content-type"], "application/json")
    row = stored("select type, user_id, tenant_id, project_id, session_id, room_id, data, (ts at time zone 'utc')::text,"
                 " received_at > now() - interval '1 minute' from events where id = %s", one["id"])[0]
    equal(row[:6], ("test", "u-7", "t", "12", "s", "r"))
    equal(row[6:], ({"a": [1, None, "ü"]}, "2024-02-29 10:00:00.25", True))


@case("open")
def array_keeps_the_good_around_the_bad():
    good = [event() for _ in range(3)]
    body = counts(post("/events", [good[0], {"type": "no blanks!", "id": "bad-1"}, good[1], good[0], 7, good[2]]),
                  202, 3, 1, [(1, "INVALID_FIELD"), (4, "INVALID_FIELD")])
    true("type" in body["rejected"][0]["message"], "the message names the member")
    kept(*good)


@case("open")
def ndjson_keeps_the_good_around_the_bad():
    good = [event() for _ in range(3)]
    text = lines(good[0], b'{"type":\n', good[1], b"\r\n", b'{"type":"x"} {"type":"y"}\r\n') + json.dumps(good[2]).encode()
    with Http() as http:
        counts(http.ask("POST", "/events", text, LINES), 202, 3, 0, [(1, "INVALID_JSON"), (3, "INVALID_JSON")])
    kept(*good)


@case("open")
def ndjson_is_recognised_without_its_type():
    good = [event(), event()]
    counts(post("/events", lines(*good)), 202, 2)
    kept(*good)


@case("open")
def a_bare_object_is_data():
    mark = fresh()
    counts(post("/events", {"colour": mark}), 202, 1)
    row = stored("select type, data, length(id) from events where data->>'colour' = %s", mark)[0]
    equal(row, ("event", {"colour": mark}, 36))


@case("open")
def an_empty_array_is_nothing():
    counts(post("/events", []), 202, 0)


@case("open")
def all_bad_is_400():
    counts(post("/events", [{"id": "a"}, {"type": ""}]), 400, 0, 0, [(0, "MISSING_TYPE"), (1, "INVALID_FIELD")])
    counts(post("/events", b""), 400, 0, 0, [(0, "INVALID_JSON")])


@case("open")
def an_array_without_its_end_keeps_what_was_whole():
    good = event()
    counts(post("/events", b"[" + json.dumps(good).encode() + b","), 202, 1, 0, [(1, "INVALID_JSON")])
    kept(good)


@case("open")
def every_code_of_a_bad_event():
    """Each between two good neighbours, which are kept; the answer names the bad one's id."""
    bad = [("INVALID_JSON", b'{"type":"t","data":01}'),
           ("MISSING_TYPE", b'{"id":"bad","data":1}'),
           ("UNSUPPORTED_TYPE", b'{"type":"cart_event","data":{"eventId":"bad","eventType":"nope","userId":"u"}}'),
           ("INVALID_FIELD", b'{"type":"t","id":"bad","userId":["u"]}'),
           ("INVALID_FIELD", b'{"type":"t","id":"bad","timestamp":"yesterday"}'),
           ("TOO_LARGE", b'{"type":"t","id":"bad","data":"' + b"x" * 65536 + b'"}'),
           ("UNSTORABLE_TEXT", rb'{"type":"t","id":"bad","data":{"deep":["\u0000"]}}'),
           ("UNSTORABLE_TEXT", rb'{"type":"t","id":"bad","data":"\udc00\ud800"}'),
           ("UNSTORABLE_TEXT", rb'{"type":"t","id":"bad","userId":"\ud800"}')]
    for code, text in bad:
        before, behind = event(), event()
        with Http() as http:
            body = counts(http.ask("POST", "/events", lines(before, text + b"\n", behind), LINES), 202, 2, 0, [(1, code)])
            if code != "INVALID_JSON":
                equal(body["rejected"][0].get("id"), "bad", code)
            counts(http.ask("POST", "/events", text), 413 if code == "TOO_LARGE" else 400, 0, 0, [(0, code)])
        kept(before, behind)
    equal(rows("select count(*) from events where id = 'bad'"), [(0,)])


@case("open")
def duplicates_are_told_and_not_stored_again():
    one = event()
    counts(post("/events", one), 202, 1)
    counts(post("/events?ack=stored", [one, event(), one]), 202, 1, 2)
    equal(rows("select count(*) from events where id = %s", one["id"]), [(1,)])


@case("open")
def stored_is_stored_when_it_is_said():
    with Http() as http:
        for _ in range(20):
            one = event()
            counts(http.ask("POST", "/events?ack=stored", json.dumps(one).encode()), 202, 1)
            equal(rows("select count(*) from events where id = %s", one["id"]), [(1,)], "at once")


@case("open")
def other_levels():
    for level in ("none", "received", "spooled"):
        one = event()
        counts(post(f"/events?ack={level}", one), 202, 1)
        kept(one)
    refused(post("/events?ack=eaten", event()), 400, "INVALID_FIELD")


@case("open")
def gzip_bodies():
    good = [event() for _ in range(500)]
    packed = gzip.compress(lines(*good))
    with Http() as http:
        counts(http.ask("POST", "/events?ack=stored", packed, {"Content-Encoding": "gzip", **LINES}), 202, 500)
        kept(*good)
    with Http() as http:
        equal(http.ask("POST", "/events", b"not gzip at all", {"Content-Encoding": "gzip"}).status, 400)


def taken(response, events):
    """What the answer to a body that broke off says it took: that much and no more is stored."""
    accepted = response.json().get("accepted", 0)
    kept(*events[:accepted])
    equal(rows("select count(*) from events where id = any(%s)", [one["id"] for one in events]), [(accepted,)])
    return accepted


@case("open")
def gzip_cut_off_says_what_was_taken():
    few, many = [event() for _ in range(5)], [event(data=fresh()) for _ in range(20000)]
    for events in (few, many):
        response = post("/events", gzip.compress(lines(*events))[:-9], Content_Encoding="gzip", **LINES)
        equal(response.status, 400, response.body)
        true(taken(response, events) > 0 or events is few, "a long body is taken as it comes")


@case("open")
def other_codings_are_415():
    response = post("/events", event(), Content_Encoding="br")
    equal(response.status, 415, response.body)
    true("gzip" in response.headers["accept-encoding"], response.headers)


@case("open")
def chunked_in_single_bytes():
    good = [event(), event()]
    with Http() as http:
        http.send("POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in lines(*good):
            http.send(b"1;ext=\"v\"\r\n" + bytes([byte]) + b"\r\n")
        http.send("0\r\nX-Trailer: yes\r\n\r\n")
        counts(http.read(), 202, 2)
        counts(http.ask("POST", "/events", json.dumps(event()).encode()), 202, 1)
    kept(*good)


@case("open")
def broken_chunks_say_what_was_taken():
    good = event()
    body = lines(good)
    with Http() as http:
        http.send("POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                  "Content-Type: application/x-ndjson\r\n\r\n")
        http.send(b"%x\r\n%s\r\n" % (len(body), body) + b"zz\r\n")
        response = http.read()
        true(response.status in (202, 400), response.status)
        true(http.closed(), "nobody can tell where the next request begins")
    taken(response, [good])


@case("open")
def pipelined_answers_keep_their_order():
    ids = [event() for _ in range(50)]
    with Http() as http:
        text = b""
        for number, one in enumerate(ids):
            body = json.dumps(one).encode()
            level = ("stored", "received", "spooled")[number % 3]
            text += b"POST /events?ack=%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (
                level.encode(), len(body), body)
            text += b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        http.send(text)
        for _ in ids:
            counts(http.read(), 202, 1)
            equal(http.read().body, b'{"status":"ok"}')
    kept(*ids)


@case("open")
def cut_anywhere_a_request_is_the_same():
    one = event()
    body = json.dumps(one).encode()
    text = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with Http() as http:
        http.send(text)
        counts(http.read(), 202, 1)
        for at in range(1, len(text)):
            http.send(text[:at])
            http.send(text[at:])
            counts(http.read(), 202, 0, 1)


@case("open")
def expect_100_continue():
    one = event()
    body = json.dumps(one).encode()
    with Http() as http:
        http.send(f"POST /events HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n")
        equal(http.read().status, 100)
        http.send(body)
        counts(http.read(), 202, 1)
    with Http() as http:  # what is refused anyway is refused before its body is sent
        http.send("POST /events HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        equal(http.read().status, 413)
    with Http() as http:
        equal(http.ask("POST", "/events", body, {"Expect": "a miracle"}).status, 417)


@case("open")
def connection_close_and_http_1_0():
    with Http() as http:
        counts(http.ask("POST", "/events", json.dumps(event()).encode(), {"Connection": "close"}), 202, 1)
        true(http.closed(), "Connection: close")
    with Http() as http:
        body = json.dumps(event())
        http.send(f"POST /events HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        counts(http.read(), 202, 1)
        true(http.closed(), "HTTP/1.0 closes")
    with Http() as http:
        for _ in range(2):
            http.send("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            equal(http.read().status, 200)


@case("open")
def statuses_of_what_is_no_good_request():
    for text, status in [
            ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("POST /events HTTP/1.1\r\nHost: x\r\n\r\n", 411),
            ("GET /livez HTTP/1.1\r\n\r\n", 400),
            ("GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
            ("GET /livez HTTP/9.9\r\nHost: x\r\n\r\n", 505),
            ("POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n[]", 400),
            ("POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            ("POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
            ("POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
            ("GET /livez HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n", 400),
            ("GET /livez HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n", 400),
            ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
            ("GET /" + "a" * 9000 + " HTTP/1.1\r\nHost: x\r\n\r\n", 414),
            ("GET /livez HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 200 + "\r\n", 431),
            ("GET /livez HTTP/1.1\r\nHost: x\r\nA: " + "b" * 40000 + "\r\n\r\n", 431),
            ("GET /events/stream HTTP/1.1\r\nHost: x\r\n\r\n", 426)]:
        with Http() as http:
            http.send(text.encode("latin-1"))
            equal(http.read().status, status, text[:60])


@case("open")
def wrong_methods_are_405():
    for method, path, allowed in [("PUT", "/events", "POST"), ("GET", "/events", "POST"), ("DELETE", "/stats", "GET"),
                                  ("POST", "/health", "GET")]:
        with Http() as http:
            response = http.ask(method, path, b"" if method in ("PUT", "POST") else None)
            equal(response.status, 405, (method, path))
            true(allowed in response.headers["allow"].split(", "), response.headers)
            equal(http.ask("GET", "/livez").status, 200, "the connection goes on")


@case("open")
def an_event_of_the_largest_size():
    one = event(data="")
    one["data"] = "x" * (65536 - len(json.dumps(one)))
    equal(len(json.dumps(one)), 65536)
    counts(post("/events?ack=stored", one), 202, 1)
    equal(rows("select length(data #>> '{}') from events where id = %s", one["id"]), [(len(one["data"]),)])
    one["id"], one["data"] = fresh(), one["data"] + "x"
    counts(post("/events", one), 413, 0, 0, [(0, "TOO_LARGE")])


@case("open")
def a_body_larger_than_the_limit_is_413():
    with Http() as http:
        http.send("POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 16777217\r\n\r\n")
        refused(http.read(), 413, "TOO_LARGE")
    bomb = gzip.compress(b" " * (20 << 20))
    with Http() as http:
        equal(http.ask("POST", "/events", bomb, {"Content-Encoding": "gzip"}).status, 413)


@case("open")
def cart_events_by_http():
    one = fresh()
    cart = {"eventId": one, "eventType": "item_added", "userId": "u", "metadata": {"productId": "p"},
            "timestamp": "2025-08-10T03:27:04Z"}
    counts(post("/events", [{"type": "cart_event", "data": cart}, {"type": "coupon_applied", "id": one + "x"}]), 202, 2)
    equal(stored("select user_id, event_type, metadata, ts at time zone 'utc' = '2025-08-10 03:27:04' from cart_events"
                 " where id = %s", one), [("u", "item_added", {"productId": "p"}, True)])
    stored("select 1 from cart_events where id = %s", one + "x")


@case("open")
def messages_are_queued():
    mark = fresh()
    response = post("/messages", {"user_id": 1, "channel_id": 42, "content": mark})
    equal((response.status, response.json()["status"]), (202, "queued"))
    equal(stored("select user_id, channel_id, created_at > now() - interval '1 minute' from messages where content = %s",
                 mark), [(1, 42, True)])
    mark = fresh()
    equal(post("/messages?ack=stored", {"user_id": 1, "channel_id": 1, "content": mark}).status, 202)
    equal(rows("select count(*) from messages where content = %s", mark), [(1,)])


@case("open")
def bad_messages_are_422():
    for body in (b"", b"{", b"[]", b"{}", b'{"user_id":1,"channel_id":1}', b'{"user_id":"x","channel_id":1,"content":"c"}',
                 b'{"user_id":1.5,"channel_id":1,"content":"c"}', b'{"user_id":1,"channel_id":1,"content":7}',
                 b'{"user_id":99999999999999999999,"channel_id":1,"content":"c"}',
                 b'{"user_id":1,"channel_id":null,"content":"c"}', rb'{"user_id":1,"channel_id":1,"content":"\u0000"}'):
        response = post("/messages", body)
        equal(response.status, 422, body)
        detail = response.json()["detail"]
        true(detail and all({"loc", "msg", "type"} <= set(one) for one in detail), response.body)


@case("open")
def pages_of_the_node():
    health = get("/health").json()
    equal(sorted(health), ["postgres", "redis", "status", "uptime_s", "version"])
    equal((health["status"], health["postgres"], health["redis"]), ("ok", "up", "off"))
    equal((get("/livez").json(), get("/readyz").json()), ({"status": "ok"}, {"status": "ready"}))


@case("open")
def stats_have_exactly_these_keys():
    before = get("/stats").json()["total_messages"]
    counts(post("/events?ack=stored", [event() for _ in range(100)]), 202, 100)
    stats = until(lambda: (lambda now: now if now["total_messages"] >= before + 100 else None)(get("/stats").json()),
                  "total_messages grows")
    equal(list(stats), ["total_messages", "current_rps", "messages_per_second", "queue_depth", "queue_length",
                        "total_batches", "avg_batch_size", "timestamp"])
    true(stats["total_batches"] > 0 and stats["current_rps"] > 0, stats)
    equal(round(stats["avg_batch_size"], 1), stats["avg_batch_size"], "one decimal")
    true(stats["timestamp"].endswith("Z") and "T" in stats["timestamp"], stats)


@case("open")
def head_has_no_body():
    with Http() as http:
        head, whole = http.ask("HEAD", "/livez"), http.ask("GET", "/livez")
        equal((head.status, head.headers["content-length"]), (200, whole.headers["content-length"]))


@case("open")
def cors_preflight():
    with Http() as http:
        asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "authorization, content-type"}
        response = http.ask("OPTIONS", "/events", None, asked)
        equal(response.status, 204)
        equal(response.headers["access-control-allow-origin"], "http://localhost:3000")
        equal(response.headers["access-control-allow-credentials"], "true")
        true("POST" in response.headers["access-control-allow-methods"], response.headers)
        true("authorization" in response.headers["access-control-allow-headers"], response.headers)
        response = http.ask("GET", "/livez", None, {"Origin": "http://localhost:3000"})
        equal(response.headers["access-control-allow-origin"], "http://localhost:3000")
        response = http.ask("OPTIONS", "/events", None, {**asked, "Origin": "http://evil.test"})
        true("access-control-allow-origin" not in response.headers, response.headers)


# ── strict: tokens, rates, sizes and times are limited ───────────────────────────────────────────

def bearer(**claims):
    return {"Authorization": "Bearer " + token(**claims)}


@case("strict")
def without_a_token_401():
    for path in ("/events", "/messages"):
        response = refused(post(path, {"type": "t"}), 401, "UNAUTHORIZED")
        true(response.headers["www-authenticate"].startswith("Bearer"), response.headers)
    refused(get("/stats"), 401, "UNAUTHORIZED")
    for path in ("/health", "/livez", "/readyz"):
        equal(get(path).status, 200, path)


@case("strict")
def a_bad_token_401():
    for text in ("nonsense", token(secret=b"another secret that is also long enough"), token(exp=1), token(exp="soon"),
                 token(nbf=4102444800), token(header={"alg": "none"}), token(header={"alg": "HS512"})):
        refused(post("/events", {"type": "t"}, Authorization=f"Bearer {text}"), 401, "UNAUTHORIZED")


@case("strict")
def a_good_token_in_either_place():
    one, other = event(), event()
    counts(post("/events", one, **bearer(sub="u-9", tenantId="t-9")), 202, 1)
    counts(post("/events?token=" + token(sub="u-8"), other), 202, 1)
    found = stored("select id, user_id, tenant_id from events where id in (%s, %s)", one["id"], other["id"], count=2)
    equal(sorted(found), sorted([(one["id"], "u-9", "t-9"), (other["id"], "u-8", None)]))
    equal(get("/stats", **bearer()).status, 200)


@case("strict")
def another_user_is_forbidden():
    good, bad = event(userId="u-1"), event(userId="u-2")
    counts(post("/events", [bad, good], **bearer()), 202, 1, 0, [(0, "FORBIDDEN")])
    counts(post("/events", bad, **bearer()), 403, 0, 0, [(0, "FORBIDDEN")])
    counts(post("/events", bad, **bearer(scope="ingest ingest:any")), 202, 1)
    kept(good, bad)


@case("strict")
def too_many_events_a_second_429():
    events = [event() for _ in range(60)]
    response = post("/events", events, **bearer())
    equal(response.status, 429, response.body)
    true(int(response.headers["retry-after"]) >= 1, response.headers)
    body = response.json()
    true(20 <= body["accepted"] <= 40, "a second's worth, or two when a second ends just then")
    equal({one["code"] for one in body["rejected"]}, {"RATE_LIMITED"})
    refused_indices = {one["index"] for one in body["rejected"]}
    equal(len(refused_indices) + body["accepted"], 60)
    kept(*[one for index, one in enumerate(events) if index not in refused_indices])


@case("strict")
def bodies_over_the_limit_before_and_after_gunzip():
    big = json.dumps([event(data="x" * 1000) for _ in range(100)]).encode()
    equal(post("/events", big, **bearer()).status, 413)
    response = post("/events", gzip.compress(big), **bearer(), Content_Encoding="gzip")
    equal(response.status, 413, response.body)


@case("strict")
def too_many_bad_tokens_429():
    """The last of its phase: behind it this address is turned away."""
    statuses = []
    for _ in range(100):
        response = post("/events", {"type": "t"}, Authorization="Bearer " + fresh())
        statuses.append(response.status)
        if response.status == 429:
            break
    equal(set(statuses[:-1]), {401})
    equal(statuses[-1], 429)
    true(int(response.headers["retry-after"]) >= 1, response.headers)


# ── slow: the times for a header, a body and doing nothing are short ─────────────────────────────

@case("slow")
def a_slow_header_408():
    with Http() as http:
        http.send("POST /events HTTP/1.1\r\nHost: x\r\n")
        refused(http.read(), 408, "TIMEOUT")
        true(http.closed(), "and it is over")


@case("slow")
def a_header_by_drips_408():
    """Activity does not move the deadline."""
    with Http() as http:
        http.send("POST /events HTTP/1.1\r\nX-Slow: ")
        while not http.heard(0.02):
            http.send("y")
        equal(http.read().status, 408)


@case("slow")
def a_slow_body_408_says_what_was_taken():
    for events in ([event()], [event(data="x" * 9000) for _ in range(6)]):
        with Http() as http:
            http.send(f"POST /events HTTP/1.1\r\nHost: x\r\n"
                      "Content-Length: 65000\r\nContent-Type: application/x-ndjson\r\n\r\n")
            http.send(lines(*events) + b'{"type":"t"')
            response = http.read()
            equal(response.status, 408, response.body)
            true(http.closed(), "and it is over")
        taken(response, events)


@case("slow")
def a_body_by_drips_408():
    """Activity does not move this deadline either."""
    with Http() as http:
        http.send(f"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 65000\r\n\r\n")
        while not http.heard(0.02):
            http.send(" ")
        equal(http.read().status, 408)


@case("slow")
def an_idle_connection_is_closed_in_silence():
    with Http() as http:
        equal(http.ask("GET", "/livez").status, 200)
        true(http.closed(), "limits.idle_ms")


# ── full: Postgres is away and the spool is 4 MiB ────────────────────────────────────────────────

@case("full")
def a_full_spool_is_503_and_keeps_what_it_took():
    accepted = []
    with Http() as http:
        while len(accepted) < 2000:
            events = [event(data="x" * 20000) for _ in range(5)]
            response = http.ask("POST", "/events", json.dumps(events).encode())
            accepted += events[:response.json().get("accepted", 0)]
            if response.status != 202:
                break
    equal(response.status, 503, response.body)
    true(int(response.headers["retry-after"]) >= 1, response.headers)
    true(b'"OVERLOADED"' in response.body, response.body)
    true(len(accepted) > 50, "4 MiB hold more")
    with open(DURABLE, "w", encoding="ascii") as file:
        file.write("\n".join(one["id"] for one in accepted))


@case("full")
def a_full_node_says_so():
    health = get("/health").json()
    equal(health["status"], "degraded")
    true(health["postgres"] in ("down", "connecting"), health)
    response = until(lambda: (lambda page: page if page.status == 503 else None)(get("/readyz")), "/readyz")
    true(int(response.headers["retry-after"]) >= 1, response.headers)
    equal(get("/livez").status, 200)
    equal(post("/messages", {"user_id": 1, "channel_id": 1, "content": "c"}).status, 503)
    until(lambda: metric("ringmain_spool_pressure_level") >= 2, "the pressure is shown")


@case("relieved")
def what_was_accepted_is_stored_once_postgres_is_back():
    with open(DURABLE, encoding="ascii") as file:
        ids = file.read().split()
    stored("select id from events where id = any(%s)", ids, count=len(ids))
    until(lambda: get("/readyz").status == 200, "ready again")
    until(lambda: get("/health").json()["status"] == "ok", "healthy again")
    counts(post("/events?ack=stored", event()), 202, 1)


run()
