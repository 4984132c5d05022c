/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of POST /api/publish, and the small texts of the live doors: what is accepted keeps its
 * bounds and says the same when it is written again.
 */
#include "proto/http_request.h"
#include "proto/json.h"
#include "ws/publishing.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void body(const uint8_t *bytes, size_t length)
{
    struct publishing publishing;
    const char *wrong = publishing_read(&publishing, bytes, length);
    if (wrong != NULL) {
        must(publishing.code != NULL);
        return;
    }
    const struct publish *publish = &publishing.publish;
    struct json_value value;
    size_t fault;
    must(publish->room.length > 0 && publish->room.length <= ROOM_NAME_MAX);
    must(publish->event.length > 0 && publish->event.length <= PUBLISHING_NAME_MAX);
    must(publish->type.length <= PUBLISHING_NAME_MAX);
    must(memchr(publish->room.at, '\0', publish->room.length) == NULL);
    must(json_document(publish->data, &value, &fault) == JSON_OK);
}

/* As many values as there are commas and parameters, and none with a NUL in it. */
static void query(const uint8_t *bytes, size_t length)
{
    static struct http_request request;
    char room[ROOM_NAME_MAX + 1];
    size_t cursor = 0;
    int found;
    request.head = bytes;
    request.query = (struct http_piece){0, (uint16_t)(length < 8000 ? length : 8000)};
    while ((found = http_query_next(&request, "r", &cursor, room, sizeof room)) != 0) {
        must(cursor <= length + 1);
        must(found < 0 || strlen(room) < sizeof room);
    }
}

static void names(const uint8_t *bytes, size_t length)
{
    char text[HUB_OFFSET_TEXT];
    unsigned shard, shard_again;
    uint64_t number, number_again, id;
    if (hub_offset_parse(span_of(bytes, length), &shard, &number)) {
        hub_offset_print(shard, number, text);
        must(hub_offset_parse(span_of_string(text), &shard_again, &number_again));
        must(shard == shard_again && number == number_again);
    }
    if (peer_id_parse(span_of(bytes, length), &id)) {
        char again[PEER_ID_TEXT];
        peer_id_print(id, again);
        must(span_is(span_of(bytes, length), again));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length == 0)
        return 0;
    uint8_t *copy = malloc(length); /* of exactly this size: a read past its end is seen */
    must(copy != NULL);
    memcpy(copy, bytes, length);
    body(copy, length);
    query(copy, length);
    names(copy, length);
    free(copy);
    return 0;
}
