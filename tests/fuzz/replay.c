/* Runs a fuzz target over a folder of files without libFuzzer: each file as it is, cut at many
 * lengths, and with single bytes changed. The inputs are copied to allocations of their exact size, so
 * that a sanitizer sees every read past them. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "fuzz.h"

enum { CUTS = 64, CHANGES = 200 };

static void run(const char *bytes, size_t size)
{
    uint8_t *exact = mem_dup(bytes, size);
    if (exact)
        LLVMFuzzerTestOneInput(exact, size);
    mem_free(exact);
}

static void run_variants(char *bytes, size_t size)
{
    static const unsigned char odd[] = {0, 1, 0x7F, 0x80, 0xFF, '"', '[', '{'};
    uint64_t index = 0;
    run(bytes, size);
    for (size_t i = 0; i < CUTS; i++)
        run(bytes, size <= CUTS ? (i < size ? i : 0) : (size_t)rng_below(1, 1, &index, size));
    for (size_t i = 0; i < CHANGES && size > 0; i++) {
        size_t at = (size_t)rng_below(1, 2, &index, size);
        char old = bytes[at];
        bytes[at] = (char)odd[rng_below(1, 3, &index, sizeof odd)];
        run(bytes, size);
        bytes[at] = old;
    }
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    struct dirent *entry;
    int files = 0;
    if (!folder) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    while ((entry = readdir(folder))) {
        char path[4096], *bytes;
        size_t size;
        grpo_error err;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (entry->d_name[0] == '.' || file_read(&bytes, &size, path, 16 << 20, &err) != GRPO_OK)
            continue;
        run_variants(bytes, size);
        mem_free(bytes);
        files++;
    }
    closedir(folder);
    printf("%d files\n", files);
    return files ? 0 : 1;
}
