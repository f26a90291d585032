/* The scratch folder of fuzz targets that read files. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "scratch.h"

static char folder[64];

static void remove_folder(void)
{
    file_remove_tree(folder, NULL);
}

const char *scratch_path(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/grpo-fuzz-XXXXXX", file_is_folder("/dev/shm") ? "/dev/shm" : "/tmp");
        if (!mkdtemp(folder))
            abort();
        atexit(remove_folder);
    }
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s%s%s", folder, name && name[0] ? "/" : "", name ? name : "");
    return path;
}

void scratch_write(const char *name, const void *bytes, size_t size)
{
    FILE *f = fopen(scratch_path(name), "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0)
        abort();
}

size_t scratch_cut(const uint8_t *data, size_t size, const uint8_t **rest, size_t *rest_size)
{
    static const char separator[] = "=====\n";
    const size_t n = sizeof separator - 1;
    const uint8_t *at = size ? memmem(data, size, separator, n) : NULL;
    *rest = at ? at + n : NULL;
    *rest_size = at ? size - (size_t)(at + n - data) : 0;
    return at ? (size_t)(at - data) : size;
}

void scratch_split(const char *const *names, size_t count, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *rest = NULL;
        size_t rest_size = 0, n = size;
        if (!data) {
            unlink(scratch_path(names[i]));
            continue;
        }
        if (i + 1 < count)
            n = scratch_cut(data, size, &rest, &rest_size);
        scratch_write(names[i], data, n);
        data = rest;
        size = rest_size;
    }
}
