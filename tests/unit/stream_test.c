/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/stream.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

static char why[STREAM_WHY_BYTES];

static struct streams *open_defaults(void)
{
    struct streams *streams = streams_open();
    assert_non_null(streams);
    assert_int_equal(streams_add_defaults(streams, why), 0);
    return streams;
}

static const char *routed(const struct streams *streams, const char *type)
{
    size_t length = strlen(type);
    uint8_t *edge = unit_edge_copy(type, length);
    const struct stream *stream = streams_route(streams, span_of(edge, length));
    unit_edge_free(edge, length);
    return stream->name;
}

static void test_defaults(void **state)
{
    (void)state;
    struct streams *streams = open_defaults();
    assert_int_equal(streams_count(streams), 3);
    const struct stream *events = streams_find(streams, "events");
    static const char *const names[] = {"id",          "type",       "tenant_id", "user_id",
                                        "project_id",  "session_id", "room_id",   "ts",
                                        "received_at", "data"};
    assert_int_equal(events->columns, COUNT_OF(names));
    for (unsigned i = 0; i < events->columns; i++) {
        assert_string_equal(events->column[i].name, names[i]);
        assert_int_equal(events->column[i].froms, 1);
        assert_int_equal(events->column[i].from[0].source, FROM_ID + i);
        assert_false(events->column[i].required);
    }
    assert_int_equal(events->column[6].type, COLUMN_TEXT);
    assert_int_equal(events->column[7].type, COLUMN_TIMESTAMPTZ);
    assert_int_equal(events->column[9].type, COLUMN_JSONB);
    assert_int_equal(events->data_overlap, 1);
    assert_false(events->only_types);

    const struct stream *messages = streams_find(streams, "messages");
    assert_string_equal(messages->identity, "id");
    assert_int_equal(messages->columns, 4);
    assert_int_equal(messages->column[0].froms, 2);
    assert_string_equal(messages->column[0].from[0].path, "user_id");
    assert_int_equal(messages->column[0].from[1].source, FROM_USER_ID);
    assert_true(messages->column[0].required && messages->column[1].required &&
                messages->column[2].required);
    assert_int_equal(messages->column[3].from[0].source, FROM_TIMESTAMP);

    const struct stream *carts = streams_find(streams, "cart_events");
    assert_int_equal(carts->types, 9);
    assert_true(carts->only_types);
    assert_int_equal(carts->index, 2);
    assert_ptr_equal(streams_at(streams, 2), carts);
    assert_null(streams_find(streams, "nobody"));
    streams_close(streams);
}

static void test_routes(void **state)
{
    (void)state;
    struct streams *streams = open_defaults();
    static const char *const cart[] = {"item_added",       "item_removed",       "item_updated",
                                       "cart_viewed",      "cart_cleared",       "coupon_applied",
                                       "checkout_started", "checkout_completed", "cart_abandoned"};
    const struct stream *carts = streams_find(streams, "cart_events");
    for (size_t i = 0; i < COUNT_OF(cart); i++) {
        assert_string_equal(routed(streams, cart[i]), "cart_events");
        assert_true(stream_takes(carts, span_of_string(cart[i])));
    }
    assert_string_equal(routed(streams, "message"), "messages");
    static const char *const others[] = {
        "",        "a",          "ab",         "abc",         "page_view",
        "messagf", "item_addee", "cart_event", "item_added2", "events"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        assert_string_equal(routed(streams, others[i]), "events");
        assert_false(stream_takes(carts, span_of_string(others[i])));
    }
    assert_string_equal(streams_route(streams, (struct span){NULL, 0})->name, "events");
    streams_close(streams);
}

/* As many types as there can be, of all lengths, and with them the same but for one byte. */
static void test_many_routes(void **state)
{
    (void)state;
    struct streams *streams = open_defaults();
    char name[16], types[STREAM_TYPES_MAX * (EVENT_TYPE_MAX + 1)], type[EVENT_TYPE_MAX + 32];
    for (int i = 0; i < STREAMS_MAX - 3; i++) {
        size_t length = 0;
        for (int k = 0; k < STREAM_TYPES_MAX; k++)
            length += (size_t)sprintf(types + length, "%s%0*d", k > 0 ? "," : "", 4 + k % 61,
                                      i * STREAM_TYPES_MAX + k);
        sprintf(name, "s%d", i);
        assert_int_equal(streams_add(streams, name, name, "data jsonb", types, why), 0);
    }
    assert_int_equal(streams_count(streams), STREAMS_MAX);
    for (int i = 0; i < STREAMS_MAX - 3; i++) {
        sprintf(name, "s%d", i);
        for (int k = 0; k < STREAM_TYPES_MAX; k++) {
            int length = sprintf(type, "%0*d", 4 + k % 61, i * STREAM_TYPES_MAX + k);
            assert_string_equal(routed(streams, type), name);
            type[length / 2] = 'x';
            assert_string_equal(routed(streams, type), "events");
        }
    }
    assert_int_equal(streams_add(streams, "more", "t", "data jsonb", "", why), -EINVAL);
    assert_string_equal(why, "stream more is one too many; allowed: 64");
    streams_close(streams);
}

static void test_replacing(void **state)
{
    (void)state;
    struct streams *streams = open_defaults();
    /* A default one by its name, keeping its place. */
    assert_int_equal(streams_add(streams, "messages", "app.chat", "body text from data.content",
                                 "message, note", why),
                     0);
    assert_int_equal(streams_count(streams), 3);
    assert_int_equal(streams_find(streams, "messages")->index, 1);
    assert_string_equal(routed(streams, "note"), "messages");
    /* A default one's type. */
    assert_int_equal(streams_add(streams, "adds", "adds", "data jsonb", "item_added", why), 0);
    assert_string_equal(routed(streams, "item_added"), "adds");
    assert_string_equal(routed(streams, "item_removed"), "cart_events");
    /* But not one that another stream of the configuration has. */
    assert_int_equal(streams_add(streams, "b", "b", "data jsonb", "x,note", why), -EINVAL);
    assert_string_equal(why, "event type 'note' already enters stream messages");
    assert_int_equal(streams_add(streams, "events", "e", "data jsonb", "x", why), -EINVAL);
    assert_string_equal(why, "types: stream events takes what no other takes; allowed: none");
    assert_int_equal(streams_add(streams, "events", "e", "id text, data json", "", why), 0);
    assert_string_equal(streams_route(streams, SPAN("?"))->table, "e");
    streams_close(streams);
    /* The other order: what is there already is not touched. */
    streams = streams_open();
    assert_int_equal(streams_add(streams, "events", "e", "data json", "", why), 0);
    assert_int_equal(streams_add_defaults(streams, why), 0);
    assert_int_equal(streams_count(streams), 3);
    assert_string_equal(streams_route(streams, SPAN("?"))->table, "e");
    streams_close(streams);
}

static void test_columns(void **state)
{
    (void)state;
    struct streams *streams = open_defaults();
    assert_int_equal(
        streams_add(streams, "orders", "shop.\"Orders\"",
                    " order_id bigint from data.orderId required ,total numeric from data.total,"
                    "\traw jsonb from data, userId text, \"room id\" text required from "
                    "roomId|data.room.id,\n"
                    "price double precision, ok boolean, n integer, u uuid, j json from id,"
                    "seen timestamptz from data.seen | receivedAt",
                    " order.created , order:paid ,", why),
        0);
    const struct stream *orders = streams_find(streams, "orders");
    assert_int_equal(orders->columns, 11);
    const struct column *column = orders->column;
    assert_true(column[0].required && column[4].required && !column[1].required);
    assert_string_equal(column[0].from[0].path, "orderId");
    assert_int_equal(column[2].from[0].source, FROM_DATA);
    assert_int_equal(column[3].from[0].source, FROM_USER_ID);
    assert_string_equal(column[4].name, "room id");
    assert_int_equal(column[4].from[0].source, FROM_ROOM_ID);
    assert_string_equal(column[4].from[1].path, "room.id");
    assert_int_equal(column[5].type, COLUMN_DOUBLE);
    assert_string_equal(column[5].from[0].path, "price");
    assert_int_equal(column[8].type, COLUMN_UUID);
    assert_int_equal(column[10].from[1].source, FROM_RECEIVED_AT);
    assert_int_equal(orders->types, 2);
    assert_true(span_is(orders->type[1], "order:paid"));
    assert_int_equal(orders->data_overlap, 2); /* raw, and any one of the members */
    streams_close(streams);
}

static void test_overlap(void **state)
{
    (void)state;
    static const struct {
        const char *columns;
        unsigned overlap;
    } cases[] = {
        {"id text", 0},
        {"a text, b text, c jsonb", 1},
        {"a text from data.a, b text from data.a", 2},
        {"a jsonb from data.a, b text from data.a.b, c text from data.ab", 2},
        {"data jsonb, a jsonb from data.a, b text from data.a.b, c text from data.a.b.c", 4},
        {"d text from data.a|data.a.b, e text from data.a.b", 2},
        {"d text from data.a|id, e text from id|data.a.b", 2},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct streams *streams = open_defaults();
        assert_int_equal(streams_add(streams, "s", "s", cases[i].columns, "", why), 0);
        assert_int_equal(streams_find(streams, "s")->data_overlap, cases[i].overlap);
        streams_close(streams);
    }
}

static const struct {
    const char *name, *table, *columns, *types, *why;
} refused[] = {
    {"s", "t", "a varchar", "",
     "column a: type 'varchar' is unknown; allowed: text, bigint, integer, double precision, "
     "numeric, "
     "boolean, timestamptz, uuid, jsonb, json"},
    {"s", "t", "a", "",
     "column a: type '' is unknown; allowed: text, bigint, integer, double "
     "precision, numeric, boolean, timestamptz, uuid, jsonb, json"},
    {"s", "t", "a double", "",
     "column a: type 'double' is unknown; allowed: text, bigint, integer, "
     "double precision, numeric, boolean, timestamptz, uuid, jsonb, json"},
    {"s", "t", "a text from user", "",
     "column a: 'from user' is no member; allowed: id, type, tenantId, userId, projectId, "
     "sessionId, "
     "roomId, timestamp, receivedAt, data, data.name"},
    {"s", "t", "a text from data.", "",
     "column a: 'from data.' is no member; allowed: id, type, tenantId, userId, projectId, "
     "sessionId, roomId, timestamp, receivedAt, data, data.name"},
    {"s", "t", "a text from data.x..y", "",
     "column a: 'from data.x..y' is no member; allowed: id, type, tenantId, userId, projectId, "
     "sessionId, roomId, timestamp, receivedAt, data, data.name"},
    {"s", "t", "a text from", "",
     "column a: 'from ?' is no member; allowed: id, type, tenantId, userId, projectId, "
     "sessionId, "
     "roomId, timestamp, receivedAt, data, data.name"},
    {"s", "t", "a text from id|type|data", "", "column a: at most two members after 'from'"},
    {"s", "t", "a text from id from type", "", "column a: 'from' stands twice"},
    {"s", "t", "a text needed", "",
     "column a: 'needed' is not understood; allowed after the type: from MEMBER, required"},
    {"s", "t", "a text b text", "",
     "column a: 'b' is not understood; allowed after the type: from MEMBER, required"},
    {"s", "t", "a text, a bigint", "", "column a stands twice"},
    {"s", "t", "a text,", "", "column name '' has 0 bytes; allowed: 1 to 63"},
    {"s", "t", "", "", "column name '' has 0 bytes; allowed: 1 to 63"},
    {"s", "t", "a-b text", "",
     "column name 'a-b': allowed are letters, digits and _; others in double quotes"},
    {"s", "t", "\"a text", "", "a double quote is not closed"},
    {"s", "t", "\"a$ringmain$\" text", "",
     "column name 'a$ringmain$': it must not contain $ringmain$"},
    {"s", "t", "a bigint from timestamp", "",
     "column a: timestamp can't become bigint; allowed: timestamptz, text"},
    {"s", "t", "received_at jsonb", "",
     "column received_at: receivedAt can't become jsonb; allowed: timestamptz, text"},
    {"s", "t", "a boolean from userId", "", "column a: only a member of data can become boolean"},
    {"s", "t", "a bigint generated always as identity", "",
     "a stream has at least one column that is not an identity"},
    {"s", "t",
     "a bigint generated always as identity, b text, c bigint generated always as identity", "",
     "column c: a table has one identity column"},
    {"s", "t", "a text", "bad type",
     "event type 'bad type': allowed: 1 to 64 of A-Z a-z 0-9 _ . : -"},
    {"s", "t", "a text", "a,,b", "event type '': allowed: 1 to 64 of A-Z a-z 0-9 _ . : -"},
    {"s s", "t", "a text", "", "stream name 's s': allowed: 1 to 63 bytes without white space"},
    {"", "t", "a text", "", "stream name '': allowed: 1 to 63 bytes without white space"},
    {"s", "", "a text", "", "table name '' has 0 bytes; allowed: 1 to 63"},
    {"s", "a.b.c", "a text", "", "table 'a.b.c': allowed: table or schema.table"},
    {"s", "a;b", "a text", "",
     "table name 'a;b': allowed are letters, digits and _; others in double quotes"},
    {"s", "\"a", "a text", "", "table '\"a': a name has no end"},
    {"s", "\"a\"b", "a text", "", "table '\"a\"b': a name has no end"},
};

static void test_refused(void **state)
{
    (void)state;
    struct streams *streams = open_defaults();
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        assert_int_equal(streams_add(streams, refused[i].name, refused[i].table, refused[i].columns,
                                     refused[i].types, why),
                         -EINVAL);
        assert_string_equal(why, refused[i].why);
        assert_int_equal(streams_count(streams), 3);
    }
    streams_close(streams);
}

static void test_limits(void **state)
{
    (void)state;
    struct streams *streams = open_defaults();
    char text[8192];
    size_t length = 0;
    for (int i = 0; i < STREAM_COLUMNS_MAX; i++)
        length += (size_t)sprintf(text + length, "%sc%d text", i > 0 ? "," : "", i);
    assert_int_equal(streams_add(streams, "s", "s", text, "", why), 0);
    sprintf(text + length, ",more text");
    assert_int_equal(streams_add(streams, "s", "s", text, "", why), -EINVAL);
    assert_string_equal(why, "column more is one too many; allowed: 64");
    memset(text, 'a', 64);
    strcpy(text + 64, " text");
    assert_int_equal(streams_add(streams, "s", "s", text, "", why), -EINVAL);
    memset(text, 'x', 300);
    text[300] = 0;
    assert_int_equal(streams_add(streams, "s", "s", text, "", why), -EINVAL);
    text[0] = '"';
    assert_int_equal(streams_add(streams, "s", "s", text, "", why), -EINVAL);
    assert_int_equal(streams_add(streams, "s", text, "a text", "", why), -EINVAL);
    assert_int_equal(streams_add(streams, "s", "s", "a text", text + 1, why), -EINVAL);
    streams_close(streams);
}

static void test_sql(void **state)
{
    (void)state;
    struct streams *streams = open_defaults();
    char sql[STREAM_SQL_BYTES];
    const struct stream *messages = streams_find(streams, "messages");
    assert_true(stream_create_sql(messages, sql, sizeof sql));
    assert_string_equal(
        sql,
        "do $ringmain$ begin if to_regclass('\"messages\"') is null then create table "
        "\"messages\" (\"id\" bigint generated always as identity primary key, "
        "\"user_id\" bigint not null, \"channel_id\" bigint not null, \"content\" text not null, "
        "\"created_at\" timestamptz); create index on \"messages\" using brin "
        "(\"created_at\"); end if; exception when duplicate_table or unique_violation "
        "then null; end $ringmain$");
    assert_true(stream_copy_sql(messages, sql, sizeof sql));
    assert_string_equal(sql, "COPY \"messages\" (\"user_id\"/*bigint*/,\"channel_id\"/*bigint*/,"
                             "\"content\"/*text*/,\"created_at\"/*timestamptz*/) "
                             "FROM STDIN (FORMAT binary)");
    assert_int_equal(streams_add(streams, "s", "\"My \"\"schema\".\"it's\"",
                                 "\"a \"\"b\" double precision from data.a", "", why),
                     0);
    const struct stream *odd = streams_find(streams, "s");
    assert_true(stream_create_sql(odd, sql, sizeof sql));
    assert_string_equal(
        sql,
        "do $ringmain$ begin if to_regclass('\"My \"\"schema\".\"it''s\"') is null then create "
        "table \"My \"\"schema\".\"it's\" (\"a \"\"b\" double precision); end if; exception when "
        "duplicate_table or unique_violation then null; end $ringmain$");
    assert_true(stream_copy_sql(odd, sql, sizeof sql));
    assert_string_equal(sql, "COPY \"My \"\"schema\".\"it's\" (\"a \"\"b\"/*double precision*/) "
                             "FROM STDIN (FORMAT binary)");
    size_t length = strlen(sql);
    for (size_t room = 1; room <= length + 1; room++)
        assert_int_equal(stream_copy_sql(odd, sql, room), room == length + 1);
    streams_close(streams);
}

static void test_longest_sql(void **state)
{
    (void)state;
    struct streams *streams = open_defaults();
    char columns[16384], table[300], sql[STREAM_SQL_BYTES];
    size_t length = 0;
    for (int i = 0; i < STREAM_COLUMNS_MAX; i++) { /* 63 quotes, but for the number */
        length += (size_t)sprintf(columns + length, "%s\"%02d", i > 0 ? "," : "", i);
        for (int k = 2; k < STREAM_NAME_MAX; k++)
            length += (size_t)sprintf(columns + length, "\"\"");
        length += (size_t)sprintf(columns + length, "\" double precision from data.a required");
    }
    char *at = table;
    for (int part = 0; part < 2; part++) {
        at += sprintf(at, "%s\"", part > 0 ? "." : "");
        for (int k = 0; k < STREAM_NAME_MAX; k++)
            at += sprintf(at, "\"\"");
        at += sprintf(at, "\"");
    }
    assert_int_equal(streams_add(streams, "s", table, columns, "", why), 0);
    assert_true(stream_create_sql(streams_find(streams, "s"), sql, sizeof sql));
    assert_true(stream_copy_sql(streams_find(streams, "s"), sql, sizeof sql));
    streams_close(streams);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_routes),
        cmocka_unit_test(test_many_routes), cmocka_unit_test(test_replacing),
        cmocka_unit_test(test_columns),     cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_sql),         cmocka_unit_test(test_longest_sql),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
