/* base/: random numbers, memory, strings, files, thread pool. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/strbuf.h"
#include "support.h"

/* Known answers published with the Random123 library (kat_vectors, philox4x32 10). */
static void philox_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        rng_philox4x32(out, cases[i].counter, cases[i].key);
        assert_memory_equal(out, cases[i].expected, sizeof out);
    }
}

static void arena_overflow_is_refused(void **state)
{
    (void)state;
    grpo_error err;
    mem_arena arena;
    assert_ok(mem_arena_init(&arena, 1 << 20, "test", &err), err);
    assert_null(mem_arena_alloc(&arena, SIZE_MAX / 2, 8));
    unsigned char *p = mem_arena_alloc(&arena, 100000, 1);
    assert_non_null(p);
    mem_arena_deinit(&arena);
}

static void allocation_failure_is_reported(void **state)
{
    (void)state;
    strbuf s = STRBUF_INIT;
    mem_fail_after(1);
    strbuf_puts(&s, "text");
    mem_fail_after(0);
    assert_int_equal(s.failed, 1);
    assert_null(strbuf_detach(&s));
}

static void a_prefix_keeps_the_status(void **state)
{
    (void)state;
    grpo_error err;
    grpo_status status = grpo_fail(&err, GRPO_ERR_FORMAT, "line %d", 3);
    assert_int_equal(grpo_error_prefix(&err, status, "file %s", "a"), GRPO_ERR_FORMAT);
    assert_string_equal(err.message, "file a: line 3");
    assert_int_equal(grpo_error_prefix(&err, GRPO_OK, "never"), GRPO_OK);
    assert_string_equal(err.message, "file a: line 3");
    assert_int_equal(grpo_error_prefix(NULL, grpo_fail(NULL, GRPO_ERR_MEMORY, "x"), "y"), GRPO_ERR_MEMORY);
}

static void atomic_write_keeps_the_old_file(void **state)
{
    (void)state;
    grpo_error err;
    char path[256];
    snprintf(path, sizeof path, "%s/a/b/file", test_folder());
    assert_int_equal(file_write_all(path, "x", 1, &err), GRPO_ERR_IO);
    char folder[256];
    snprintf(folder, sizeof folder, "%s/a/b", test_folder());
    assert_ok(file_make_folder(folder, &err), err);
    assert_ok(file_write_all(path, "old", 3, &err), err);
    file_writer w;
    assert_ok(file_create(&w, path, &err), err);
    file_write(&w, "half", 4);
    file_abandon(&w);
    char *text;
    assert_ok(file_read(&text, NULL, path, 100, &err), err);
    assert_string_equal(text, "old");
    mem_free(text);
    assert_int_equal(file_read(&text, NULL, path, 2, &err), GRPO_ERR_FORMAT);
}

/* A stream of the text, its bytes read line by line. */
static file_lines lines_of(const char *name, const char *text, size_t n)
{
    static char path[256];
    grpo_error err;
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    assert_ok(file_write_all(path, text, n, &err), err);
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    return (file_lines){.stream = stream, .name = name};
}

static void close_lines(file_lines *lines)
{
    fclose(lines->stream);
    file_lines_deinit(lines);
}

static void lines_are_read_without_their_ends(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf" "one\r\n\nth\0ee\n\xef\xbb\xbf" "4";
    static const struct {
        const char *text;
        size_t length;
    } expected[] = {{"one", 3}, {"", 0}, {"th\0ee", 5}, {"\xef\xbb\xbf" "4", 4}};
    grpo_error err;
    file_lines lines = lines_of("lines", text, sizeof text - 1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(file_next_line(&lines, &err), 1);
        assert_int_equal(lines.number, i + 1);
        assert_int_equal(lines.length, expected[i].length);
        assert_memory_equal(lines.line, expected[i].text, lines.length + 1);
    }
    assert_int_equal(file_next_line(&lines, &err), 0);
    close_lines(&lines);
}

/* The limit bounds the memory too: a line is not taken whole to find that it is too long. */
static void a_line_over_the_limit_takes_no_memory(void **state)
{
    (void)state;
    enum { LENGTH = 1 << 20 };
    grpo_error err;
    char *text = mem_calloc(LENGTH, 1);
    memset(text, 'x', LENGTH);
    memcpy(text, "short\n", 6);
    file_lines lines = lines_of("long", text, LENGTH);
    lines.limit = 100;
    assert_int_equal(file_next_line(&lines, &err), 1);
    assert_int_equal(file_next_line(&lines, &err), -1);
    assert_int_equal(err.status, GRPO_ERR_FORMAT);
    assert_non_null(strstr(err.message, "long line 2 is over the limit of 100 bytes"));
    assert_true(lines.capacity < 1000);
    close_lines(&lines);
    mem_free(text);
}

static void a_line_without_memory_is_no_end(void **state)
{
    (void)state;
    grpo_error err;
    char text[5000];
    memset(text, 'x', sizeof text);
    file_lines lines = lines_of("memory", text, sizeof text);
    for (long n = 1, got = -1; got < 0; n++) {
        mem_fail_after(n);
        got = file_next_line(&lines, &err);
        mem_fail_after(0);
        assert_true(got == 1 || (got == -1 && err.status == GRPO_ERR_MEMORY));
        assert_true(got == -1 || n > 3);
        rewind(lines.stream);
    }
    close_lines(&lines);
}

static void count_items(void *context, int begin, int end, int thread)
{
    (void)thread;
    int *seen = context;
    for (int i = begin; i < end; i++)
        seen[i]++;
}

static void pool_covers_every_item_once(void **state)
{
    (void)state;
    grpo_error err;
    for (int threads = 1; threads <= 5; threads++) {
        pool *p;
        assert_ok(pool_create(&p, threads, &err), err);
        assert_int_equal(pool_threads(p), threads);
        for (int round = 0; round < (threads <= pool_cores() ? 2000 : 50); round++) {
            int seen[97] = {0};
            pool_run(p, 97, 1 + round % 13, count_items, seen);
            for (int i = 0; i < 97; i++)
                assert_int_equal(seen[i], 1);
            if (round % 500 == 0)
                usleep(3000); /* let the workers fall asleep */
        }
        pool_destroy(p);
    }
}

static void pool_scratch_belongs_to_one_thread(void **state)
{
    (void)state;
    grpo_error err;
    pool *p;
    assert_ok(pool_create(&p, 3, &err), err);
    for (int t = 0; t < 3; t++)
        memset(pool_scratch(p, t), t + 1, POOL_SCRATCH);
    for (int t = 0; t < 3; t++) {
        const unsigned char *scratch = pool_scratch(p, t);
        assert_int_equal((uintptr_t)scratch % 64, 0);
        assert_int_equal(scratch[0], t + 1);
        assert_int_equal(scratch[POOL_SCRATCH - 1], t + 1);
    }
    assert_null(pool_scratch(NULL, 0));
    pool_destroy(p);
}

static size_t pages_present(unsigned char *base, size_t bytes, size_t page)
{
    unsigned char *present = mem_calloc(bytes / page, 1);
    size_t n = 0;
    assert_non_null(present);
    assert_int_equal(mincore(base, bytes, present), 0);
    for (size_t i = 0; i < bytes / page; i++)
        n += present[i] & 1;
    mem_free(present);
    return n;
}

static void pool_commit_takes_every_page_and_keeps_contents(void **state)
{
    (void)state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    grpo_error err;
    for (int threads = 0; threads <= 3; threads++) {
        pool *p = NULL;
        mem_arena arena;
        if (threads)
            assert_ok(pool_create(&p, threads, &err), err);
        assert_ok(mem_arena_init(&arena, (size_t)22 << 20, "test", &err), err);
        arena.base[0] = 7;
        arena.base[arena.capacity - 1] = 9;
        assert_true(pages_present(arena.base, arena.capacity, page) < arena.capacity / page);
        pool_commit(p, &arena);
        assert_int_equal(pages_present(arena.base, arena.capacity, page), arena.capacity / page);
        assert_int_equal(arena.base[0], 7);
        assert_int_equal(arena.base[1], 0);
        assert_int_equal(arena.base[arena.capacity - 1], 9);
        mem_arena_deinit(&arena);
        pool_commit(p, &arena); /* nothing to take */
        pool_destroy(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(arena_overflow_is_refused),
        cmocka_unit_test(allocation_failure_is_reported),
        cmocka_unit_test(a_prefix_keeps_the_status),
        cmocka_unit_test(atomic_write_keeps_the_old_file),
        cmocka_unit_test(lines_are_read_without_their_ends),
        cmocka_unit_test(a_line_over_the_limit_takes_no_memory),
        cmocka_unit_test(a_line_without_memory_is_no_end),
        cmocka_unit_test(pool_covers_every_item_once),
        cmocka_unit_test(pool_scratch_belongs_to_one_thread),
        cmocka_unit_test(pool_commit_takes_every_page_and_keeps_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
