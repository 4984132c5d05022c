/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The distance of two words is the least number of letters to insert,
 * drop, change, or swap with their neighbour (Damerau and Levenshtein's,
 * each place edited once). The table of distances between all beginnings of the two
 * is filled row by row; three rows are kept, since a swap looks two back.
 */
#include "core/nearest.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

enum { WORD_MAX = 64 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    unsigned rows[3][WORD_MAX + 1];
    for (unsigned j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a_length; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b_length; j++) {
            row[j] = least(above[j], row[j - 1]) + 1;
            row[j] = least(row[j], above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[a_length % 3][b_length];
}

void nearest_offer(struct nearest *nearest, const char *candidate)
{
    size_t length = strlen(nearest->word), candidate_length = strlen(candidate);
    if (length == 0 || length > WORD_MAX || candidate_length > WORD_MAX)
        return;
    unsigned found = strcasecmp(nearest->word, candidate) == 0
                         ? 0
                         : distance(nearest->word, length, candidate, candidate_length);
    /* Further than a third of the letters it is another word, not a slip. */
    if (found > (length + 2) / 3 || (nearest->best != NULL && found >= nearest->distance))
        return;
    nearest->best = candidate;
    nearest->distance = found;
}
