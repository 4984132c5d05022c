# SPDX-License-Identifier: Apache-2.0
"""RFC 8259 at the HTTP door (CONTRACTS.md 1): what the grammar allows is accepted, and Postgres then holds what Python's
json reads; everything else is refused. The list is made here, from the grammar. See json_test.sh."""
import decimal
import itertools
import json
import random

from client import Http, case, equal, fresh, rows, run, stored, true

LINES = {"Content-Type": "application/x-ndjson"}


def text(string):
    return string.encode("utf-8", "surrogatepass")


# ── the values of the grammar ────────────────────────────────────────────────────────────────────

def good_numbers():
    """Every way through `[ minus ] int [ frac ] [ exp ]`, and numbers that no double holds."""
    for minus, integer, fraction, exponent in itertools.product(
            ("", "-"), ("0", "7", "10", "1234567890"), ("", ".0", ".5", ".0625", ".10"), ("", "e5", "E0", "e+05", "E-007")):
        yield minus + integer + fraction + exponent
    yield from ("9007199254740993", "-9223372036854775809", "18446744073709551616", "1" * 200, "0." + "3" * 200, "1e400",
                "-1E-400", "123e1000", "0e3", "1.7976931348623157e309", "5e-324")


def bad_numbers():
    yield from ("01", "-01", "00", "-", "+1", ".5", "-.5", "1.", "-1.", "1.e1", "1e", "1e+", "1E-", "1e1.5", "1ee1", "1e1e1",
                "0x10", "0b1", "1_000", "1,000", "NaN", "-NaN", "Infinity", "-Infinity", "inf", "- 1", "1 2", "--1", "++1",
                "1-1", "0.3.", "2.e+3", "1.2.3", "\uff11", "1\u00a0", "1f", "1L", "٣", "1e\uff11", "+Inf", "0e", "9.e+", "-1x")


def good_strings():
    yield from ('""', '"plain"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\u0041\\u00e4\\u20AC"', '"\\ud83d\\ude00"', '"\\uD834\\uDD1E x"',
                '"\x7f"', '"\\u0001\\u001F\\u007f"', '"\u2028\u2029"', '"\ufeff"', '"\\ufeff"', '"\ufffe\uffff"', '"\\uffff"',
                '"\U0010ffff"', '"\u0080\u07ff\u0800\U00010000"', '"\\\\u0000"', '"a\\\\\\"b"', '"/"', '"\\u002F"', "\"'\"",
                '"\u00e4\u20ac\U0001f600"', '"e\u0301"', '"' + "x" * 30000 + '"', '"' + "\\u00e4" * 5000 + '"',
                '"\\u0022\\u005c"', '"null"', '"{\\"a\\":1}"', '" \\t "', '"\\uDBFF\\uDFFF"', '"\ue000\uf8ff"')


def bad_strings():
    yield from ('"', '"open', "'single'", '"\\"', '"\\x41"', '"\\a"', '"\\u12"', '"\\u12G4"', '"\\u"', '"\\U0041"', '"\\\n"', '"a\nb"',
                '"tab\t"', '"\x00"', '"\x1f"', '"\\ "', '"\\\u00e4"', '"\\u-123"', '"\\u 041"', '"\\0"', '"\\v"', '"\\e"', '"\\\'"',
                '"a" "b"', '"a"b', 'a"b"', "`a`", "\u201ca\u201d", "\\u0022a\\u0022", '"\\uD83D\\u"', '"\\uD83D\\uDE0"', "abc", '"\\')
    yield from (b'"\x80"', b'"\xff"', b'"\xc0\x80"', b'"\xc1\xbf"', b'"\xe0\x80\x80"', b'"\xe0\x9f\xbf"', b'"\xf0\x80\x80\x80"',
                b'"\xf0\x8f\xbf\xbf"', b'"\xed\xa0\x80"', b'"\xed\xbf\xbf"', b'"\xed\xa0\xbd\xed\xb8\x80"', b'"\xf4\x90\x80\x80"',
                b'"\xf5\x80\x80\x80"', b'"\xf8\x88\x80\x80\x80"', b'"\xc3"', b'"\xe2\x82"', b'"\xf0\x9f\x98"', b'"\xc3("', b'"\xe2(\xac"',
                b'"\xf0(\x98\x80"', b'"\xfe\xff"', b'"caf\xe9"')


def good_structures():
    yield from ("null", "true", "false", "[]", "{}", "[[]]", "[{}]", '{"":0}', '{"a":{"b":[null]}}', "[1,2,3]", '[1,"1",true,null,{},[]]',
                " [ 1 , 2 ] ", '\t{\r\n"a"\t:\r1 }\n'.replace("\n", " ").replace("\r", "\t"), '{"a":1,"a":2}', '{"a":1,"b":2,"\\u0061":3}',
                '{"a":{"x":1},"a":{"y":2}}', '{"\\"":1}', '{"\u00e4\u20ac":1,"\U0001f600":[2]}', "[" * 60 + "]" * 60,
                '{"a":' * 60 + "1" + "}" * 60, '[{"a":' * 30 + "[]" + "}]" * 30, "[" + ",".join(["0"] * 2000) + "]",
                "{" + ",".join(f'"k{n}":{n}' for n in range(500)) + "}", '{"type":"x","id":7,"data":null}', '[null,1,"1",{}]',
                '{"a":[],"b":{},"c":""}', '{"_extra":1}', '{"length":0,"__proto__":1}', "[-0]", "[0.0,-0.0]")


def bad_structures():
    yield from ("", "nul", "tru", "fals", "NULL", "True", "FALSE", "nulll", "truefalse", "undefined", "[", "]", "{", "}", "[1", "1]", "[1,",
                "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[1;2]", "[1:2]", '{"a"', '{"a":', '{"a":}', '{"a":1,', '{"a":1,}', '{,"a":1}',
                '{"a":1,,"b":2}', '{"a" 1}', '{"a"::1}', '{"a","b"}', '{"a":1 "b":2}', "{a:1}", "{'a':1}", "{1:1}", "{null:1}",
                "{[]:1}", '{"a":1}}', "[1]]", "[[1]", '[{"a":1]}', '{"a":[1}]', "[1}", '{"a":1]', "/**/1", "1//", "[1,/**/2]", "#1",
                "[1]x", "1,2", '"a":1', "<a/>", "\u00a01", "1\u00a0", "\u20281", "\ufeff1", "\x0b1", "\x0c1", "[1\x00]", "\x001", "*", "[*]",
                "[...]", '{"a":1,...}', "()", "@", "$", "%7B%7D", "\\u005b\\u005d", "[\\n]", "[1,\\n2]", "!1", "~", "[\"a\",\n4\n,1,",
                '{"a":b}', '{"a":"b}', '["a]', '{"a":"b",#}', '{"x"":1}', '{"a":"b"}#', '[\x85]', "[\u3000]", "[\u2060]")


# Right by the grammar, but jsonb can't hold it: UNSTORABLE_TEXT.
UNSTORABLE = ['"\\u0000"', '["a",{"b":"c\\u0000d"}]', '{"\\u0000":1}', '"\\ud800"', '"\\udfff"', '"\\ude00\\ud83d"', '"\\ud83d\\ud83d\\ude00"',
              '"\\ud83dx"', '{"a":["\\uDC00"]}', '{"\\ud800":0}', '"\\ud83d\\u0041"', '"\\ud83d\\\\ude00"']
TOO_DEEP = ["[" * 64 + "]" * 64, '{"a":' * 64 + "1" + "}" * 64, "[" * 20000 + "]" * 20000, "[" * 30000, '{"a":' * 5000, '[{"a":' * 3000]


def good():
    return [text(one) for one in itertools.chain(good_numbers(), good_strings(), good_structures())]


def bad():
    return [one if isinstance(one, bytes) else text(one) for one in itertools.chain(bad_numbers(), bad_strings(), bad_structures())]


def envelope(key, value):
    return b'{"type":"json","id":"%s","data":%s}' % (key.encode(), value)


def read(value):
    """As Python reads it, with no digit lost. What JSON calls equal is equal: 1.0 and 1, -0 and 0."""
    return json.loads(value, parse_float=decimal.Decimal, parse_int=decimal.Decimal)


def until_there(kept):
    stored("select 1 from events where id = any(%s)", list(kept), count=len(kept))
    holds(kept)


def holds(kept):
    """Postgres has these: {id: value as it was sent}."""
    found = dict(rows("select id, data::text from events where id = any(%s)", list(kept)))
    equal(len(found), len(kept), "rows")
    for key, value in kept.items():
        # A null is no data at all.
        equal(None if found[key] is None else read(found[key]), read(value), value[:200])


def parts(values, most):
    for at in range(0, len(values), most):
        yield values[at:at + most]


@case("door")
def the_lists_are_what_they_say():
    """Python's reader, made strict, agrees about every case: a list that is wrong would test nothing."""
    def refuse(word):
        raise ValueError(word)
    for value in good():
        read(value)
    for value in bad():
        try:
            json.loads(value.decode("utf-8"), parse_constant=refuse)
        except ValueError:
            continue
        raise AssertionError(f"{value!r} is good")
    true(len(good()) > 200 and len(bad()) > 150, "many cases")


@case("door")
def one_by_one_what_the_grammar_allows_is_kept_as_it_is():
    kept = {fresh(): value for value in good()}
    with Http() as http:
        for key, value in kept.items():
            answer = http.ask("POST", "/events", envelope(key, value))
            equal((answer.status, answer.body), (202, b'{"accepted":1,"duplicates":0,"rejected":[]}'), value[:200])
    until_there(kept)


@case("door")
def in_an_array_too():
    kept = {fresh(): value for value in good()}
    with Http() as http:
        for part in parts(list(kept.items()), 97):
            body = b"[" + b" ,\n\t".join(envelope(*one) for one in part) + b"\r\n]"
            equal(http.ask("POST", "/events", body).json()["accepted"], len(part))
    until_there(kept)


def refused_alone(values, code):
    ids = []
    with Http() as http:
        for value in values:
            ids.append(fresh())
            answer = http.ask("POST", "/events", envelope(ids[-1], value))
            equal(answer.status, 400, value[:200])
            body = answer.json()
            equal((body["accepted"], len(body["rejected"]), body["rejected"][0]["code"]), (0, 1, code), value[:200])
    equal(rows("select count(*) from events where id = any(%s)", ids), [(0,)])


def refused_between(values, code):
    """One a line, each between two good ones, which are kept."""
    values = [value for value in values if b"\n" not in value]
    kept = {fresh(): b"%d" % number for number in range(len(values) + 1)}
    good_lines = [envelope(*one) for one in kept.items()]
    bad_lines = [envelope(fresh("bad"), value) for value in values]
    between = [line for pair in zip(good_lines, bad_lines) for line in pair] + good_lines[-1:]
    with Http() as http:
        body = http.ask("POST", "/events", b"\n".join(between), LINES).json()
    equal(body["accepted"], len(kept), body)
    wrong = {one["index"]: one["code"] for one in body["rejected"]}
    for number, value in enumerate(values):
        equal(wrong.get(2 * number + 1), code, value[:200])
    equal(len(body["rejected"]) + body.get("unlisted", 0), len(values))
    until_there(kept)


@case("door")
def everything_else_is_refused_one_by_one():
    refused_alone(bad(), "INVALID_JSON")


@case("door")
def everything_else_is_refused_between_good_neighbours():
    for part in parts(bad(), 50):
        refused_between(part, "INVALID_JSON")


@case("door")
def what_jsonb_cannot_hold_is_refused_at_the_door():
    values = [text(one) for one in UNSTORABLE]
    refused_alone(values, "UNSTORABLE_TEXT")
    refused_between(values, "UNSTORABLE_TEXT")


@case("door")
def depth_is_64_with_the_event_itself():
    kept = {fresh(): b"[" * depth + b"]" * depth for depth in (1, 62, 63)}
    with Http() as http:
        for one in kept.items():
            equal(http.ask("POST", "/events", envelope(*one)).status, 202)
    until_there(kept)
    refused_alone([text(one) for one in TOO_DEEP], "INVALID_JSON")
    refused_between([text(one) for one in TOO_DEEP], "INVALID_JSON")


@case("door")
def a_document_ends_where_it_ends():
    """The event itself: white space around it, and what may not stand there."""
    with Http() as http:
        for before, behind in itertools.product((b"", b" ", b"\t\r\n \n"), (b"", b"\n", b" \r\n\t")):
            equal(http.ask("POST", "/events", before + envelope(fresh(), b"1") + behind).status, 202, (before, behind))
        for body in (b"\xef\xbb\xbf", b"", b" ", b"\x00", b"\x0b" + envelope(fresh(), b"1"), envelope(fresh(), b"1") + b"\x00",
                     envelope(fresh(), b"1") + b"x", envelope(fresh(), b"1") + b",", envelope(fresh(), b"1") + b"}", envelope("x", b"1")[:-1],
                     b'\xff\xfe{\x00"\x00a\x00"\x00:\x000\x00}\x00', b'{"type":"json" "id":"x"}', b'{"type":"json",}', b"{,}", b"{}}", b'{"type":"js'):
            answer = http.ask("POST", "/events", body)
            true(answer.status == 400 or answer.json()["accepted"] < 1, (body, answer.body))
            equal({one["code"] for one in answer.json()["rejected"]} - {"INVALID_FIELD"}, {"INVALID_JSON"}, body)


@case("door")
def numbers_beyond_what_postgres_holds_lose_nobody_else():
    """numeric ends at 131072 digits before the point and 16383 behind it: refused here, never by Postgres."""
    good_one = fresh()
    values = [b"1e131071", b"1e131072", b"-9e200000", b"1e-16383", b"1e-16384", b"1e999999999999", b"1e-99999999999", b"0e999999999999"]
    ids = [fresh("n") for _ in values]
    between = [envelope(good_one, b"1")] + [envelope(*one) for one in zip(ids, values)] + [envelope(good_one + "b", b"2")]
    with Http() as http:
        body = http.ask("POST", "/events?ack=stored", b"\n".join(between), LINES).json()
    refused = {one["index"] - 1 for one in body["rejected"]}
    true({1, 2, 5} <= refused, body)
    kept = {key: value for number, (key, value) in enumerate(zip(ids, values)) if number not in refused and number not in (6, 7)}
    equal(rows("select count(*) from events where id in (%s, %s)", good_one, good_one + "b"), [(2,)])
    holds(kept)


@case("door")
def random_values_come_back_as_they_went():
    chance = random.Random(8259)

    def value(depth):
        kind = chance.randrange(4 if depth == 0 else 7)
        if kind < 2:
            return "".join(chance.choice('aZ09 /\\"\'\t\n\x01\x7fäß€\u2028\ufeff😀𝄞') for _ in range(chance.randrange(12)))
        if kind == 2:
            return chance.choice([None, True, False, 0, -1, 2**53 + 1, 10**30, -2**63])
        if kind == 3:
            return chance.choice([0.1, -2.5e-7, 1e300, 5e-324, 123456.789])
        if kind == 4:
            return [value(depth - 1) for _ in range(chance.randrange(5))]
        return {f"k{chance.randrange(9)}é\"": value(depth - 1) for _ in range(chance.randrange(5))}
    kept = {fresh(): json.dumps([value(5)], ensure_ascii=bool(number % 2), indent=number % 3 or None, sort_keys=bool(number % 5)).encode()
            for number in range(500)}
    with Http() as http:
        for part in parts(list(kept.items()), 100):
            equal(http.ask("POST", "/events", b"[" + b",".join(envelope(*one) for one in part) + b"]").json()["accepted"], len(part))
    until_there(kept)


run()
