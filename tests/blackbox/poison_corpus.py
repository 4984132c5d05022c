# SPDX-License-Identifier: Apache-2.0
"""What Postgres refuses, or silently changes, in spite of the doors' checks: the operator's own rules on the table.

Every case is a table with the columns (n bigint, v TYPE), a value that passes and one that does not, and the SQLSTATE and
the reason that the dead letter must name. {t} stands for the table's name. `line`: COPY's error names the line; else the
row is found by halving."""
import uuid


class Case:
    def __init__(self, name, kind, bad, sqlstate, reason, column=None, rules="", good=None, table=None, before="",
                 line=True, group="utf8", mend=None):
        self.name = "p_" + name
        self.kind = kind  # what the stream says
        self.column = column or kind  # what the table has
        self.bad, self.sqlstate, self.reason = bad, sqlstate, reason
        self.rules, self.table, self.before = rules, table, before
        self.good = good or GOOD[kind]
        self.line, self.group, self.mend = line, group, mend

    def sql(self):
        table = self.table or "create table {t} (o bigint generated always as identity, n bigint, v {column})"
        return ";\n".join(part.replace("{t}", self.name).replace("{column}", self.column)
                          for part in (self.before, table, self.rules) if part) + ";\n"


GOOD = {
    "text": lambda i: "value %d" % i,
    "bigint": lambda i: i,
    "integer": lambda i: i,
    "double precision": lambda i: i + 0.5,
    "numeric": lambda i: i % 100,
    "boolean": lambda i: True,
    "timestamptz": lambda i: "2026-01-02T03:04:05.%06dZ" % i,
    "uuid": lambda i: str(uuid.UUID(int=i)),
    "jsonb": lambda i: {"x": i},
}


def trigger(body, when="before insert", each="for each row", more=""):
    return """create function {t}_f() returns trigger language plpgsql as $$ %s $$;
        create trigger {t}_t %s on {t} %s %s execute function {t}_f()""" % (body, when, more, each)


def generated(expression, kind="text"):
    return ("create table {t} (o bigint generated always as identity, n bigint, v {column}, "
            "g %s generated always as (%s) stored)" % (kind, expression))


def random_text(length):
    """Nothing that compresses, and always the same."""
    import random
    return "".join(random.Random(length).choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=length))


number = lambda i: str(i)  # a text that is one
CASES = [
    # constraints of the column
    Case("check", "text", "bad", "23514", "violates check constraint", rules="alter table {t} add check (v <> 'bad')",
         mend="alter table {t} drop constraint {t}_v_check"),
    Case("check_of_two", "integer", 2000000000, "23514", "violates check constraint",
         rules="alter table {t} add check (v < n + 1000000)"),
    Case("check_of_json", "jsonb", {"y": [1, "\u00e4", None]}, "23514", "violates check constraint",
         rules="alter table {t} add check (v ? 'x')", mend="alter table {t} drop constraint {t}_v_check"),
    Case("check_not_valid", "boolean", False, "23514", "violates check constraint",
         rules="alter table {t} add check (v) not valid"),
    Case("not_null", "text", None, "23502", "null value in column \"v\"", rules="alter table {t} alter v set not null",
         mend="alter table {t} alter v drop not null"),
    Case("domain", "text", "no at", "23514", "value for domain p_address violates check", column="p_address",
         before="create domain p_address as text check (value like '%@%')", good=lambda i: "a%d@b" % i),
    Case("domain_not_null", "text", None, "23502", "domain p_present does not allow null", column="p_present",
         before="create domain p_present as text not null"),
    Case("domain_of_varchar", "text", "abcd", "22001", "value too long", column="p_short",
         before="create domain p_short as varchar(3)", good=lambda i: "abc"),
    Case("varchar", "text", "123456", "22001", "value too long", column="varchar(5)", good=number,
         mend="alter table {t} alter v type varchar(10)"),
    Case("char", "text", "123456", "22001", "value too long", column="char(5)", good=number),
    Case("numeric", "numeric", 1000, "22003", "numeric field overflow", column="numeric(5,2)",
         mend="alter table {t} alter v type numeric(8,2)"),
    Case("numeric_rounded_up", "numeric", 999.995, "22003", "numeric field overflow", column="numeric(5,2)"),
    Case("numeric_domain", "numeric", -5, "23514", "value for domain p_price", column="p_price",
         before="create domain p_price as numeric(10,2) check (value >= 0)"),
    Case("enum", "text", "sad", "22P02", "invalid input value for enum", column="p_mood",
         before="create type p_mood as enum ('happy')", good=lambda i: "happy", mend="alter type p_mood add value 'sad'"),
    # constraints among rows
    Case("foreign_key", "bigint", -7, "23503", "violates foreign key constraint",
         rules="create table {t}_of (v bigint primary key); insert into {t}_of select generate_series(0, 20000);"
         "alter table {t} add foreign key (v) references {t}_of; grant select on {t}_of to clerk", line=False,
         mend="insert into {t}_of values (-7)"),
    Case("foreign_key_deferred", "bigint", -7, "23503", "violates foreign key constraint",
         rules="create table {t}_of (v bigint primary key); insert into {t}_of select generate_series(0, 20000);"
         "alter table {t} add foreign key (v) references {t}_of deferrable initially deferred; "
         "grant select on {t}_of to clerk", line=False),
    Case("unique", "text", "taken", "23505", "duplicate key value",
         rules="insert into {t} (v) values ('taken'); create unique index on {t} (v)"),
    Case("primary_key", "uuid", "00000000-0000-4000-8000-000000000000", "23505", "duplicate key value",
         rules="insert into {t} (v) values ('00000000-0000-4000-8000-000000000000'); alter table {t} add primary key (v)"),
    Case("unique_of_lower", "text", "TAKEN", "23505", "duplicate key value",
         rules="insert into {t} (v) values ('taken'); create unique index on {t} (lower(v))"),
    Case("unique_in_part", "integer", -1, "23505", "duplicate key value",
         rules="insert into {t} (v) values (-1); create unique index on {t} (v) where v < 0"),
    Case("unique_null", "text", None, "23505", "duplicate key value",
         rules="insert into {t} (v) values (null); create unique index on {t} (v) nulls not distinct"),
    Case("unique_collation", "text", "STRASSE", "23505", "duplicate key value",
         before="create collation p_any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
         rules="insert into {t} (v) values ('strasse'); create unique index on {t} (v collate p_any_case)"),
    Case("unique_deferred", "text", "taken", "23505", "duplicate key value", line=False,
         rules="insert into {t} (v) values ('taken'); alter table {t} add unique (v) deferrable initially deferred"),
    Case("exclusion", "bigint", 1000000005, "23P01", "conflicting key value",
         rules="insert into {t} (v) values (1000000000);"
         "alter table {t} add exclude using gist (int8range(v, v + 10) with &&) where (v > 999999)"),
    # triggers
    Case("raise_before", "text", "bad", "P0001", "not this one",
         rules=trigger("begin if new.v = 'bad' then raise 'not this one, line 3'; end if; return new; end"),
         mend="drop trigger {t}_t on {t}"),
    Case("raise_after", "text", "bad", "P0001", "nor this", line=False,
         rules=trigger("begin if new.v = 'bad' then raise 'nor this'; end if; return null; end", "after insert")),
    Case("raise_deferred", "text", "bad", "P0001", "at the commit", line=False,
         rules="""create function {t}_f() returns trigger language plpgsql as
         $$ begin if new.v = 'bad' then raise 'at the commit'; end if; return null; end $$;
         create constraint trigger {t}_t after insert on {t} deferrable initially deferred
         for each row execute function {t}_f()"""),
    Case("raise_for_all", "text", "bad", "P0001", "one of them", line=False,
         rules=trigger("begin if exists (select from fresh where v = 'bad') then raise 'one of them'; end if; return null; end",
                       "after insert", "for each statement", "referencing new table as fresh")),
    Case("raise_as_check", "text", "bad", "23514", "my own words",
         rules=trigger("begin if new.v = 'bad' then raise 'my own words' using errcode = 'check_violation'; end if; "
                       "return new; end")),
    Case("assert", "text", "bad", "P0004", "v was bad",
         rules=trigger("begin assert new.v <> 'bad', 'v was bad'; return new; end")),
    Case("no_data", "bigint", -1, "P0002", "query returned no rows",
         rules=trigger("declare x int; begin select 1 into strict x where new.v >= 0; return new; end")),
    Case("more_than_one", "bigint", -1, "21000", "more than one row returned",
         rules=trigger("begin new.n = (select new.n from generate_series(1, case when new.v < 0 then 2 else 1 end)); "
                       "return new; end")),
    Case("elsewhere", "text", "taken", "23505", "duplicate key value",
         rules="create table {t}_log (v text primary key); insert into {t}_log values ('taken'); grant insert on {t}_log to clerk;"
         + trigger("begin insert into {t}_log values (new.v); return new; end")),
    Case("notify", "text", "x" * 8000, "22023", "payload string too long",
         rules=trigger("begin if length(new.v) > 100 then perform pg_notify('c', new.v); end if; return new; end")),
    Case("divide", "integer", 0, "22012", "division by zero", good=lambda i: i + 1,
         rules=trigger("begin perform 1 / new.v; return new; end")),
    Case("time_in_text", "text", "2026-02-30", "22008", "out of range", good=lambda i: "2026-02-28",
         rules=trigger("begin perform new.v::timestamptz; return new; end")),
    Case("latin_in_trigger", "text", "\u20ac", "22P05", "has no equivalent in encoding \"LATIN1\"",
         rules=trigger("begin perform convert_to(new.v, 'LATIN1'); return new; end")),
    # generated columns and expressions of indexes
    Case("generated_integer", "text", "twelve", "22P02", "invalid input syntax for type integer", good=number,
         table=generated("v::int", "int")),
    Case("generated_overflow", "bigint", 9223372036854775807, "22003", "bigint out of range",
         table=generated("v + 1", "bigint")),
    Case("generated_root", "double precision", -2.25, "2201F", "square root of a negative",
         table=generated("sqrt(v)", "double precision")),
    Case("generated_log", "numeric", 0, "2201E", "logarithm of zero", good=lambda i: i + 1,
         table=generated("ln(v)", "numeric")),
    Case("generated_hex", "text", "xyz", "22023", "invalid hexadecimal digit", good=lambda i: "%08x" % i,
         table=generated("decode(v, 'hex')", "bytea")),
    Case("generated_character", "integer", 0, "54000", "null character not permitted", good=lambda i: 65,
         table=generated("chr(v)")),
    Case("generated_pattern", "text", "a(", "2201B", "invalid regular expression", good=lambda i: "a+",
         table=generated("regexp_replace('aaa', v, 'b')")),
    Case("generated_too_long", "text", "x" * 600, "22001", "value too long",
         table=generated("v || v", "varchar(1000)")),
    Case("index_of_json", "jsonb", {"x": "many"}, "22P02", "invalid input syntax for type integer",
         rules="create index on {t} (((v->>'x')::int))", mend="drop index {t}_int4_idx"),
    Case("index_row", "text", random_text(5000), "54000", "index row size", rules="create index on {t} (v)"),
    Case("index_of_words", "text", random_text(12001), "54000", "index row requires",
         rules="create index on {t} using gin (string_to_array(v, ' '))"),
    # partitions
    Case("no_partition", "text", "north", "23514", "no partition of relation", good=lambda i: "east west".split()[i % 2],
         table="""create table {t} (o bigint generated always as identity, n bigint, v text) partition by list (v);
         create table {t}_east partition of {t} for values in ('east');
         create table {t}_west partition of {t} for values in ('west')""",
         mend="create table {t}_north partition of {t} for values in ('north')"),
    Case("no_day", "timestamptz", "1999-12-31T23:59:59.999999Z", "23514", "no partition of relation",
         table="""create table {t} (o bigint generated always as identity, n bigint, v timestamptz) partition by range (v);
         create table {t}_now partition of {t} for values from ('2026-01-01') to ('2027-01-01')"""),
    Case("check_of_partition", "text", "", "23514", "violates check constraint",
         table="""create table {t} (o bigint generated always as identity, n bigint, v text) partition by hash (n);
         create table {t}_0 partition of {t} (check (v <> '')) for values with (modulus 2, remainder 0);
         create table {t}_1 partition of {t} (check (v <> '')) for values with (modulus 2, remainder 1)"""),
    # encodings of the database
    Case("latin_text", "text", "\u20ac", "22P05", "has no equivalent in encoding \"LATIN1\"", group="latin1",
         good=lambda i: "\u00e4 %d" % i),
    Case("latin_json", "jsonb", {"x": "\u0416"}, "22P05", "has no equivalent in encoding \"LATIN1\"", group="latin1",
         good=lambda i: {"x": "\u00fc"}),
    Case("ascii_escape", "jsonb", {"x": "\u00e9", "escaped": True}, "0A000", "conversion between UTF8 and SQL_ASCII", group="sql_ascii"),
]


class Change:
    """A value that Postgres takes and keeps otherwise; None: it takes the row and does not keep it."""

    def __init__(self, name, kind, column, sent, kept, rules=""):
        self.name, self.kind, self.column = "c_" + name, kind, column
        self.sent, self.kept, self.rules = sent, kept, rules

    def sql(self):
        return ("create table {t} (o bigint generated always as identity, n bigint, v %s);%s;" % (
            self.column, self.rules)).replace("{t}", self.name)


CHANGES = [
    Change("char", "text", "char(5)", "ab", "ab   "),
    Change("varchar", "text", "varchar(3)", "abc    ", "abc"),
    Change("numeric", "numeric", "numeric(5,2)", 1.005, "1.01"),
    Change("timestamp", "timestamptz", "timestamptz(0)", "2026-01-02T03:04:05.5Z", "2026-01-02 03:04:06+00"),
    Change("json", "jsonb", "jsonb", {"b": 1e2, "a": [1, 1.50]}, '{"a": [1, 1.5], "b": 100.0}'),
    Change("trigger", "text", "text", "loud", "LOUD",
           trigger("begin new.v = upper(new.v); return new; end")),
    Change("swallowed", "text", "text", "gone", None, trigger("begin return null; end")),
]
