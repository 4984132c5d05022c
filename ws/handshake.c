/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may upgrade, and on which terms.
 *
 * Of permessage-deflate's offers the first that we can keep is taken (RFC 7692 5): one with a
 * parameter that we do not know, a value out of bounds or one given twice is passed over, as the RFC
 * wants, and the next is looked at. Unless the policy says otherwise we ask both sides to keep no
 * context between messages, which every client must be able to do; that is what keeps an idle
 * connection small.
 */
#include "ws/handshake.h"
#include "ws/header_list.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>

enum { KEY_BYTES = 24, ACCEPT_BYTES = 28 };

/* Base64 of 16 bytes: 22 characters and two signs of equality. */
static bool is_key(struct span key)
{
    if (key.length != KEY_BYTES || key.at[22] != '=' || key.at[23] != '=')
        return false;
    for (unsigned i = 0; i < 22; i++) {
        uint8_t c = key.at[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '+' || c == '/'))
            return false;
    }
    return true;
}

/* Base64(SHA-1(key + GUID)), RFC 6455 4.2.2. */
static void accept_key(struct span key, char out[ACCEPT_BYTES + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[KEY_BYTES + sizeof guid - 1], digest[SHA_DIGEST_LENGTH];
    memcpy(text, key.at, KEY_BYTES);
    memcpy(text + KEY_BYTES, guid, sizeof guid - 1);
    SHA1(text, sizeof text, digest);
    must(EVP_EncodeBlock((uint8_t *)out, digest, sizeof digest) == ACCEPT_BYTES);
}

/* The host and port within an origin: what stands behind "://". */
static struct span origin_host(struct span origin)
{
    const uint8_t *at = memmem(origin.at, origin.length, "://", 3);
    return at == NULL ? (struct span){NULL, 0} : span_from(origin, (size_t)(at - origin.at) + 3);
}

/* Programs send no Origin; browsers always do, and no page can forge it (RFC 6455 10.2). */
static bool may_come_from(const struct handshake_request *request, struct span allowed)
{
    struct span origin = request->origin, item;
    if (origin.at == NULL)
        return true;
    while (list_next(&allowed, &item)) {
        if (span_is(item, "*") || text_equal(item, origin))
            return true;
    }
    struct span host = origin_host(origin);
    return host.length > 0 && text_equal(host, request->host);
}

/* An offer as it is being read. */
struct offer {
    struct deflate_terms terms;
    bool server_bits, client_bits; /* given, with a value or without */
};

/* 8 to 15, no sign, no leading zero (RFC 7692 7.1.2). 0: not that. */
static uint8_t window_bits(struct span value)
{
    unsigned bits = 0;
    if (value.length == 1)
        bits = value.at[0] - (unsigned)'0';
    else if (value.length == 2 && value.at[0] == '1')
        bits = 10 + value.at[1] - (unsigned)'0';
    return bits >= DEFLATE_BITS_MIN && bits <= DEFLATE_BITS_MAX ? (uint8_t)bits : 0;
}

static bool take_flag(bool *flag, struct span value)
{
    if (*flag || value.at != NULL)
        return false;
    *flag = true;
    return true;
}

static bool take_bits(bool *given, uint8_t *bits, struct span value)
{
    if (*given)
        return false;
    *given = true;
    *bits = window_bits(value);
    return *bits != 0;
}

/* False: an offer with this parameter is to be declined. */
static bool take_parameter(struct offer *offer, struct span name, struct span value)
{
    struct deflate_terms *terms = &offer->terms;
    if (text_is(name, "server_no_context_takeover"))
        return take_flag(&terms->server_no_context_takeover, value);
    if (text_is(name, "client_no_context_takeover"))
        return take_flag(&terms->client_no_context_takeover, value);
    if (text_is(name, "server_max_window_bits"))
        return take_bits(&offer->server_bits, &terms->server_max_window_bits, value);
    if (text_is(name, "client_max_window_bits")) {
        uint8_t any; /* we need not limit it, so that it does not matter */
        return value.at == NULL ? take_flag(&offer->client_bits, value)
                                : take_bits(&offer->client_bits, &any, value);
    }
    return false;
}

static void agree(const struct offer *offer, const struct handshake_policy *policy,
                  struct handshake *out)
{
    out->deflate = offer->terms;
    out->deflate.agreed = true;
    if (!policy->takeover) {
        out->deflate.server_no_context_takeover = true;
        out->deflate.client_no_context_takeover = true;
    }
    out->names_server_bits = offer->server_bits;
}

/* Reads one extension with its parameters. False: the header breaks the grammar. */
static bool read_extension(struct extension_list *list, struct span name, struct offer *offer,
                           bool *is_good)
{
    *offer = (struct offer){.terms = {.server_max_window_bits = DEFLATE_BITS_MAX}};
    *is_good = text_is(name, "permessage-deflate");
    struct span parameter, value;
    int found;
    while ((found = extension_parameter(list, &parameter, &value)) > 0)
        *is_good = *is_good && take_parameter(offer, parameter, value);
    return found == 0;
}

/* False: the line breaks the grammar. Reads to its end even when an offer is taken. */
static bool negotiate(struct span line, const struct handshake_policy *policy,
                      struct handshake *out)
{
    struct extension_list list = {line};
    struct span name;
    int found;
    while ((found = extension_next(&list, &name)) > 0) {
        struct offer offer;
        bool is_good;
        if (!read_extension(&list, name, &offer, &is_good))
            return false;
        if (policy->shared && offer.terms.server_max_window_bits < DEFLATE_BITS_MAX)
            is_good = false;
        if (is_good && policy->deflate && !out->deflate.agreed)
            agree(&offer, policy, out);
    }
    return found == 0;
}

enum handshake_fault handshake_judge(const struct handshake_request *request,
                                     const struct handshake_policy *policy, struct handshake *out)
{
    if (!request->wanted)
        return HANDSHAKE_NOT_WEBSOCKET;
    if (!span_is(request->version, "13"))
        return HANDSHAKE_BAD_VERSION;
    if (!is_key(request->key))
        return HANDSHAKE_BAD_KEY;
    if (!may_come_from(request, policy->origins))
        return HANDSHAKE_BAD_ORIGIN;
    struct handshake agreed = {0};
    for (unsigned i = 0; i < request->extension_lines; i++)
        if (!negotiate(request->extensions[i], policy, &agreed))
            return HANDSHAKE_BAD_EXTENSIONS;
    accept_key(request->key, agreed.accept);
    *out = agreed;
    return HANDSHAKE_OK;
}

unsigned handshake_status(enum handshake_fault fault)
{
    switch (fault) {
    case HANDSHAKE_OK:
        return 101;
    case HANDSHAKE_BAD_VERSION:
        return 426;
    case HANDSHAKE_BAD_ORIGIN:
        return 403;
    case HANDSHAKE_NOT_WEBSOCKET:
    case HANDSHAKE_BAD_KEY:
    case HANDSHAKE_BAD_EXTENSIONS:
        break;
    }
    return 400;
}

const char *handshake_reason(enum handshake_fault fault)
{
    switch (fault) {
    case HANDSHAKE_OK:
        break;
    case HANDSHAKE_NOT_WEBSOCKET:
        return "This address speaks WebSocket: send a GET with Upgrade: websocket and "
               "Connection: Upgrade";
    case HANDSHAKE_BAD_VERSION:
        return "Sec-WebSocket-Version must be 13";
    case HANDSHAKE_BAD_KEY:
        return "Sec-WebSocket-Key must be 16 bytes in base64";
    case HANDSHAKE_BAD_EXTENSIONS:
        return "Sec-WebSocket-Extensions does not follow RFC 6455 9.1";
    case HANDSHAKE_BAD_ORIGIN:
        return "Pages of this origin may not connect (cors.origins)";
    }
    return "Switching Protocols";
}

static size_t put(char *out, size_t used, const char *text)
{
    struct span more = span_of_string(text);
    must(used + more.length < HANDSHAKE_ANSWER_MAX);
    memcpy(out + used, more.at, more.length);
    return used + more.length;
}

static size_t put_bits(char *out, size_t used, unsigned bits)
{
    char text[64];
    snprintf(text, sizeof text, "; server_max_window_bits=%u", bits);
    return put(out, used, text);
}

static size_t put_deflate(const struct handshake *handshake, char *out, size_t used)
{
    const struct deflate_terms *terms = &handshake->deflate;
    used = put(out, used, "Sec-WebSocket-Extensions: permessage-deflate");
    if (terms->server_no_context_takeover)
        used = put(out, used, "; server_no_context_takeover");
    if (terms->client_no_context_takeover)
        used = put(out, used, "; client_no_context_takeover");
    if (handshake->names_server_bits)
        used = put_bits(out, used, terms->server_max_window_bits);
    return put(out, used, "\r\n");
}

size_t handshake_answer(const struct handshake *handshake, char out[HANDSHAKE_ANSWER_MAX])
{
    size_t used = put(out, 0,
                      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                      "Connection: Upgrade\r\nSec-WebSocket-Accept: ");
    used = put(out, used, handshake->accept);
    used = put(out, used, "\r\n");
    if (handshake->deflate.agreed)
        used = put_deflate(handshake, out, used);
    if (handshake->connection_id[0] != '\0') {
        used = put(out, used, "X-Connection-Id: ");
        used = put(out, used, handshake->connection_id);
        used = put(out, used, "\r\n");
    }
    return put(out, used, "\r\n");
}
