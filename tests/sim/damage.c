/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block is worth damaging if recovery counts it (no later segment holds its rows) and can know
 * that it was durable (some block or header says so): all others may be a torn end. Before it is
 * hit its events and its producers' counts are noted in the ledger.
 */
#include "tests/sim/damage.h"

#include "batch/segment_file.h"
#include "core/file.h"
#include "tests/sim/check.h"
#include "tests/sim/disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { BLOCKS_MAX = 512, SEGMENTS_MAX = 128, NAME_BYTES = 32 };

struct target {
    uint64_t number, at, first, last;
    uint32_t length;
};

struct rot {
    struct box *box;
    struct segment_file file;
    int directory;
    uint64_t number[SEGMENTS_MAX];
    unsigned numbers;
    struct target target[BLOCKS_MAX];
    unsigned targets;
    uint64_t proven;
};

/* ── Where ──────────────────────────────────────────────────────────────────────────────────── */

static int note_number(void *context, const char *name)
{
    struct rot *rot = context;
    if (rot->numbers < SEGMENTS_MAX && segment_number(name, ".seg", &rot->number[rot->numbers]))
        rot->numbers++;
    return 0;
}

/* What this segment holds from its header's first sequence on, earlier ones do not. */
static void supersede(struct rot *rot, uint64_t number, uint64_t first)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < rot->targets; i++) {
        struct target target = rot->target[i];
        if (target.number < number && target.first >= first)
            continue;
        if (target.number < number && target.last > first)
            target.last = first;
        rot->target[kept++] = target;
    }
    rot->targets = kept;
}

static void note_block(struct rot *rot, const struct block_view *view, uint64_t at)
{
    if (view->durable > rot->proven)
        rot->proven = view->durable;
    if (view->rows == 0 || rot->targets == BLOCKS_MAX)
        return;
    rot->target[rot->targets++] = (struct target){.number = rot->file.number,
                                                  .at = at,
                                                  .first = view->first_sequence,
                                                  .last = view->first_sequence + view->rows,
                                                  .length = view->length};
}

static void survey_segment(struct rot *rot)
{
    const struct segment_header *header = &rot->file.header;
    if (rot->file.fault != SEGMENT_OK)
        return;
    if (header->durable > rot->proven)
        rot->proven = header->durable;
    struct block_view view;
    enum block_fault fault;
    uint32_t room = 1;
    for (uint64_t at = rot->file.blocks_at; room > 0; at += room) {
        must(segment_file_block(&rot->file, at, &fault, &view, &room) == 0);
        if (room > 0 && fault == BLOCK_OK)
            note_block(rot, &view, at);
    }
}

/* In the order of their numbers; a header is only known once its segment is open. */
static void survey(struct rot *rot)
{
    must(file_list(rot->directory, note_number, rot) == 0);
    for (unsigned i = 0; i < rot->numbers; i++)
        if (segment_file_open(&rot->file, rot->directory, rot->number[i]) == 0) {
            survey_segment(rot);
            segment_file_close(&rot->file);
        }
    for (unsigned i = 0; i < rot->numbers; i++)
        if (segment_file_open(&rot->file, rot->directory, rot->number[i]) == 0) {
            if (rot->file.fault == SEGMENT_OK)
                supersede(rot, rot->file.number, rot->file.header.first_sequence);
            segment_file_close(&rot->file);
        }
}

/* ── Whose ──────────────────────────────────────────────────────────────────────────────────── */

static void may_be_lost(void *context, uint64_t sequence, struct event_name event)
{
    struct rot *rot = context;
    (void)sequence;
    ledger_damaged(rot->box->ledger, event);
}

static void note_loss(struct rot *rot, const struct block_view *view)
{
    size_t offset = 0;
    struct span name;
    uint64_t count;
    check_block(rot->box, view, rot, may_be_lost);
    while (block_mark_next(view, &offset, &name, &count))
        ledger_mark_damaged(rot->box->ledger, name);
}

/* ── Planting ───────────────────────────────────────────────────────────────────────────────── */

static void hit(struct rot *rot, const struct target *target, uint64_t at)
{
    char name[SEGMENT_NAME_BYTES];
    struct damage *damage = &rot->box->damage;
    struct block_view view; /* as it was: the window stays */
    enum block_fault fault;
    uint32_t room;
    segment_name(name, target->number);
    int file = file_open(rot->directory, name, O_WRONLY, 0);
    must(file >= 0 && segment_file_block(&rot->file, target->at, &fault, &view, &room) == 0);
    must(fault == BLOCK_OK);
    if (disk_rot(file, at)) {
        bool missed = at >= target->at && at < target->at + target->length;
        tell("%s rots at byte %llu%s: %llu … %llu of %llu", name, (unsigned long long)at,
             missed ? "" : ", which nobody misses", (unsigned long long)target->first,
             (unsigned long long)target->last, (unsigned long long)rot->proven);
        saw(SAW_ROT);
        damage->planted = missed;
        if (missed)
            note_loss(rot, &view);
    }
    file_close(file);
}

/* Behind it may be a torn end, and behind that a good block that nobody was thanked for: then more
 * is named than was damaged, down to that block. */
static bool is_followed(const struct rot *rot, const struct target *target)
{
    bool last = true;
    for (unsigned i = 0; i < rot->targets; i++) {
        if (rot->target[i].first == target->last)
            return true;
        last = last && rot->target[i].first < target->last;
    }
    return last;
}

/* Now and then a copy of the header, or zeros behind a block. */
static void choose(struct rot *rot, unsigned shard)
{
    const struct target *good[BLOCKS_MAX];
    unsigned goods = 0;
    for (unsigned i = 0; i < rot->targets; i++)
        if (rot->target[i].last <= rot->proven && is_followed(rot, &rot->target[i]))
            good[goods++] = &rot->target[i];
    if (goods == 0)
        return;
    const struct target *target = good[below(goods)];
    uint64_t at = target->at + below(once_in(2) ? target->length : BLOCK_HEADER_BYTES);
    if (once_in(5))
        at = once_in(2) ? below(SEGMENT_ALIGN) : target->at + block_padded(target->length) - 1;
    if (segment_file_open(&rot->file, rot->directory, target->number) != 0)
        return;
    rot->box->damage.shard = shard;
    rot->box->damage.first = target->first;
    rot->box->damage.last = target->last;
    hit(rot, target, at);
    segment_file_close(&rot->file);
}

static void plant_in(struct box *box, int directory, unsigned shard)
{
    static struct rot rot;
    rot.box = box;
    rot.directory = directory;
    rot.numbers = rot.targets = 0;
    rot.proven = 0;
    must(segment_file_init(&rot.file) == 0);
    survey(&rot);
    choose(&rot, shard);
    segment_file_fini(&rot.file);
}

void damage_plant(struct box *box)
{
    char name[NAME_BYTES];
    unsigned shard = (unsigned)below(WORLD_SHARDS_MAX);
    if (box->damage.planted || box->damage.holes == DAMAGE_HOLES_MAX)
        return;
    world.looking = true;
    (void)snprintf(name, sizeof name, "shard-%02u", shard);
    int root = file_open(AT_FDCWD, CHECK_DIRECTORY, O_RDONLY, 0);
    int directory = root < 0 ? root : file_open(root, name, O_RDONLY, 0);
    if (directory >= 0) {
        plant_in(box, directory, shard);
        file_close(directory);
    }
    if (root >= 0)
        file_close(root);
    world.looking = false;
}

/* ── Starts ─────────────────────────────────────────────────────────────────────────────────── */

static bool names_it(const struct damage *damage, const char *text)
{
    char exact[96];
    (void)snprintf(exact, sizeof exact, "events %llu to %llu (%llu) are missing",
                   (unsigned long long)damage->first, (unsigned long long)damage->last - 1,
                   (unsigned long long)(damage->last - damage->first));
    const char *at = strstr(text, exact);
    return at != NULL && strstr(at, "; shard-") == NULL;
}

void damage_refused(struct box *box)
{
    struct damage *damage = &box->damage;
    if (!damage->planted || damage->accepted || !names_it(damage, box->why)) {
        blame("recovery finds damage: %s", box->why);
        return;
    }
    saw(SAW_ROT_REFUSED);
    damage->accepted = true;
}

void damage_started(struct box *box)
{
    struct damage *damage = &box->damage;
    if (!damage->planted)
        return;
    const char *loss = box->seat[damage->shard].recovery.loss;
    if (!damage->accepted)
        blame("events %llu to %llu of shard %u are damaged, and the start does not see it",
              (unsigned long long)damage->first, (unsigned long long)damage->last - 1,
              damage->shard);
    else if (loss[0] != '\0' && !names_it(damage, loss)) /* empty: mended before a crash */
        blame("the loss that was accepted is another one: %s", loss);
    saw(SAW_LOSS_ACCEPTED);
    damage->hole[damage->holes++] =
        (struct hole){.shard = damage->shard, .first = damage->first, .last = damage->last};
    damage->planted = damage->accepted = false;
    ledger_damage_accepted(box->ledger);
}

bool damage_explains(const struct box *box, unsigned shard, uint64_t first, uint64_t last)
{
    const struct damage *damage = &box->damage;
    for (unsigned i = 0; i < damage->holes; i++)
        if (damage->hole[i].shard == shard && first >= damage->hole[i].first &&
            last <= damage->hole[i].last)
            return true;
    return false;
}
