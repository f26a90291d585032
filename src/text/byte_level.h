/* The printable characters that byte-level tokenizers write bytes as (GPT-2's bytes_to_unicode):
 * bytes 21-7E, A1-AC and AE-FF stand for themselves, the other 68 become U+0100, U+0101, … in order. */
#ifndef TEXT_BYTE_LEVEL_H
#define TEXT_BYTE_LEVEL_H

#include "base/strbuf.h"

/* Appends the characters of the bytes. */
void byte_level_encode(strbuf *out, const char *bytes, size_t length);

/* Appends the bytes that a token's characters stand for and returns 1; appends nothing and returns 0
 * when one of its characters stands for none. `text` is valid UTF-8. */
int byte_level_decode(strbuf *out, const char *text, size_t length);

#endif
