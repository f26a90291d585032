/* Hand-written scanners for the pre-tokenizer expressions that nearly all models use. Each does
 * exactly what its regular expression does, an order of magnitude faster, in one pass without
 * backtracking, so that no text can make it slow. */
#ifndef TEXT_SCAN_H
#define TEXT_SCAN_H

#include <stddef.h>

typedef enum scan_kind {
    SCAN_NONE,
    SCAN_GPT2,
    SCAN_LLAMA3, /* three digits at most; also GPT-4, SmolLM3, OLMo 2 */
    SCAN_QWEN2,  /* one digit */
    SCAN_QWEN35, /* as QWEN2, with marks counted among the letters */
    SCAN_KINDS
} scan_kind;

/* The expression of a scanner, as tokenizer.json files spell it. */
const char *scan_expression(scan_kind kind);

/* The scanner that stands for this expression, SCAN_NONE when there is none. */
scan_kind scan_find(const char *expression, size_t length);

/* The end of the piece that starts at text + at (at < length; valid UTF-8; unicode_init called). The
 * pieces tile the text. */
size_t scan_piece(scan_kind kind, const char *text, size_t length, size_t at);

#endif
