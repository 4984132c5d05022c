/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sessions of a door, by their sid:
 *
 *   shard (1)  slot (3, big endian)  secret (17 random bytes)      28 characters of base64url
 *
 * Shard and slot only find it; who does not know the secret has found nothing.
 */
#include "core/base64.h"
#include "core/clock.h"
#include "ws/engineio_internal.h"

#include <stdlib.h>

enum { SLOTS_FIRST = 64, NO_SLOT = UINT32_MAX };

static bool grow(struct engineio *door)
{
    uint32_t slots = door->slots == 0 ? SLOTS_FIRST : door->slots * 2;
    if (door->slots >= SESSION_SLOTS_MAX)
        return false;
    struct session_slot *slot = realloc(door->slot, slots * sizeof *slot);
    if (slot == NULL)
        return false;
    for (uint32_t i = door->slots; i < slots; i++)
        slot[i] = (struct session_slot){NULL, i + 1 < slots ? i + 1 : NO_SLOT};
    door->first_free = door->slots;
    door->slot = slot;
    door->slots = slots;
    return true;
}

static bool is_full(const struct engineio *door)
{
    return door->sessions == door->slots;
}

bool table_add(struct engineio *door, struct engineio_session *session)
{
    uint8_t bytes[SID_BYTES];
    if (door->sessions >= door->options.sessions_max || (is_full(door) && !grow(door)))
        return false;
    uint32_t slot = door->first_free;
    door->first_free = door->slot[slot].next_free;
    door->slot[slot].session = session;
    door->sessions++;
    session->slot = slot;
    clock_random(session->secret, SID_RANDOM);
    bytes[0] = (uint8_t)door->options.shard;
    bytes[1] = (uint8_t)(slot >> 16);
    bytes[2] = (uint8_t)(slot >> 8);
    bytes[3] = (uint8_t)slot;
    memcpy(bytes + 4, session->secret, SID_RANDOM);
    must(base64_encode(BASE64_URL, span_of(bytes, SID_BYTES), session->sid) == SID_LENGTH);
    return true;
}

void table_remove(struct engineio_session *session)
{
    struct engineio *door = session->door;
    struct session_slot *slot = &door->slot[session->slot];
    must(slot->session == session);
    *slot = (struct session_slot){NULL, door->first_free};
    door->first_free = session->slot;
    door->sessions--;
}

static bool read_sid(struct span sid, uint8_t bytes[BASE64_DECODED_MAX(SID_LENGTH)])
{
    return sid.length == SID_LENGTH && base64_decode(BASE64_URL, sid, bytes) == SID_BYTES;
}

/* In a time that does not tell how much of it was right. */
static bool is_secret(const uint8_t *a, const uint8_t *b)
{
    uint8_t differences = 0;
    for (size_t i = 0; i < SID_RANDOM; i++)
        differences |= a[i] ^ b[i];
    return differences == 0;
}

struct engineio_session *table_find(const struct engineio *door, struct span sid)
{
    uint8_t bytes[BASE64_DECODED_MAX(SID_LENGTH)];
    if (!read_sid(sid, bytes) || bytes[0] != door->options.shard)
        return NULL;
    uint32_t slot = (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    struct engineio_session *session = slot < door->slots ? door->slot[slot].session : NULL;
    return session != NULL && is_secret(session->secret, bytes + 4) ? session : NULL;
}

unsigned table_shard_of(struct span sid, unsigned shards, unsigned own)
{
    uint8_t bytes[BASE64_DECODED_MAX(SID_LENGTH)];
    return read_sid(sid, bytes) && bytes[0] < shards ? bytes[0] : own;
}
