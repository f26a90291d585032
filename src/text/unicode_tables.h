/* The generated tables (scripts/make-unicode-tables.py); unicode.h is what the rest includes. */
#ifndef TEXT_UNICODE_TABLES_H
#define TEXT_UNICODE_TABLES_H

#include <stddef.h>
#include <stdint.h>

/* Runs of equal properties, each (first code point << 8) + properties as in unicode.h. */
extern const uint32_t unicode_runs[];
extern const size_t unicode_runs_count;
/* Sorted inclusive ranges. unicode_recent: assigned by Unicode 16.0 but not by 14.0. */
extern const uint32_t unicode_recent[][2], unicode_inert[][2], unicode_punctuation[][2],
    unicode_accents[][2];
extern const size_t unicode_recent_count, unicode_inert_count, unicode_punctuation_count,
    unicode_accents_count;
/* first, last, step, difference to the lower-case character. */
extern const int32_t unicode_lower[][4];
extern const size_t unicode_lower_count;

#endif
