/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/scrape.h"
#include "metrics/negotiate.h"
#include "metrics/words.h"

/* What the header lines say, as far as anybody here asks. */
struct head {
    struct scrape *asked;
    struct negotiation accept;
    unsigned hosts;
    bool newer; /* HTTP/1.1 */
    bool says_close, says_keep_alive, has_body;
};

/* RFC 9112 2.2: a lone line feed ends a line as well,
 * and empty lines before a request are passed over. */
static size_t empty_lines(struct span input)
{
    size_t i = 0;
    while (i < input.length &&
           (input.at[i] == '\n' ||
            (input.at[i] == '\r' && i + 1 < input.length && input.at[i + 1] == '\n')))
        i += input.at[i] == '\n' ? 1 : 2;
    return i;
}

/* Where the empty line behind the header ends, or 0. */
static size_t head_end(struct span input)
{
    for (size_t i = 0; i + 1 < input.length; i++) {
        if (input.at[i] != '\n')
            continue;
        if (input.at[i + 1] == '\n')
            return i + 2;
        if (input.at[i + 1] == '\r' && i + 2 < input.length && input.at[i + 2] == '\n')
            return i + 3;
    }
    return 0;
}

/* Takes a line off `rest`, which has one; the line without its end. */
static struct span next_line(struct span *rest)
{
    const uint8_t *end = memchr(rest->at, '\n', rest->length);
    must(end != NULL);
    struct span line = {rest->at, (size_t)(end - rest->at)};
    *rest = span_from(*rest, line.length + 1);
    if (line.length > 0 && line.at[line.length - 1] == '\r')
        line.length--;
    return line;
}

/* RFC 9110 5.6.2 */
static bool is_token(struct span text)
{
    static const char more[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < text.length; i++) {
        uint8_t byte = text.at[i], letter = byte | 0x20;
        bool fine = (letter >= 'a' && letter <= 'z') || (byte >= '0' && byte <= '9') ||
                    (byte != 0 && strchr(more, byte) != NULL);
        if (!fine)
            return false;
    }
    return text.length > 0;
}

/* Nothing that does not show, but for blanks where they may be. */
static bool is_printable(struct span text, bool blanks)
{
    for (size_t i = 0; i < text.length; i++)
        if ((text.at[i] <= ' ' && !(blanks && word_is_blank(text.at[i]))) || text.at[i] == 0x7F)
            return false;
    return true;
}

/* What stands before the first `byte`, which goes too; all, if there is none. */
static struct span take_until(struct span *rest, uint8_t byte)
{
    const uint8_t *end = rest->length > 0 ? memchr(rest->at, byte, rest->length) : NULL;
    struct span part = {rest->at, end != NULL ? (size_t)(end - rest->at) : rest->length};
    *rest = span_from(*rest, part.length + (end != NULL));
    return part;
}

/* RFC 9112 3.2.2: a server takes the whole address as well, "http://host/path". */
static enum scrape_page page_of(struct span target)
{
    static const char scheme[] = "http://";
    size_t length = sizeof scheme - 1;
    if (target.length > length && word_is(span_of(target.at, length), scheme)) {
        target = span_from(target, length);
        const uint8_t *slash = memchr(target.at, '/', target.length);
        if (slash == NULL)
            return PAGE_INDEX;
        target = span_from(target, (size_t)(slash - target.at));
    }
    struct span path = take_until(&target, '?');
    if (span_is(path, "/metrics"))
        return PAGE_METRICS;
    return span_is(path, "/") ? PAGE_INDEX : PAGE_UNKNOWN;
}

/* RFC 9112 3: method SP target SP version */
static bool read_request_line(struct head *head, struct span line)
{
    struct span method = take_until(&line, ' ');
    struct span target = take_until(&line, ' ');
    if (!is_token(method) || target.length == 0 || !is_printable(target, false) ||
        line.length != 8 || memcmp(line.at, "HTTP/1.", 7) != 0 || line.at[7] < '0' ||
        line.at[7] > '9')
        return false;
    head->newer = line.at[7] > '0';
    head->asked->bodyless = span_is(method, "HEAD");
    head->asked->allowed = head->asked->bodyless || span_is(method, "GET");
    head->asked->page = page_of(target);
    return true;
}

static void read_connection(struct head *head, struct span value)
{
    while (value.length > 0) {
        struct span option = word_trimmed(take_until(&value, ','));
        head->says_close |= word_is(option, "close");
        head->says_keep_alive |= word_is(option, "keep-alive");
    }
}

/* RFC 9112 5. A line that starts with a blank (a
 * folded one) has no token for its name, and fails so. */
static bool read_field(struct head *head, struct span line)
{
    if (memchr(line.at, ':', line.length) == NULL)
        return false;
    struct span name = take_until(&line, ':');
    struct span value = word_trimmed(line);
    if (!is_token(name) || !is_printable(value, true))
        return false;
    if (word_is(name, "host"))
        head->hosts++;
    else if (word_is(name, "connection"))
        read_connection(head, value);
    else if (word_is(name, "accept"))
        negotiate(&head->accept, value);
    else if (word_is(name, "transfer-encoding"))
        head->has_body = true;
    else if (word_is(name, "content-length"))
        head->has_body |= !span_is(value, "0");
    return true;
}

static bool read_head(struct span text, struct scrape *asked)
{
    struct head head = {.asked = asked};
    if (!read_request_line(&head, next_line(&text)))
        return false;
    for (struct span line = next_line(&text); line.length > 0; line = next_line(&text))
        if (!read_field(&head, line))
            return false;
    if (head.hosts > 1 || (head.newer && head.hosts == 0)) /* RFC 9112 3.2 */
        return false;
    asked->keep_alive = !head.says_close && !head.has_body && (head.newer || head.says_keep_alive);
    asked->openmetrics = negotiated_openmetrics(&head.accept);
    return true;
}

ptrdiff_t scrape_read(struct span input, struct scrape *out)
{
    size_t empty = empty_lines(input);
    struct span text = span_from(input, empty);
    size_t length = head_end(text);
    if (length == 0)
        return 0;
    struct scrape asked = {0};
    if (!read_head(span_of(text.at, length), &asked))
        return SCRAPE_BAD;
    *out = asked;
    return (ptrdiff_t)(empty + length);
}
