/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a refusal means, where the line number stands, and that the hunt always ends at the row.
 */
#include "tests/unit/unit.h"

#include "batch/poison.h"
#include "batch/sql.h"

#include <stdio.h>

static void classes(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate;
        enum verdict verdict;
    } cases[] = {
        {"22P02", VERDICT_ROW},   {"22021", VERDICT_ROW},   {"23505", VERDICT_ROW},
        {"23514", VERDICT_ROW},   {"54000", VERDICT_ROW},   {"P0001", VERDICT_ROW},
        {"P0004", VERDICT_ROW},   {"21000", VERDICT_ROW},   {"40001", VERDICT_RETRY},
        {"40P01", VERDICT_RETRY}, {"53100", VERDICT_RETRY}, {"55P03", VERDICT_RETRY},
        {"57P01", VERDICT_RETRY}, {"57P03", VERDICT_RETRY}, {"08006", VERDICT_LOST},
        {"25006", VERDICT_LOST},  {"25P02", VERDICT_HOLD},  {"42703", VERDICT_HOLD},
        {"42501", VERDICT_HOLD},  {"28P01", VERDICT_HOLD},  {"3D000", VERDICT_HOLD},
        {"XX000", VERDICT_HOLD},  {"", VERDICT_HOLD},       {"57014", VERDICT_TOO_BIG},
    };
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        char sqlstate[6] = {0};
        memcpy(sqlstate, cases[i].sqlstate, strlen(cases[i].sqlstate));
        if (poison_judge(sqlstate) != cases[i].verdict)
            fail_msg("%s", sqlstate);
    }
}

static void lines(void **state)
{
    (void)state;
    static const struct {
        const char *context;
        uint64_t line;
    } cases[] = {
        {"COPY events, line 1", 1},
        {"COPY events, line 123, column data", 123},
        {"COPY events, line 4294967297", 4294967297},
        {"JSON data, line 1: {...\nCOPY events, line 7, column data", 7},
        {"PL/pgSQL function f() line 3 at RAISE\nCOPY t, line 9", 9},
        {"COPY a, line 7, line 8", 8},
        {"PL/pgSQL function f() line 3 at RAISE", 0},
        {"SQL statement \"COPY x, line 5\"", 0},
        {"COPY events", 0},
        {"COPY events, line ", 0},
        {"COPY events, line x", 0},
        {"", 0},
    };
    for (unsigned i = 0; i < COUNT_OF(cases); i++)
        if (poison_line(cases[i].context) != cases[i].line)
            fail_msg("%s", cases[i].context);
}

/* ── The hunt, with a Postgres that is two comparisons ──────────────────────────────────────── */

enum { HUNT_ROWS = 1000 };

static struct piece the_piece;
static struct lot the_lot;

static struct batch batch_of(uint64_t from, uint32_t rows, bool dead)
{
    the_piece = (struct piece){
        .first_sequence = from, .rows = rows - dead, .next = PIECE_NONE, .source = 2};
    the_lot = (struct lot){.rows = rows - dead};
    return (struct batch){.piece = &the_piece,
                          .lot = &the_lot,
                          .pieces = 1,
                          .lots = rows > dead,
                          .rows = rows,
                          .rows_max = HUNT_ROWS,
                          .dead = {.there = dead, .source = 2, .sequence = from + rows - 1}};
}

/* Stores [0, HUNT_ROWS); rows for which `bad` says so are
 * refused, with a line or without. Returns the attempts. */
static unsigned hunt(bool (*bad)(uint64_t sequence), bool with_line, unsigned *buried)
{
    struct poison poison = {0};
    unsigned attempts = 0;
    uint64_t next = 0;
    *buried = 0;
    while (next < HUNT_ROWS) {
        assert_true(++attempts < 20 * HUNT_ROWS);
        uint64_t end =
            poison.rows_limit > 0 && !poison.known ? next + poison.rows_limit : HUNT_ROWS;
        end = poison.known ? poison.sequence + 1 : end < HUNT_ROWS ? end : HUNT_ROWS;
        struct batch batch = batch_of(next, (uint32_t)(end - next), poison.known);
        uint64_t at = next;
        while (at < next + the_piece.rows && !bad(at))
            at++;
        if (at == next + the_piece.rows) {
            *buried += poison.known;
            if (poison.known)
                assert_true(bad(poison.sequence));
            poison_passed(&poison, &batch);
            next = end;
            continue;
        }
        struct postgres_error error = {.sqlstate = "23514"};
        if (with_line)
            snprintf(error.context, sizeof error.context, "COPY t, line %u",
                     (unsigned)(at - next + 1));
        assert_true(poison_suspect(&poison, &batch, 0, &error));
    }
    assert_false(poison.known);
    return attempts;
}

static bool one(uint64_t sequence)
{
    return sequence == 617;
}

static bool ends(uint64_t sequence)
{
    return sequence == 0 || sequence == HUNT_ROWS - 1;
}

static bool many(uint64_t sequence)
{
    return sequence % 10 == 3;
}

static bool all(uint64_t sequence)
{
    (void)sequence;
    return true;
}

static void the_hunt_ends_at_the_row(void **state)
{
    (void)state;
    static const struct {
        bool (*bad)(uint64_t);
        unsigned dead, attempts_by_line, attempts_by_halving;
    } cases[] = {
        {one, 1, 5, 30}, {ends, 2, 10, 50}, {many, 100, 300, 1000}, {all, 1000, 2001, 3100}};
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        unsigned buried;
        assert_true(hunt(cases[i].bad, true, &buried) <= cases[i].attempts_by_line);
        assert_int_equal(buried, cases[i].dead);
        assert_true(hunt(cases[i].bad, false, &buried) <= cases[i].attempts_by_halving);
        assert_int_equal(buried, cases[i].dead);
    }
}

static void nobody_is_blamed_for_the_burial(void **state)
{
    (void)state;
    struct poison poison = {0};
    struct postgres_error error = {.sqlstate = "23514"};
    struct batch batch = batch_of(5, 1, true);
    assert_false(poison_suspect(&poison, &batch, 0, &error));
    batch = batch_of(5, 10, false);
    assert_false(poison_suspect(&poison, &batch, -1, &error));
}

/* ── SQL text ───────────────────────────────────────────────────────────────────────────────── */

static void literals(void **state)
{
    (void)state;
    struct buf sql = {.max = 1000};
    assert_true(sql_put_text(&sql, SPAN("it's \\ \0 \xc3\xa4")));
    assert_true(sql_put_bytes(&sql, SPAN("\0\xff'")));
    assert_true(buf_put(&sql, "", 1));
    assert_string_equal((char *)sql.at, " E'it''s \\\\  \xc3\xa4' E'\\\\x00ff27'::bytea");
    buf_fini(&sql);
    struct buf small = {.max = 10};
    assert_false(sql_put_text(&small, SPAN("0123456789")));
    assert_false(sql_put_bytes(&small, SPAN("0123456789")));
    assert_int_equal(small.length, 0);
    buf_fini(&small);
}

static void text_is_cut_between_letters(void **state)
{
    (void)state;
    struct span text = SPAN("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x8e\x89");
    static const size_t cut[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t i = 0; i < COUNT_OF(cut); i++)
        assert_int_equal(text_cut(text, i), cut[i]);
}

/* The line makes the difference between a table that can't and a row that can't. */
static void not_supported_at_a_line(void **state)
{
    (void)state;
    struct postgres_error error = {.sqlstate = "0A000", .context = ""};
    assert_int_equal(poison_judge_batch(&error), VERDICT_HOLD);
    strcpy(error.context, "JSON data, line 1: ...\nCOPY t, line 7, column body");
    assert_int_equal(poison_judge_batch(&error), VERDICT_ROW);
    strcpy(error.sqlstate, "42703");
    assert_int_equal(poison_judge_batch(&error), VERDICT_HOLD);
    strcpy(error.sqlstate, "40001");
    assert_int_equal(poison_judge_batch(&error), VERDICT_RETRY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_supported_at_a_line),
        cmocka_unit_test(classes),
        cmocka_unit_test(lines),
        cmocka_unit_test(the_hunt_ends_at_the_row),
        cmocka_unit_test(nobody_is_blamed_for_the_burial),
        cmocka_unit_test(literals),
        cmocka_unit_test(text_is_cut_between_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
