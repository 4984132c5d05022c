/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/http_reply.h"

static const struct {
    unsigned status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {202, "Accepted"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

const char *http_reason(unsigned status)
{
    for (size_t i = 0; i < COUNT_OF(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}

static void two_digits(char *out, unsigned value)
{
    out[0] = (char)('0' + value / 10);
    out[1] = (char)('0' + value % 10);
}

/* The civil date of a day since 1970: days counted from 0000-03-01 in eras of 400 years. */
static void civil(unsigned days, unsigned *year, unsigned *month, unsigned *day)
{
    unsigned z = days + 719468;
    unsigned era = z / 146097, of_era = z % 146097;
    unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned from_march = (5 * of_year + 2) / 153;
    *day = of_year - (153 * from_march + 2) / 5 + 1;
    *month = from_march < 10 ? from_march + 2 : from_march - 10; /* 0: January */
    *year = year_of_era + era * 400 + (*month <= 1);
}

void http_date(int64_t wall_us, char out[HTTP_DATE_BYTES])
{
    unsigned year, month, day;
    uint64_t seconds = (uint64_t)wall_us / 1000000;
    unsigned days = (unsigned)(seconds / 86400), of_day = (unsigned)(seconds % 86400);
    civil(days, &year, &month, &day);
    memcpy(out, "Thu, 00 Jan 0000 00:00:00 GMT", HTTP_DATE_BYTES);
    memcpy(out, &"ThuFriSatSunMonTueWed"[(size_t)(days % 7) * 3], 3);
    memcpy(out + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[(size_t)month * 3], 3);
    two_digits(out + 5, day);
    two_digits(out + 12, year / 100 % 100);
    two_digits(out + 14, year % 100);
    two_digits(out + 17, of_day / 3600);
    two_digits(out + 20, of_day / 60 % 60);
    two_digits(out + 23, of_day % 60);
}

static bool put(struct buf *out, struct span text)
{
    return buf_put(out, text.at, text.length);
}

static bool put_text(struct buf *out, const char *text)
{
    return put(out, span_of_string(text));
}

size_t http_reply_bytes_max(const struct http_request *request,
                            const struct http_response *response)
{
    size_t type = response->type == NULL ? 0 : strlen(response->type);
    struct span none = {NULL, 0};
    return 320 + type + response->headers.length + response->body.length +
           cors_bytes_max(http_header(request, "origin"), none, none);
}

static bool put_status(struct buf *out, unsigned status, int64_t wall_us)
{
    char date[HTTP_DATE_BYTES];
    http_date(wall_us, date);
    return put(out, SPAN("HTTP/1.1 ")) && buf_put_number(out, status) && put(out, SPAN(" ")) &&
           put_text(out, http_reason(status)) && put(out, SPAN("\r\nDate: ")) &&
           buf_put(out, date, sizeof date) && put(out, SPAN("\r\n"));
}

/* RFC 9110 8.6: with 204 and 304 there is no content to describe. */
static bool put_content(struct buf *out, const struct http_response *response)
{
    if (response->status == 204 || response->status == 304)
        return true;
    return put(out, SPAN("Content-Type: ")) &&
           put_text(out, response->type == NULL ? "application/json" : response->type) &&
           put(out, SPAN("\r\nContent-Length: ")) && buf_put_number(out, response->body.length) &&
           put(out, SPAN("\r\n"));
}

static bool put_connection(struct buf *out, const struct http_request *request)
{
    if (!request->keep_alive)
        return put(out, SPAN("Connection: close\r\n"));
    return !request->http_1_0 || put(out, SPAN("Connection: keep-alive\r\n"));
}

bool http_reply_put(const struct http_request *request, const struct cors *cors, int64_t wall_us,
                    const struct http_response *response, struct buf *out)
{
    struct span origin = http_header(request, "origin");
    bool done = put_status(out, response->status, wall_us) && put_content(out, response) &&
                put_connection(out, request) && put(out, response->headers);
    if (done && cors != NULL && origin.at != NULL)
        done = cors_put(cors, origin, out);
    done = done && put(out, SPAN("\r\n"));
    return done && (request->bodiless || put(out, response->body));
}
