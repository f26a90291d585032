/* Test support. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "support.h"

const char *test_shared(void)
{
    static char path[4096];
    if (path[0])
        return path;
    const char *given = getenv("GRPO_SHARED"), *source = getenv("GRPO_SOURCE_DIR");
    if (given)
        snprintf(path, sizeof path, "%s", given);
    else
        snprintf(path, sizeof path, "%s/../shared", source ? source : ".");
    if (!file_is_folder(path))
        path[0] = 0;
    return path[0] ? path : NULL;
}

const char *test_shared_path(const char *relative)
{
    static char buffers[8][4096];
    static int next;
    const char *shared = test_shared();
    if (!shared) {
        fprintf(stderr, "SKIPPED: ../shared is absent (set GRPO_SHARED); wanted %s\n", relative);
        exit(77);
    }
    char *path = buffers[next++ % 8];
    snprintf(path, sizeof buffers[0], "%s/%s", shared, relative);
    return path;
}

const char *test_binary(void)
{
    const char *binary = getenv("GRPO_BINARY");
    return binary ? binary : "build/grpo";
}

int test_small(void)
{
    const char *size = getenv("GRPO_TEST_SIZE");
    return size && strcmp(size, "small") == 0;
}

const char *test_smollm2(void)
{
    static char path[4096];
    const char *given = getenv("GRPO_SMOLLM2"), *cache = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    if (given)
        return given;
    if (cache)
        snprintf(path, sizeof path, "%s/grpo/SmolLM2-135M-Instruct.Q4_1.gguf", cache);
    else
        snprintf(path, sizeof path, "%s/.cache/grpo/SmolLM2-135M-Instruct.Q4_1.gguf",
                 home ? home : "/root");
    return file_exists(path) ? path : NULL;
}

static char folder[64];

static void remove_folder(void)
{
    file_remove_tree(folder, NULL);
}

const char *test_folder(void)
{
    if (!folder[0]) {
        strcpy(folder, "/tmp/grpo-test-XXXXXX");
        if (!mkdtemp(folder))
            abort();
        atexit(remove_folder);
    }
    return folder;
}
