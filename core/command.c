/* SPDX-License-Identifier: Apache-2.0 */
#include "core/command.h"
#include "core/nearest.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct command_option *find_name(const struct command_line *line, const char *name,
                                              size_t length)
{
    for (unsigned i = 0; i < line->options_count; i++) {
        const char *known = line->options[i].name;
        if (known != NULL && strlen(known) == length && memcmp(known, name, length) == 0)
            return &line->options[i];
    }
    return NULL;
}

static const struct command_option *find_letter(const struct command_line *line, char letter)
{
    for (unsigned i = 0; i < line->options_count; i++)
        if (line->options[i].letter == letter && isalnum((unsigned char)letter))
            return &line->options[i];
    return NULL;
}

static int unknown_name(struct command_line *line, const char *name, size_t length)
{
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1),
             name);
    struct nearest nearest = {.word = word};
    for (unsigned i = 0; i < line->options_count; i++)
        if (line->options[i].name != NULL)
            nearest_offer(&nearest, line->options[i].name);
    if (nearest.best != NULL)
        snprintf(line->wrong, sizeof line->wrong, "no option --%s: did you mean --%s?", word,
                 nearest.best);
    else
        snprintf(line->wrong, sizeof line->wrong, "no option --%s: see --help", word);
    return COMMAND_WRONG;
}

/* The value of an option that wants one and has not brought it along: the next argument. */
static int value_follows(struct command_line *line, const struct command_option *option,
                         const char *written)
{
    if (*line->arguments == NULL) {
        snprintf(line->wrong, sizeof line->wrong, "option %.64s needs a value: %s %s", written,
                 written, option->value);
        return COMMAND_WRONG;
    }
    line->value = *line->arguments++;
    return option->letter;
}

static int next_named(struct command_line *line, const char *argument)
{
    const char *name = argument + 2, *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct command_option *option = find_name(line, name, length);
    if (option == NULL)
        return unknown_name(line, name, length);
    if (option->value == NULL && equals != NULL) {
        snprintf(line->wrong, sizeof line->wrong, "option --%s takes no value", option->name);
        return COMMAND_WRONG;
    }
    if (option->value != NULL && equals == NULL)
        return value_follows(line, option, argument);
    line->value = equals != NULL ? equals + 1 : NULL;
    return option->letter;
}

/* One letter of -vq or -cFILE; what is behind it stays in `group`. */
static int next_letter(struct command_line *line, const char *group)
{
    const struct command_option *option = find_letter(line, group[0]);
    char written[] = {'-', group[0], '\0'};
    if (option == NULL) {
        snprintf(line->wrong, sizeof line->wrong, "no option %s: see --help", written);
        return COMMAND_WRONG;
    }
    line->value = NULL;
    line->group = NULL;
    if (option->value == NULL) {
        if (group[1] != '\0')
            line->group = group + 1;
        return option->letter;
    }
    if (group[1] == '\0')
        return value_follows(line, option, written);
    line->value = group + 1;
    return option->letter;
}

int command_next(struct command_line *line)
{
    if (line->group != NULL)
        return next_letter(line, line->group);
    const char *argument = *line->arguments;
    if (argument == NULL)
        return COMMAND_END;
    line->arguments++;
    if (!line->only_operands && strcmp(argument, "--") == 0) {
        line->only_operands = true;
        return command_next(line);
    }
    if (line->only_operands || argument[0] != '-' || argument[1] == '\0') {
        line->value = argument;
        return COMMAND_OPERAND;
    }
    return argument[1] == '-' ? next_named(line, argument) : next_letter(line, argument + 1);
}

bool command_number(const char *text, int64_t least, int64_t most, int64_t *out)
{
    if (!isdigit((unsigned char)text[text[0] == '-']))
        return false;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < least || number > most)
        return false;
    *out = number;
    return true;
}

static int option_width(const struct command_option *option)
{
    size_t width = 0;
    if (option->name != NULL)
        width += 2 + strlen(option->name);
    if (option->value != NULL)
        width += 1 + strlen(option->value);
    return (int)width;
}

void command_print_options(FILE *out, const struct command_option *options, unsigned count)
{
    int widest = 0;
    for (unsigned i = 0; i < count; i++)
        if (option_width(&options[i]) > widest)
            widest = option_width(&options[i]);
    for (unsigned i = 0; i < count; i++) {
        const struct command_option *option = &options[i];
        if (isalnum((unsigned char)option->letter))
            fprintf(out, "  -%c%s ", option->letter, option->name != NULL ? "," : " ");
        else
            fprintf(out, "      ");
        fprintf(out, "%s%s%s%s%*s  %s\n", option->name != NULL ? "--" : "",
                option->name != NULL ? option->name : "", option->value != NULL ? " " : "",
                option->value != NULL ? option->value : "", widest - option_width(option), "",
                option->help);
    }
}
