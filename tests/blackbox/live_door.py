# SPDX-License-Identifier: Apache-2.0
"""/ws/live, /sse, /pub and /sub, and the HTTP API of the hub: python3-websockets, and event streams read byte by byte.
Phases: open, strict, slow; see live_test.sh. CONTRACTS.md 4, RFC 6455, WHATWG HTML 9.2.
"""
import asyncio
import json
import os
import re
import socket
import time

import websockets

from client import HTTP, Http, PATIENCE, case, equal, fresh, get, metric, post, run, token, true, until

SHARDS = int(os.environ["SHARDS"])


def case_async(phase):
    """A case that is a coroutine."""
    def register(function):
        def whole():
            asyncio.run(asyncio.wait_for(function(), 3 * PATIENCE))
        whole.__name__ = function.__name__
        return case(phase)(whole)
    return register


def connect(path, **options):
    options.setdefault("max_size", None)
    options.setdefault("max_queue", None)
    options.setdefault("ping_interval", None)
    return websockets.connect(f"ws://{HTTP}{path}", **options)


async def hear(ws):
    return json.loads(await asyncio.wait_for(ws.recv(), PATIENCE))


async def apart(function, *arguments, **named):
    return await asyncio.get_running_loop().run_in_executor(None, lambda: function(*arguments, **named))


def publish(to, event="e", data=None, status=202, headers=None, **more):
    answer = post("/api/publish", {"to": to, "event": event, "data": data, **more}, **(headers or {}))
    equal(answer.status, status, answer.body)
    return answer.json()


class Stream:
    """An event stream, taken apart as WHATWG HTML 9.2.6 says; keeps the last id as a page does."""

    def __init__(self, path, last_id="", **headers):
        self.http = Http()
        lines = [f"GET {path} HTTP/1.1", "Host: ringmain.test", "Accept: text/event-stream"]
        if last_id:
            lines.append(f"Last-Event-ID: {last_id}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.http.send("\r\n".join(lines) + "\r\n\r\n")
        self.head = self.http._until(b"\r\n\r\n").decode("latin-1")
        self.status = int(self.head.split(" ")[1])
        self.last_id, self.retry, self.comments = last_id, None, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.socket.close()

    def block(self):
        """The data of the next block; None: it had none."""
        data = []
        for line in self.http._until(b"\n\n").decode().split("\n"):
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if name == "":
                self.comments += 1
            elif name == "data":
                data.append(value)
            elif name == "id":
                self.last_id = value
            elif name == "retry":
                self.retry = int(value)
            else:
                raise AssertionError(f"field {name!r}: onmessage would not be called")
        return "\n".join(data) if data else None

    def ended(self):
        return self.http.socket.recv(65536) == b""

    def hear(self):
        while (data := self.block()) is None:
            pass
        return json.loads(data)

    def opened(self):
        """The first block, which is no event."""
        equal(self.status, 200)
        equal(self.block(), None)
        return self


# ── Rooms ────────────────────────────────────────────────────────────────────────────────────────

@case_async("open")
async def what_is_published_in_a_room_is_heard_there_and_nowhere_else():
    here, there = fresh("room"), fresh("room")
    async with connect(f"/ws/live?room={here}") as one, connect(f"/ws/live?room={there}") as other:
        await apart(publish, {"room": here}, "e1", {"n": 1})
        await apart(publish, {"room": there}, "e2", [2])
        first = await hear(one)
        equal({k: first[k] for k in ("event", "data", "room")}, {"event": "e1", "data": {"n": 1}, "room": here})
        second = await hear(other)
        equal({k: second[k] for k in ("event", "data", "room")}, {"event": "e2", "data": [2], "room": there})


@case_async("open")
async def long_ones_come_compressed_to_whoever_can_unpack_them():
    room = fresh("room")
    async with connect(f"/ws/live?room={room}") as packed, connect(f"/ws/live?room={room}", compression=None) as plain:
        equal((len(packed.extensions), len(plain.extensions)), (1, 0))
        await apart(publish, {"room": room}, data="short")
        await apart(publish, {"room": room}, data="ä long one " * 1000)
        for ws in (packed, plain):
            equal(sorted([(await hear(ws))["data"] for _ in range(2)]), ["short", "ä long one " * 1000])


@case_async("open")
async def several_rooms_by_commas_and_by_repetition():
    names = [fresh("room") for _ in range(3)] + [fresh("a,b")]
    escaped = names[3].replace(",", "%2C")
    async with connect(f"/ws/live?room={names[0]},{names[1]}&room={names[2]}&room={escaped}") as ws:
        for name in names:
            await apart(publish, {"room": name}, data=name)
            equal((await hear(ws))["room"], name)


@case_async("open")
async def filters_by_type():
    room = fresh("room")
    async with connect(f"/ws/live?room={room}&types=click,view&types=buy") as ws:
        for event in ("scroll", "click", "clic", "view", "", "buy"):
            if event:
                await apart(publish, {"room": room}, event)
        await apart(publish, {"room": room}, "shown", type="view")
        equal([(await hear(ws))["event"] for _ in range(4)], ["click", "view", "buy", "shown"])


@case_async("open")
async def to_all_is_for_everyone():
    async with connect(f"/ws/live?room={fresh()}") as ws, connect("/ws/live") as bare:
        with Stream("/sse") as stream:
            stream.opened()
            name = fresh("all")
            await apart(publish, "all", name, {"x": True})
            for heard in (await hear(ws), await hear(bare), await apart(stream.hear)):
                equal((heard["event"], heard["data"], heard["room"]), (name, {"x": True}, "*"))


@case_async("open")
async def all_subscribers_on_all_shards_hear_all_in_one_order():
    room, count, messages = fresh("room"), 24, 200
    sockets = [await connect(f"/ws/live?room={room}") for _ in range(count)]

    def burst(part):
        with Http() as http:
            for n in range(messages // 4):
                body = json.dumps({"to": {"room": room}, "event": "e", "data": [part, n]}).encode()
                equal(http.ask("POST", "/api/publish", body).status, 202)
    await asyncio.gather(*(apart(burst, part) for part in range(4)))
    heard = [[(await hear(ws))["data"] for _ in range(messages)] for ws in sockets]
    equal(len({json.dumps(one) for one in heard}), 1, "orders")
    for part in range(4):
        equal([n for p, n in heard[0] if p == part], list(range(messages // 4)))
    for ws in sockets:
        await ws.close()


@case_async("open")
async def bad_requests_are_refused_in_http():
    for query, code in (("room=", 400), ("room=%zz", 400), ("room=" + "x" * 161, 400), ("room=user:somebody", 403),
                        ("room=user_somebody", 403), ("room=tenant:t", 403), ("room=*", 403),
                        ("room=ok,user:x", 403), ("types=a%2Cb", 400),
                        ("room=" + ",".join(f"r{i}" for i in range(65)), 400)):
        for path in ("/ws/live", "/sse"):
            headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13",
                       "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="} if path == "/ws/live" else {}
            equal(get(f"{path}?{query}", **headers).status, code, path + query)


# ── Server-Sent Events ───────────────────────────────────────────────────────────────────────────

@case("open")
def an_event_stream_is_what_event_source_reads():
    room = fresh("room")
    with Stream(f"/sse?room={room}", Origin="http://localhost:3000") as stream:
        stream.opened()
        head = stream.head.lower()
        for line in ("content-type: text/event-stream", "cache-control: no-cache", "connection: close",
                     "access-control-allow-origin: http://localhost:3000", "access-control-allow-credentials: true"):
            true(line in head, (line, head))
        true("content-length" not in head, head)
        equal(stream.retry, 700)
        publish({"room": room}, "e", {"text": "two\nlines \u2028 and \"quotes\""})
        heard = stream.hear()
        equal(heard["data"], {"text": "two\nlines \u2028 and \"quotes\""})
        equal(heard["id"], stream.last_id)


@case("open")
def white_space_in_data_does_not_end_an_event():
    room = fresh("room")
    with Stream(f"/sse?room={room}") as stream:
        stream.opened()
        body = b'{"to":{"room":"%s"},"event":"e","data":{"a":\r\n\n\r 1,\n"b":[\n]}}' % room.encode()
        equal(post("/api/publish", body).status, 202)
        equal(stream.hear()["data"], {"a": 1, "b": []})


@case("open")
def a_silent_stream_gets_comments():
    with Stream(f"/sse?room={fresh()}") as stream:
        stream.opened()
        equal([stream.block(), stream.block()], [None, None])
        equal(stream.comments, 2)


@case("open")
def a_stream_on_a_connection_that_served_before_and_over_http_1_0():
    with Http() as http:
        equal(http.ask("GET", "/livez").status, 200)
        room = fresh("room")
        http.send(f"GET /sse?room={room} HTTP/1.1\r\nHost: x\r\n\r\n")
        true(b" 200 " in http._until(b"\r\n\r\n"), "status")
        http._until(b"\n\n")
        publish({"room": room}, data=1)
        true(http._until(b"\n\n").startswith(b"id: "), "event")
    with Http() as http:
        http.send(f"GET /sse?room={room} HTTP/1.0\r\n\r\n")
        true(b" 200 " in http._until(b"\r\n\r\n"), "status")
        http._until(b"\n\n")
        publish({"room": room}, data=1)
        true(http._until(b"\n\n").startswith(b"id: "), "event")
    with Http() as http:
        equal(http.ask("HEAD", "/sse").status, 200)


@case("open")
def a_stream_that_the_client_leaves_is_forgotten():
    before = metric("ringmain_live_subscribers")
    streams = [Stream(f"/sse?room={fresh()}").opened() for _ in range(10)]
    until(lambda: metric("ringmain_live_subscribers") == before + 10, "subscribers")
    for stream in streams:
        stream.http.socket.close()
    until(lambda: metric("ringmain_live_subscribers") == before, "they are gone")


@case("open")
def a_burst_comes_whole_and_in_order():
    room = fresh("room")
    with Stream(f"/sse?room={room}") as stream, Stream(f"/sse?room={room}&types=odd") as odd, Http() as http:
        stream.opened(), odd.opened()
        for part in range(5):  # pipelined: many publications in one turn
            bodies = [json.dumps({"to": {"room": room}, "event": "odd" if n % 2 else "even", "data": n}).encode()
                      for n in range(100 * part, 100 * part + 100)]
            http.send(b"".join(b"POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                               % (len(body), body) for body in bodies))
            equal([http.read().status for _ in bodies], [202] * 100)
        equal([stream.hear()["data"] for _ in range(500)], list(range(500)))
        equal([odd.hear()["data"] for _ in range(250)], list(range(1, 500, 2)))


# ── What was missed ──────────────────────────────────────────────────────────────────────────────

def _missed(reconnect):
    room = fresh("room")
    with Stream(f"/sse?room={room}") as stream:
        stream.opened()
        publish({"room": room}, data=0)
        equal(stream.hear()["data"], 0)
        last = stream.last_id
    for n in range(1, 6):
        publish({"room": room}, data=n)
    publish({"room": fresh()}, data="of another room")
    for _ in range(8):  # whichever shard it comes to first
        equal(reconnect(room, last), [1, 2, 3, 4, 5])


@case("open")
def last_event_id_brings_what_was_missed():
    def by_header(room, last):
        with Stream(f"/sse?room={room}", last_id=last) as stream:
            return [stream.hear()["data"] for _ in range(5)]
    _missed(by_header)


@case("open")
def last_event_id_in_the_query():
    def by_query(room, last):
        with Stream(f"/sse?room={room}&lastEventId={last}") as stream:
            return [stream.hear()["data"] for _ in range(5)]
    _missed(by_query)


@case("open")
def last_id_of_a_websocket():
    def by_socket(room, last):
        async def whole():
            async with connect(f"/ws/live?room={room}&last_id={last}") as ws:
                return [(await hear(ws))["data"] for _ in range(5)]
        return asyncio.run(whole())
    _missed(by_socket)


@case("open")
def a_stream_that_heard_nothing_can_come_back_too():
    room = fresh("room")
    with Stream(f"/sse?room={room}") as stream:
        last = stream.opened().last_id
    true(last != "", "the first block has an id")
    publish({"room": room}, data="missed")
    with Stream(f"/sse?room={room}", last_id=last) as stream:
        equal(stream.hear()["data"], "missed")


@case("open")
def what_cannot_be_known_is_a_gap():
    for last in ("0-1", "63-1", "nonsense", f"{SHARDS - 1}-99999999999999999"):
        room = fresh("room")
        with Stream(f"/sse?room={room}", last_id=last) as stream:
            equal(stream.hear(), {"event": "gap", "data": {"missed": None}})
            publish({"room": room}, data="new")
            equal(stream.hear()["data"], "new")


# ── The HTTP API ─────────────────────────────────────────────────────────────────────────────────

@case("open")
def what_publish_refuses():
    good = {"to": {"room": "r"}, "event": "e"}
    for change, words in (({"to": None}, "to:"), ({"to": "some"}, "to:"), ({"to": {}}, "to:"), ({"to": {"rom": "x"}}, "to:"),
                          ({"to": {"room": "a", "user": "b"}}, "to:"), ({"to": {"room": ""}}, "to:"),
                          ({"to": {"room": "x" * 161}}, "to:"), ({"to": {"user": 1.5}}, "to:"), ({"event": ""}, "event:"),
                          ({"event": 7}, "event:"), ({"event": "x" * 129}, "event:"), ({"event": "connect"}, "event:"),
                          ({"event": "disconnect"}, "event:"), ({"type": ""}, "type:")):
        answer = post("/api/publish", {**good, **change})
        equal(answer.status, 400, change)
        equal(answer.json()["code"], "INVALID_FIELD", change)
        true(answer.json()["message"].startswith(words), answer.body)
    for member in good:
        answer = post("/api/publish", {name: value for name, value in good.items() if name != member})
        equal((answer.status, answer.json()["message"]), (400, f"{member}: missing"))
    for body, code in ((b"", "INVALID_JSON"), (b"{", "INVALID_JSON"), (b"[]", "INVALID_FIELD"), (b"1", "INVALID_FIELD")):
        answer = post("/api/publish", body)
        equal((answer.status, answer.json()["code"]), (400, code), body)
    equal(post("/api/publish", b'{"to":"all","event":"e","data":"' + b"x" * (1 << 20) + b'"}').status, 413)
    equal(publish({"user": 42}, "e")["room"], "user:42")
    equal(publish({"project": "p"}, "e"), {"status": "published", "room": "project:p", "event": "e"})


@case_async("open")
async def who_is_in_a_room():
    room = fresh("room")
    equal((await apart(get, f"/api/rooms/{room}/users")).json(), {"room": room, "users": [], "count": 0})
    async with connect(f"/ws/live?room={room}"):
        equal((await apart(get, f"/api/rooms/{room}/users")).json()["users"], [])  # nobody in particular
        total = (await apart(get, "/api/connections")).json()
        true(total["totalConnections"] >= 1 and total["transportConnections"]["websocket"] >= 1, total)
    equal((await apart(get, "/api/rooms/%zz/users")).status, 404)
    equal((await apart(get, "/api/rooms/" + "x" * 161 + "/users")).status, 404)
    for id in ("0123456789abcdef", "nobody", "x" * 161):
        equal((await apart(Http().ask, "DELETE", f"/api/connections/{id}")).status, 404)


@case_async("open")
async def questions_that_are_pipelined_are_answered_in_order():
    def ask():
        with Http() as http:
            http.send("".join(f"GET /api/rooms/r{n}/users HTTP/1.1\r\nHost: x\r\n\r\n" for n in range(50)))
            for n in range(50):
                equal(http.read().json()["room"], f"r{n}")
    await asyncio.gather(*(apart(ask) for _ in range(8)))


# ── /pub and /sub ────────────────────────────────────────────────────────────────────────────────

@case_async("open")
async def pub_goes_to_every_sub_as_it_stands():
    subs = [await connect("/sub", compression=None) for _ in range(10)]
    async with connect("/pub", compression=None) as pub, connect("/pub") as packed:
        wanted = ["text", b"\x00\xff", "", b"", "é" * 40000, os.urandom(200000)]
        for message in wanted:
            await pub.send(message)
        for sub in subs:
            equal([await asyncio.wait_for(sub.recv(), PATIENCE) for _ in wanted], wanted)
        many = [f"m{n}" if n % 2 else b"m%d" % n for n in range(3000)]
        for message in many:
            await packed.send(message)
        for sub in subs:
            equal([await asyncio.wait_for(sub.recv(), PATIENCE) for _ in many], many)
    for sub in subs:
        await sub.close()


# ── Tokens ───────────────────────────────────────────────────────────────────────────────────────

def bearer(**claims):
    return {"Authorization": "Bearer " + token(**claims)}


@case_async("strict")
async def no_token_and_a_bad_one_are_401():
    for path in ("/ws/live?room=a", f"/ws/live?room=a&token={token(secret=b'another')}"):
        try:
            async with connect(path):
                raise AssertionError("let in")
        except websockets.exceptions.InvalidStatusCode as error:
            equal(error.status_code, 401)
    equal(get("/sse?room=a").status, 401)
    equal(get("/sse?room=a&token=" + token(exp=int(time.time()) - 100)).status, 401)


@case_async("strict")
async def own_rooms_without_asking():
    async with connect("/ws/live?token=" + token(sub="u7", tenantId="t7")) as ws:
        await apart(publish, {"user": "u7"}, "mine", headers=bearer(scope="publish"))
        equal((await hear(ws))["room"], "user:u7")
        await apart(publish, {"tenant": "t7"}, "ours", headers=bearer(scope="publish"))
        equal((await hear(ws))["room"], "tenant:t7")


@case("strict")
def rooms_of_others_stay_closed():
    own = {"sub": "u7", "tenantId": "t7", "rooms": ["lobby"], "projects": ["p7"]}
    for room, status in (("user:u7", 200), ("user_u7", 200), ("tenant:t7", 200), ("lobby", 200), ("project:p7", 200),
                         ("user:u8", 403), ("user_u8", 403), ("user:u7x", 403), ("user:", 403), ("tenant:t8", 403),
                         ("cellar", 403), ("*", 403), ("user:u8%00", 400), ("USER:u8", 403), ("%75ser:u8", 403),
                         ("lobby,user:u8", 403)):
        with Stream(f"/sse?room={room}&token={token(**own)}") as stream:
            equal(stream.status, status, room)
    with Stream(f"/sse?room=user:u8,tenant:t8&token={token(sub='boss', scope='admin')}") as stream:
        equal(stream.status, 200, "admin")


@case_async("strict")
async def an_event_that_was_posted_is_seen_by_its_user_and_in_its_project():
    user, project = fresh("u"), fresh("p")
    own = token(sub=user, projects=[project])
    with Stream(f"/sse?types=events&token={own}") as stream:
        stream.opened()
        async with connect(f"/ws/live?room=project:{project}&token={own}") as ws:
            answer = await apart(post, "/events", {"type": "click", "id": fresh(), "projectId": project, "sessionId": "s"},
                                 Authorization="Bearer " + own)
            equal(answer.status, 202, answer.body)
            seen = await hear(ws)
            equal((seen["event"], seen["room"], seen["data"]["sessionId"], seen["data"]["event"]["type"]),
                  ("event-received", f"project:{project}", "s", "click"))
            batch = await apart(stream.hear)
            equal((batch["event"], batch["room"], [event["type"] for event in batch["data"]]),
                  ("events", f"user:{user}", ["click"]))


@case_async("strict")
async def a_token_that_expires_is_told_and_closed():
    short = token(sub="u9", exp=int(time.time()) + 2)
    with Stream("/sse?token=" + short) as stream:
        async with connect("/ws/live?token=" + short) as ws:
            told = await hear(ws)
            equal((told["event"], told["data"]["code"]), ("error", "UNAUTHORIZED"))
            await asyncio.wait_for(ws.wait_closed(), PATIENCE)
            equal(ws.close_code, 1008)
        stream.opened()
        told = stream.hear()
        equal((told["event"], told["data"]["code"]), ("error", "UNAUTHORIZED"))
        true(stream.http.closed(), "the stream has ended")


@case("strict")
def scopes_of_the_api():
    body = {"to": {"room": "r"}, "event": "e"}
    equal(post("/api/publish", body).status, 401)
    equal(post("/api/publish", body, **bearer()).status, 403)
    equal(post("/api/publish", body, **bearer(scope="admin")).status, 403)
    equal(post("/api/publish", body, **bearer(scope="publish")).status, 202)
    for to in ("all", {"room": "*"}):
        equal(post("/api/publish", {"to": to, "event": "e"}, **bearer(scope="publish")).status, 202)
        equal(post("/api/publish", {"to": to, "event": "e"}, **bearer(scope="publish:all")).status, 202)
    for path in ("/api/connections", "/api/rooms/r/users", "/api/projects/p/users"):
        equal(get(path).status, 401)
        equal(get(path, **bearer(scope="publish publish:all ingest stats")).status, 403)
        equal(get(path, **bearer(scope="admin")).status, 200)
    equal(Http().ask("DELETE", "/api/connections/x", None, bearer(scope="publish")).status, 403)


@case_async("strict")
async def users_are_named_once_over_all_shards():
    room, admin = fresh("room"), bearer(scope="admin")
    sockets = [await connect(f"/ws/live?room={room}&token={token(sub=f'u{n % 3}', tenantId='t')}") for n in range(12)]
    answer = (await apart(get, f"/api/rooms/{room}/users", **admin)).json()
    equal(answer, {"room": room, "users": ["u0", "u1", "u2"], "count": 3})
    total = (await apart(get, "/api/connections", **admin)).json()
    equal(total["userConnections"], {"u0": 4, "u1": 4, "u2": 4})
    equal(total["tenantConnections"], {"t": 12})
    projects = [await connect(f"/ws/live?room=project:p1&token={token(sub='u5', projects=['p1'])}") for _ in range(3)]
    answer = (await apart(get, "/api/projects/p1/users", **admin)).json()
    equal(answer, {"projectId": "p1", "users": ["u5"], "count": 1})
    for ws in sockets + projects:
        await ws.close()


@case_async("strict")
async def who_comes_and_goes_is_told_where_the_room_asks_for_it():
    room = fresh("watched")
    async with connect(f"/ws/live?room={room}&types=presence&token={token(sub='watcher', rooms=[room])}") as watcher:
        mine = {"sub": "passer", "rooms": [room]}
        sockets = [await connect(f"/ws/live?room={room}&token={token(**mine)}") for _ in range(6)]
        told = await hear(watcher)
        equal((told["event"], told["data"]["event"], told["data"]["roomId"], told["data"]["userId"]),
              ("presence", "join", room, "passer"))
        for ws in sockets:
            await ws.close()
        told = await hear(watcher)
        equal((told["data"]["event"], told["data"]["userId"]), ("leave", "passer"))


def _poll(http, sid, body=None):
    answer = http.ask("GET" if body is None else "POST", f"/socket.io/?EIO=4&transport=polling&sid={sid}", body)
    return answer.status, answer.body.decode()


@case("strict")
def an_operator_ends_a_connection_by_the_id_that_its_client_was_told():
    with Http() as http, Http() as operator:
        hello = http.ask("GET", f"/socket.io/?EIO=4&transport=polling&token={token(sub='u')}").body.decode()
        sid = json.loads(hello[1:])["sid"]
        equal(_poll(http, sid, b"40")[0], 200)
        seen = ""
        while "connectionId" not in seen:
            seen += _poll(http, sid)[1] + "\x1e"
        told = json.loads(next(packet for packet in seen.split("\x1e") if packet.startswith("42"))[2:])
        equal(told[0], "connected")
        path = f"/api/connections/{told[1]['connectionId']}"
        answer = operator.ask("DELETE", path, None, bearer(scope="admin"))
        equal((answer.status, answer.json()), (200, {"disconnected": True, "id": told[1]["connectionId"]}))

        def gone():
            with Http() as other:
                return _poll(other, sid)[0] == 400
        until(gone, "the session is over")
        equal(operator.ask("DELETE", path, None, bearer(scope="admin")).status, 404)


@case_async("strict")
async def an_operator_finds_and_ends_websockets_and_event_streams():
    user, tenant, admin = fresh("user"), fresh("tenant"), bearer(scope="admin")
    mine = token(sub=user, tenantId=tenant)

    def listed(query):
        answer = get(f"/api/connections?{query}", **admin)
        equal(answer.status, 200, answer.body)
        seen = answer.json()
        equal((seen["count"], seen["truncated"]), (len(seen["connections"]), False))
        return {connection.pop("id"): connection for connection in seen["connections"]}

    sockets = [await connect(f"/ws/live?token={mine}") for _ in range(3)]
    streams = [await apart(Stream, f"/sse?token={mine}") for _ in range(3)]
    stranger = await connect(f"/ws/live?token={token(sub=fresh('user'))}")
    told = {ws.response_headers["X-Connection-Id"]: "websocket" for ws in sockets}
    told |= {re.search(r"X-Connection-Id: ([0-9a-f]{16})\b", stream.head)[1]: "sse" for stream in streams}
    equal(len(told), 6)
    seen = await apart(listed, f"user={user}")
    equal({id: connection["transport"] for id, connection in seen.items()}, told)
    for connection in seen.values():
        equal((connection["userId"], connection["tenantId"]), (user, tenant))
        true(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", connection["connectedAt"]), connection)
    equal(set(await apart(listed, f"tenant={tenant}")), set(told))
    everybody = await apart(listed, "list")
    true(set(told) < set(everybody) and stranger.response_headers["X-Connection-Id"] in everybody, everybody)
    equal(await apart(listed, "user=nobody"), {})
    for query in ("user=", "tenant=", "user=a&tenant=b", "user=%zz", "user=" + "x" * 160):
        equal((await apart(get, f"/api/connections?{query}", **admin)).status, 400, query)
    for id in told:
        equal((await apart(Http().ask, "DELETE", f"/api/connections/{id}", None, admin)).status, 200, id)
    for ws in sockets:
        await asyncio.wait_for(ws.wait_closed(), PATIENCE)
        equal(ws.close_code, 1008)
    for stream in streams:
        await apart(until, stream.ended, "the stream is over")
        stream.http.socket.close()
    await apart(until, lambda: listed(f"user={user}") == {}, "they are gone")
    await stranger.close()


# ── Slow readers ─────────────────────────────────────────────────────────────────────────────────

@case_async("slow")
async def a_slow_reader_is_closed_and_nobody_else_notices():
    room = fresh("room")
    slow = socket.create_connection((HTTP.rpartition(":")[0], int(HTTP.rpartition(":")[2])))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(f"GET /sse?room={room} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    before = metric("ringmain_live_overruns_total")
    async with connect(f"/ws/live?room={room}") as ws:
        big = "x" * 100000

        def flood():
            sent = 0
            with Http() as http:
                while metric("ringmain_live_overruns_total") == before:
                    body = json.dumps({"to": {"room": room}, "event": "e", "data": [sent, big]}).encode()
                    equal(http.ask("POST", "/api/publish", body).status, 202)
                    sent += 1
                    true(sent < 5000, "it is never closed")
            return sent
        heard = []

        async def listen():
            while True:
                heard.append((await hear(ws))["data"][0])
        listening = asyncio.ensure_future(listen())
        sent = await apart(flood)
        while len(heard) < sent and not listening.done():
            await asyncio.sleep(0.01)
        listening.cancel()
        equal(heard, list(range(sent)))
    slow.close()


run()
