/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file is parsed by libinih, which knows neither line numbers nor more than the first fault.
 * Both come from the reader that we hand to it: it is called once a line, so it counts them, and a
 * line that has to be an assignment and has not reached our handler when the next one is asked for
 * is a fault. What libinih would cut or skip in silence (long lines and section names, what stands
 * behind a section's bracket) is refused in the reader as well.
 *
 * libinih's switches are globals. They are set here, to the same values each time, on the one
 * thread that reads the configuration. No comments behind a value: a password may hold " ;". No
 * continued values: keys may be indented.
 */
#include "core/config_assign.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE_BYTES_MAX = 16384,
    SECTION_BYTES_MAX = 49, /* libinih's own buffer */
};

struct reading {
    struct config_loader *loader;
    const char *name;
    FILE *file;
    char *line; /* getline's */
    size_t line_room;
    unsigned number;
    bool assignment_due; /* the line just given has not reached the handler yet */
    int error;           /* why a line could not be read; 0: the file is over, or no memory */
};

static void stand_at_line(struct reading *reading)
{
    reading->loader->line = reading->number;
    snprintf(reading->loader->where, sizeof reading->loader->where, "%.256s:%u", reading->name,
             reading->number);
}

static int handle(void *context, const char *section, const char *key, const char *value)
{
    struct reading *reading = context;
    reading->assignment_due = false;
    config_assign(reading->loader, section, key, value);
    return 1;
}

/* A line "[section]" as libinih will take it, or a complaint. */
static bool section_allowed(struct reading *reading, const char *line)
{
    const char *end = strchr(line, ']');
    if (end == NULL)
        config_complain(reading->loader, "a section without its closing bracket");
    else if (end - line - 1 > SECTION_BYTES_MAX)
        config_complain(reading->loader, "a section's name has at most %d bytes",
                        SECTION_BYTES_MAX);
    else if (end[1 + strspn(end + 1, " \t\r\n")] != '\0')
        config_complain(reading->loader, "something stands behind the section's bracket");
    else
        return true;
    return false;
}

/* May the line be given to libinih? Its length includes the line's end. */
static bool line_allowed(struct reading *reading, size_t length)
{
    const char *line = reading->line;
    if (memchr(line, '\0', length) != NULL) {
        config_complain(reading->loader, "a NUL byte: not a text file");
        return false;
    }
    if (length + 3 > LINE_BYTES_MAX) {
        config_complain(reading->loader, "a line longer than %d bytes", LINE_BYTES_MAX);
        return false;
    }
    if (reading->number == 1 && strncmp(line, "\xEF\xBB\xBF", 3) == 0)
        line += 3;
    line += strspn(line, " \t\r\n\v\f");
    if (*line == '[')
        return section_allowed(reading, line);
    reading->assignment_due = *line != '\0' && *line != ';' && *line != '#';
    return true;
}

/* libinih's fgets(). */
static char *read_line(char *out, int room, void *context)
{
    struct reading *reading = context;
    if (reading->assignment_due)
        config_complain(reading->loader, "neither [section] nor key = value");
    reading->assignment_due = false;
    ssize_t length = getline(&reading->line, &reading->line_room, reading->file);
    if (length < 0) {
        reading->error = ferror(reading->file) ? errno : 0;
        return NULL;
    }
    must(room == LINE_BYTES_MAX);
    reading->number++;
    stand_at_line(reading);
    /* A line that is refused is an empty one to libinih: it goes on with the next. */
    strcpy(out, line_allowed(reading, (size_t)length) ? reading->line : "\n");
    return out;
}

static int parse(struct reading *reading)
{
    ini_use_stack = false;
    ini_allow_realloc = false;
    ini_max_line = LINE_BYTES_MAX;
    ini_initial_alloc = LINE_BYTES_MAX;
    ini_allow_multiline = false;
    ini_allow_inline_comments = false;
    ini_allow_no_value = false;
    ini_stop_on_first_error = false;
    int result = ini_parse_stream(read_line, reading, handle, reading);
    if (reading->line != NULL)
        explicit_bzero(reading->line, reading->line_room);
    free(reading->line);
    if (reading->error != 0)
        return -reading->error; /* such as a directory */
    /* getline() without memory says the same as at the end of the file. */
    return result == -2 || !feof(reading->file) ? -ENOMEM : 0;
}

int config_read_file(struct config_loader *loader, const char *file)
{
    struct reading reading = {.loader = loader, .name = file, .file = fopen(file, "re")};
    int error = reading.file != NULL ? parse(&reading) : -errno;
    if (reading.file != NULL)
        fclose(reading.file);
    loader->line = 0;
    snprintf(loader->where, sizeof loader->where, "%.256s", file);
    if (error != 0)
        config_complain(loader, "%s", strerror(-error));
    return error;
}
