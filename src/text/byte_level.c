/* Bytes as printable characters. */
#include "text/byte_level.h"
#include "text/unicode.h"

static int stands_for_itself(unsigned b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

/* The other bytes in order: 00-20, 7F-A0, AD. */
static unsigned other_index(unsigned b)
{
    return b <= 0x20 ? b : b <= 0xA0 ? b - 0x7F + 0x21 : 0x43;
}

static int byte_of(unsigned c)
{
    if (c < 0x100)
        return stands_for_itself(c) ? (int)c : -1;
    if (c > 0x143)
        return -1;
    unsigned i = c - 0x100;
    return i <= 0x20 ? (int)i : i < 0x43 ? (int)(i - 0x21 + 0x7F) : 0xAD;
}

void byte_level_encode(strbuf *out, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned b = (unsigned char)bytes[i];
        strbuf_put_utf8(out, stands_for_itself(b) ? b : 0x100 + other_index(b));
    }
}

int byte_level_decode(strbuf *out, const char *text, size_t length)
{
    size_t start = out->length;
    for (size_t i = 0, size; i < length; i += size) {
        int b = byte_of(utf8_decode(text + i, &size));
        if (b < 0) {
            if (out->data)
                out->data[out->length = start] = 0;
            return 0;
        }
        strbuf_putc(out, (char)b);
    }
    return 1;
}
