/* Judges a case's `got` against its `expected` within its `tolerance`. */
#ifndef CLI_ALGO_COMPARE_H
#define CLI_ALGO_COMPARE_H

#include <jansson.h>

#include "base/strbuf.h"

typedef enum algo_verdict {
    ALGO_PASSED,
    ALGO_FAILED,
    ALGO_ACCEPTED /* marked as a quirk, and differs only where the reference has no number */
} algo_verdict;

/* Appends what differs to `why`. */
algo_verdict algo_compare_case(const json_t *test, const json_t *got, strbuf *why);

#endif
