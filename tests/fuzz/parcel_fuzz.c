/* SPDX-License-Identifier: Apache-2.0 */
/* The quick look and the thorough one agree, and both leave the text alone. */
#include "ws/parcel.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_read(struct span text, const struct parcel *parcel, struct span id)
{
    struct json_value whole;
    size_t fault;
    must(json_document(text, &whole, &fault) == JSON_OK || whole.kind != JSON_OBJECT);
    must(parcel->data.text.at >= text.at && parcel->data.text.length <= text.length);
    must(parcel->type != PARCEL_BATCH || parcel->data.kind == JSON_ARRAY);
    must(id.at == NULL);
}

/* What was guessed, if its data is JSON, is what is read. */
static void check_guess(const struct parcel *guess, const struct parcel *read, bool is_read)
{
    struct json_value data;
    size_t fault;
    if (json_document(guess->data.text, &data, &fault) != JSON_OK)
        return;
    must(is_read && read->bare && read->type == guess->type);
    must(span_equal(read->data.text, data.text) && read->data.text.at == data.text.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    uint8_t *copy = malloc(length + 1);
    must(copy != NULL);
    if (length > 0)
        memcpy(copy, bytes, length);
    struct span text = span_of(copy, length), id;
    struct parcel guess, parcel;
    struct refusal refusal;
    bool is_read = parcel_read(text, &parcel, &id, &refusal) == EVENT_ACCEPTED;
    if (is_read)
        check_read(text, &parcel, id);
    if (parcel_guess(text, &guess))
        check_guess(&guess, &parcel, is_read);
    must(length == 0 || memcmp(copy, bytes, length) == 0);
    free(copy);
    return 0;
}
