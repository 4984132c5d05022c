/* SPDX-License-Identifier: Apache-2.0 */
/* A header that is read is written back as the same bytes;
 * the mask undoes itself and tells ASCII from the rest. */
#include "ws/frame.h"
#include "ws/utf8.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_mask(const uint8_t *bytes, size_t length, uint32_t mask)
{
    uint8_t *once = malloc(length + 1);
    must(once != NULL);
    memcpy(once, bytes, length);
    bool ascii = frame_unmask(once, length, mask);
    bool high = false;
    for (size_t i = 0; i < length; i++) {
        must(once[i] == (bytes[i] ^ (uint8_t)(mask >> i % 4 * 8)));
        high = high || once[i] >= 0x80;
    }
    must(ascii == !high);
    must(!ascii || utf8_valid(span_of(once, length)));
    size_t cut = length / 3;
    frame_unmask(once, cut, mask);
    frame_unmask(once + cut, length - cut, frame_mask_at(mask, cut));
    must(memcmp(once, bytes, length) == 0);
    free(once);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct frame frame;
    int header = frame_read(bytes, length, &frame);
    must(header <= FRAME_HEADER_MAX && header >= FRAME_BAD_LENGTH && header <= (int)length);
    if (header <= 0)
        return 0;
    uint8_t out[FRAME_HEADER_MAX];
    must(frame_write(&frame, out) == (size_t)header && memcmp(out, bytes, (size_t)header) == 0);
    check_mask(bytes + header, length - (size_t)header, frame.mask);
    return 0;
}
