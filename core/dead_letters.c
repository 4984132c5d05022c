/* SPDX-License-Identifier: Apache-2.0 */
#include "core/dead_letters.h"

#include "batch/copy_read.h"
#include "batch/dead_letters.h"
#include "core/command.h"
#include "core/config.h"
#include "core/serve.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OVERRIDES_MAX = 128, LINE_MAX = 64 * 1024 * 1024, WHY = 512 };
enum { EXIT_GOOD, EXIT_REFUSED, EXIT_USAGE, EXIT_UNDONE };

enum action { ACTION_NONE, ACTION_LIST, ACTION_EXPORT, ACTION_RETRY };

struct arguments {
    enum action action;
    const char *file, *override[OVERRIDES_MAX];
    unsigned overrides;
    struct dead_letter_filter filter;
};

/* What the handling of one letter after the other needs. */
struct clerk {
    struct streams *streams;
    struct dead_letters *letters;
    struct buf line;
    uint64_t stored, refused;
    char why[WHY];
};

/* ── One letter ─────────────────────────────────────────────────────────────────────────────── */

/* What a letter's row belongs to: its own statement, or,
 * where it has none, that of the stream as it is now. */
struct envelope {
    const struct stream *stream; /* NULL: there is none of that name now */
    char now[STREAM_SQL_BYTES];
    struct span copy_sql;
    struct copy_statement statement;
    bool good;
};

static void open_envelope(const struct clerk *clerk, const struct dead_letter *letter,
                          struct envelope *out)
{
    char name[STREAM_NAME_MAX + 1];
    snprintf(name, sizeof name, "%.*s", SPAN_ARGS(letter->stream));
    out->stream = streams_find(clerk->streams, name);
    out->copy_sql = letter->copy_sql;
    if (letter->copy_sql.at == NULL && out->stream != NULL &&
        stream_copy_sql(out->stream, out->now, sizeof out->now))
        out->copy_sql = span_of_string(out->now);
    out->good = out->copy_sql.at != NULL && copy_statement_read(out->copy_sql, &out->statement);
}

static const struct column *id_column(const struct stream *stream)
{
    for (unsigned i = 0; stream != NULL && i < stream->columns; i++)
        if (stream->column[i].from[0].source == FROM_ID)
            return &stream->column[i];
    return NULL;
}

/* The value as it reads: a text is taken as it is, of others' JSON the quotes are left out. */
static struct span readable(const struct column *column, struct span value, struct buf *line)
{
    line->length = 0;
    if (column->type == COLUMN_TEXT || value.at == NULL)
        return value;
    if (!copy_read_value(column->type, value, line))
        return (struct span){0};
    bool quoted = line->at[0] == '"';
    return span_of(line->at + quoted, line->length - 2 * quoted);
}

/* The event's id, if the stream stores it; else {NULL,0}. */
static struct span id_of(struct clerk *clerk, const struct envelope *envelope, struct span row)
{
    struct span field[STREAM_COLUMNS_MAX];
    const struct column *id = id_column(envelope->stream);
    unsigned columns = envelope->good ? copy_read_fields(row, field) : 0;
    for (unsigned i = 0; id != NULL && i < columns && columns == envelope->statement.columns; i++)
        if (strcmp(id->name, envelope->statement.column[i]) == 0)
            return readable(id, field[i], &clerk->line);
    return (struct span){0};
}

/* ── List ───────────────────────────────────────────────────────────────────────────────────── */

/* A column of the list; what would break the line or the terminal becomes a blank. */
static void print_cell(struct span text, char end)
{
    if (text.length == 0)
        putchar('-');
    for (size_t i = 0; i < text.length; i++)
        putchar(text.at[i] < ' ' || text.at[i] == 0x7f ? ' ' : text.at[i]);
    putchar(end);
}

static bool list_one(struct clerk *clerk, const struct dead_letter *letter)
{
    struct envelope envelope;
    open_envelope(clerk, letter, &envelope);
    print_cell(letter->node, '\t');
    print_cell(letter->shard, '\t');
    print_cell(letter->sequence, '\t');
    print_cell(letter->stream, '\t');
    print_cell(letter->sqlstate, '\t');
    print_cell(letter->at, '\t');
    print_cell(id_of(clerk, &envelope, letter->row), '\t');
    print_cell(letter->reason, '\n');
    return true;
}

/* ── Export ─────────────────────────────────────────────────────────────────────────────────── */

static bool put_text(struct buf *line, const char *name, struct span value)
{
    return buf_print(line, "\"%s\":", name) &&
           (value.at == NULL ? buf_put(line, "null", 4) : buf_put_json(line, value)) &&
           buf_put(line, ",", 1);
}

static bool put_number(struct buf *line, const char *name, struct span digits)
{
    return buf_print(line, "\"%s\":", name) &&
           (digits.at == NULL ? buf_put(line, "null", 4)
                              : buf_put(line, digits.at, digits.length)) &&
           buf_put(line, ",", 1);
}

/* The row by its columns; where that can't be, its bytes. */
static bool put_row(struct buf *line, const struct envelope *envelope, struct span row)
{
    size_t before = line->length;
    if (envelope->good && buf_put(line, "\"row\":", 6) &&
        copy_read_row(&envelope->statement, envelope->stream, row, line))
        return true;
    line->length = before;
    return buf_put(line, "\"raw\":", 6) && copy_read_hex(row, line);
}

static bool export_one(struct clerk *clerk, const struct dead_letter *letter)
{
    struct envelope envelope;
    struct buf *line = &clerk->line;
    open_envelope(clerk, letter, &envelope);
    line->length = 0;
    bool fits =
        buf_put(line, "{", 1) && put_text(line, "node", letter->node) &&
        put_number(line, "shard", letter->shard) && put_number(line, "epoch", letter->epoch) &&
        put_number(line, "seq", letter->sequence) && put_text(line, "stream", letter->stream) &&
        put_text(line, "sqlstate", letter->sqlstate) && put_text(line, "reason", letter->reason) &&
        put_text(line, "at", letter->at) && put_row(line, &envelope, letter->row) &&
        buf_put(line, "}\n", 2);
    if (!fits) {
        snprintf(clerk->why, WHY, "no memory for a line");
        return false;
    }
    if (fwrite(line->at, 1, line->length, stdout) == line->length)
        return true;
    snprintf(clerk->why, WHY, "standard output can't be written to");
    return false;
}

/* ── Retry ──────────────────────────────────────────────────────────────────────────────────── */

static void say(const struct dead_letter *letter, const char *what, const char *why)
{
    fprintf(stderr,
            "ringmain dead-letters: node %.*s, shard %.*s, event %.*s (stream %.*s): %s%s\n",
            SPAN_ARGS(letter->node), SPAN_ARGS(letter->shard), SPAN_ARGS(letter->sequence),
            SPAN_ARGS(letter->stream), what, why);
}

static bool retry_one(struct clerk *clerk, const struct dead_letter *letter)
{
    struct envelope envelope;
    open_envelope(clerk, letter, &envelope);
    if (!envelope.good) {
        say(letter, "left where it is: ", "it does not say which columns it has");
        clerk->refused++;
        return true;
    }
    switch (dead_letters_retry(clerk->letters, letter, envelope.copy_sql, clerk->why)) {
    case DEAD_LETTER_STORED:
        clerk->stored++;
        return true;
    case DEAD_LETTER_REFUSED:
        say(letter, "refused again: ", clerk->why);
        clerk->refused++;
        return true;
    case DEAD_LETTER_GONE:
        say(letter, "somebody else has taken it meanwhile", "");
        return true;
    case DEAD_LETTER_UNKNOWN:
        say(letter, "stored or still dead, see list: ", clerk->why);
        return false;
    }
    return false;
}

/* ── All of them ────────────────────────────────────────────────────────────────────────────── */

static bool handle(struct clerk *clerk, enum action action, const struct dead_letter *letter)
{
    switch (action) {
    case ACTION_LIST:
        return list_one(clerk, letter);
    case ACTION_EXPORT:
        return export_one(clerk, letter);
    case ACTION_RETRY:
        return retry_one(clerk, letter);
    case ACTION_NONE:
        break;
    }
    return false;
}

static int handle_all(struct clerk *clerk, const struct arguments *arguments)
{
    struct dead_letter letter;
    int more = dead_letters_select(clerk->letters, &arguments->filter, clerk->why);
    if (more == 0 && arguments->action == ACTION_LIST)
        puts("node\tshard\tseq\tstream\tsqlstate\tat\tid\treason");
    bool good = more == 0;
    while (good && (more = dead_letters_next(clerk->letters, &letter, clerk->why)) == 1)
        good = handle(clerk, arguments->action, &letter);
    if (fflush(stdout) != 0 && good) {
        snprintf(clerk->why, WHY, "standard output can't be written to");
        good = false;
    }
    if (arguments->action == ACTION_RETRY)
        printf("%llu stored, %llu refused again\n", (unsigned long long)clerk->stored,
               (unsigned long long)clerk->refused);
    if (good && more == 0)
        return clerk->refused > 0 ? EXIT_REFUSED : EXIT_GOOD;
    fprintf(stderr, "ringmain dead-letters: %s\n", clerk->why);
    return EXIT_UNDONE;
}

static int work(const struct config *config, const struct arguments *arguments)
{
    struct clerk clerk = {.line = {.max = LINE_MAX}};
    int result = EXIT_UNDONE;
    clerk.streams = serve_streams(config, clerk.why);
    if (clerk.streams != NULL && config->postgres_conninfo[0] == '\0')
        snprintf(clerk.why, WHY, "postgres.conninfo is empty: there is nowhere to look");
    else if (clerk.streams != NULL &&
             dead_letters_open(&clerk.letters, config->postgres_conninfo, clerk.why) == 0)
        result = handle_all(&clerk, arguments);
    if (clerk.letters == NULL)
        fprintf(stderr, "ringmain dead-letters: %s\n", clerk.why);
    else
        dead_letters_close(clerk.letters);
    if (clerk.streams != NULL)
        streams_close(clerk.streams);
    buf_fini(&clerk.line);
    return result;
}

/* ── Arguments ──────────────────────────────────────────────────────────────────────────────── */

static const struct command_option options[] = {
    {'c', "config", "FILE", "configuration; default /etc/ringmain/ringmain.conf if it is there"},
    {'o', "option", "SECTION.KEY=VALUE", "set one option; may be repeated"},
    {'s', "stream", "NAME", "only rows of this stream"},
    {'e', "sqlstate", "CODE", "only rows refused with this SQLSTATE, such as 23514"},
    {'n', "limit", "N", "at most N rows, the oldest first"},
    {'h', "help", NULL, "this text"},
};

static int usage(FILE *out)
{
    fputs(
        "ringmain dead-letters list|export|retry [options]\n\n"
        "The rows that Postgres refused for good, in the table ringmain_dead_letters.\n\n"
        "  list     a line each: node, shard, seq, stream, sqlstate, at, id, reason; tabs between\n"
        "  export   a JSON object a line, with the row by its columns\n"
        "  retry    move each back into its table, in a transaction of its own; says which are\n"
        "           refused again and why. Mend what stood in their way first\n\n",
        out);
    command_print_options(out, options, COUNT_OF(options));
    return out == stdout ? EXIT_GOOD : EXIT_USAGE;
}

static int wrong(const char *what)
{
    fprintf(stderr, "ringmain dead-letters: %s\n", what);
    return EXIT_USAGE;
}

static int take_action(struct arguments *arguments, const char *word)
{
    static const char *const words[] = {
        [ACTION_LIST] = "list", [ACTION_EXPORT] = "export", [ACTION_RETRY] = "retry"};
    if (arguments->action != ACTION_NONE)
        return wrong("one of list, export and retry, once; see --help");
    for (unsigned i = ACTION_LIST; i < COUNT_OF(words); i++)
        if (strcmp(word, words[i]) == 0)
            arguments->action = (enum action)i;
    return arguments->action == ACTION_NONE ? wrong("list, export or retry? see --help") : -1;
}

/* -1: go on; else the exit status. */
static int take(struct arguments *arguments, int option, const char *value)
{
    switch (option) {
    case 'c':
        arguments->file = value;
        return -1;
    case 'o':
        if (arguments->overrides == OVERRIDES_MAX)
            return wrong("too many -o options");
        arguments->override[arguments->overrides++] = value;
        return -1;
    case 's':
        arguments->filter.stream = value;
        return -1;
    case 'e':
        arguments->filter.sqlstate = value;
        return -1;
    case 'n':
        return command_number(value, 1, INT64_MAX, &arguments->filter.limit)
                   ? -1
                   : wrong("--limit wants a number from 1");
    case 'h':
        return usage(stdout);
    default:
        return take_action(arguments, value);
    }
}

int dead_letters_main(char **words)
{
    static const char installed[] = "/etc/ringmain/ringmain.conf";
    struct arguments arguments = {0};
    struct command_line line = {
        .arguments = words, .options = options, .options_count = COUNT_OF(options)};
    for (int option; (option = command_next(&line)) != COMMAND_END;) {
        int status =
            option == COMMAND_WRONG ? wrong(line.wrong) : take(&arguments, option, line.value);
        if (status >= 0)
            return status;
    }
    if (arguments.action == ACTION_NONE)
        return usage(stderr);
    if (arguments.file == NULL && access(installed, F_OK) == 0)
        arguments.file = installed;
    struct config config;
    if (config_load(&config, arguments.file, environ, arguments.override, arguments.overrides,
                    stderr) != 0)
        return EXIT_UNDONE;
    int status = work(&config, &arguments);
    config_free(&config);
    return status;
}
