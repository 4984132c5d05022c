/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/plain_internal.h"

enum { SCRATCH_MAX = 1 << 30 };

void plain_init(struct plain *plain, const struct plain_options *options)
{
    *plain = (struct plain){
        .options = *options, .scratch = {.max = SCRATCH_MAX}, .packed = {.max = SCRATCH_MAX}};
    hub_set_encoder(options->hub, ENCODING_JSON, plain_encode_json, plain);
    hub_set_encoder(options->hub, ENCODING_JSON_PACKED, plain_encode_packed, plain);
    hub_set_encoder(options->hub, ENCODING_EVENT_STREAM, plain_encode_event, plain);
}

void plain_fini(struct plain *plain)
{
    buf_fini(&plain->scratch);
    buf_fini(&plain->packed);
}

void plain_change(struct plain *plain, const struct plain_settings *settings)
{
    plain->settings = *settings;
}
