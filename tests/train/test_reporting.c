/* What a run writes and shows: metrics and sample files, progress lines, charts. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "train/plot.h"
#include "train/progress.h"
#include "support.h"

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

static void check_file(const char *path, const char *wanted)
{
    char *text;
    grpo_error err;
    assert_ok(file_read(&text, NULL, path, 1 << 20, &err), err);
    assert_string_equal(text, wanted);
    mem_free(text);
}

static void write_step(metrics_file *f, long step, double reward)
{
    train_metrics m;
    grpo_error err;
    metrics_init(&m);
    m.step = (double)step;
    m.reward = reward;
    json_t *line = metrics_to_json(&m, NULL);
    assert_ok(metrics_file_write(f, line, &err), err);
    json_decref(line);
}

static void test_metrics_json(void **state)
{
    (void)state;
    train_metrics m, again;
    metrics_init(&m);
    m.step = 3;
    m.reward = 0.1;
    m.ratio_max = INFINITY;
    m.num_tokens = 1e10;
    json_t *extra = json_pack("{s:f}", "reward/math", 0.5), *object = metrics_to_json(&m, extra);
    char *text = json_text(object);
    assert_string_equal(text, "{\"step\":3,\"reward\":0.10000000000000001,\"ratio_max\":\"Infinity\",\"num_tokens\":10000000000,"
                              "\"reward/math\":0.5}");
    metrics_from_json(&again, object);
    assert_true(again.step == 3 && again.reward == 0.1 && isinf(again.ratio_max) && isnan(again.loss));
    for (const metrics_name *n = metrics_names; n->key; n++)
        assert_true(isnan(metrics_get(&m, n)) == isnan(metrics_get(&again, n)));
    mem_free(text);
    json_decref(extra);
    json_decref(object);
}

/* After a crash in step 5 with a checkpoint of step 2, the file goes on as if nothing had happened. */
static void test_resume_of_files(void **state)
{
    (void)state;
    const char *path = path_of("metrics.jsonl");
    metrics_file f;
    grpo_error err;
    assert_ok(metrics_file_open(&f, path, -1, &err), err);
    for (long s = 1; s <= 4; s++)
        write_step(&f, s, (double)s / 4);
    metrics_file_close(&f);
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "{\"step\":5,\"rew", 14), 14);
    close(fd);
    train_metrics *steps;
    size_t count;
    assert_ok(metrics_file_read(&steps, &count, path, &err), err);
    assert_int_equal(count, 4);
    assert_true(steps[3].step == 4 && steps[3].reward == 1);
    mem_free(steps);
    assert_ok(metrics_file_open(&f, path, 2, &err), err);
    write_step(&f, 3, 0.75);
    metrics_file_close(&f);
    check_file(path, "{\"step\":1,\"reward\":0.25}\n{\"step\":2,\"reward\":0.5}\n{\"step\":3,\"reward\":0.75}\n");
    assert_ok(metrics_file_open(&f, path, -1, &err), err); /* a new run begins anew */
    metrics_file_close(&f);
    check_file(path, "");
    assert_ok(metrics_file_open(&f, path_of("absent.jsonl"), 7, &err), err);
    metrics_file_close(&f);
    assert_int_equal(metrics_file_open(&f, "/nonexistent/x.jsonl", -1, &err), GRPO_ERR_IO);
    if (access("/dev/full", W_OK) == 0) {
        assert_ok(metrics_file_open(&f, "/dev/full", -1, &err), err);
        json_t *line = json_object();
        assert_int_equal(metrics_file_write(&f, line, &err), GRPO_ERR_IO);
        assert_non_null(strstr(err.message, "free some space"));
        json_decref(line);
        metrics_file_close(&f);
    }
}

/* ---- progress --------------------------------------------------------------------------------------- */

typedef struct screen {
    char lines[20][300];
    int count, passing;
} screen;

static void show(void *context, const char *text, bool passing)
{
    screen *s = context;
    s->passing += passing;
    snprintf(s->lines[s->count++ % 20], sizeof s->lines[0], "%s", text);
}

static train_metrics at_step(long step, double seconds)
{
    train_metrics m;
    metrics_init(&m);
    m.step = (double)step;
    m.time_step = seconds;
    return m;
}

static void test_progress(void **state)
{
    (void)state;
    screen s = {0};
    progress p;
    progress_init(&p, show, &s, false, 1, 100);
    assert_true(isnan(progress_seconds_left(&p)));
    train_metrics m = at_step(1, 10);
    m.reward = 0.5;
    m.accuracy = 0.25;
    m.completion_length = 41.25;
    m.frac_truncated = 0;
    m.kl = 0;
    m.tokens_per_second = 812.4;
    progress_step(&p, &m, 100);
    assert_string_equal(s.lines[0], "step   1/100  reward 0.500  accuracy  25.0%  length 41.2  812 tokens/s  10.0 s  left 16 min 30 s");
    m = at_step(2, 10);
    progress_step(&p, &m, 100.4); /* fast steps: not every one is shown */
    assert_int_equal(s.count, 1);
    m = at_step(3, 10);
    progress_step(&p, &m, 101.5);
    assert_int_equal(s.count, 2);
    progress_phase(&p, "sampling", 3, 64, 200); /* nothing that passes goes into a pipe */
    assert_int_equal(s.count, 2);
    m = at_step(100, 10);
    progress_step(&p, &m, 101.6); /* the last one always */
    assert_int_equal(s.count, 3);
    progress_init(&p, show, &s, true, 4, 10);
    progress_phase(&p, "sampling", 3, 64, 0);
    progress_phase(&p, "sampling", 4, 64, 0.1);
    progress_phase(&p, "sampling", 9, 64, 0.3);
    assert_int_equal(s.passing, 2);
    assert_string_equal(s.lines[3], "step 4/10  sampling 3 of 64");
    /* time left follows the recent steps */
    for (long i = 4; i <= 9; i++) {
        m = at_step(i, i < 7 ? 30 : 10);
        progress_step(&p, &m, (double)i * 50);
    }
    assert_in_range((int)progress_seconds_left(&p), 19, 21);
    m = at_step(10, 10);
    progress_step(&p, &m, 500);
    progress_phase(&p, "writing a checkpoint", 0, 0, 501); /* nothing is counted, and no step follows */
    assert_string_equal(s.lines[(s.count - 1) % 20], "step 10/10  writing a checkpoint");
}

/* ---- charts ------------------------------------------------------------------------------------------- */

static void test_ticks(void **state)
{
    (void)state;
    static const struct {
        double low, high, first, step;
    } cases[] = {{0, 1, 0, 0.2}, {0.13, 0.94, 0.2, 0.2}, {0, 120, 0, 25}, {-3, 7, -2, 2}, {1e-6, 9e-6, 2e-6, 2e-6}, {990, 1010, 990, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double first, step;
        plot_ticks(cases[i].low, cases[i].high, 5, &first, &step);
        if (fabs(first - cases[i].first) > 1e-9 * step || fabs(step - cases[i].step) > 1e-9 * step)
            fail_msg("%g to %g: ticks from %g by %g, wanted %g by %g", cases[i].low, cases[i].high, first, step, cases[i].first,
                     cases[i].step);
    }
}

static int occurrences(const char *text, const char *part)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, part)); p += strlen(part))
        n++;
    return n;
}

/* Every coordinate inside the picture, nothing that is not a number. */
static void check_svg(const char *svg)
{
    int width, height;
    assert_int_equal(sscanf(strstr(svg, "width="), "width=\"%d\" height=\"%d\"", &width, &height), 2);
    for (const char *p = svg; (p = strstr(p, "points=\"")); ) {
        p += 8;
        double x, y;
        int n;
        while (sscanf(p, "%lf,%lf%n", &x, &y, &n) == 2) {
            assert_true(x >= 0 && x <= width && y >= 0 && y <= height);
            p += n + (p[n] == ' ');
        }
        assert_int_equal(*p, '"');
    }
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    assert_non_null(strstr(svg, "</svg>"));
    assert_non_null(strstr(svg, "prefers-color-scheme:dark"));
}

static void test_plot_of_a_run(void **state)
{
    (void)state;
    enum { N = 3000 };
    train_metrics *steps = mem_calloc(N, sizeof *steps);
    for (int i = 0; i < N; i++) {
        metrics_init(&steps[i]);
        steps[i].step = i + 1;
        steps[i].reward = sin(i * 0.01) + 0.1 * cos(i * 37.0);
        steps[i].accuracy = 0.5;
        steps[i].grad_norm = i == 7 ? INFINITY : 1e-9 * i;
        if (i % 500 == 0)
            steps[i].eval_accuracy = i / 3000.0;
    }
    grpo_error err;
    strbuf svg = STRBUF_INIT;
    assert_ok(plot_run(&svg, "a <run> & more", steps, N, &err), err);
    check_svg(strbuf_text(&svg));
    assert_non_null(strstr(strbuf_text(&svg), "a &lt;run> &amp; more"));
    assert_int_equal(occurrences(strbuf_text(&svg), "class=\"name\""), 3); /* panels without values are left out */
    assert_int_equal(occurrences(strbuf_text(&svg), "<circle class=\"dot"), 6);
    assert_in_range(svg.length, 1000, 120000); /* long runs are thinned */
    strbuf_clear(&svg);
    assert_ok(plot_run(&svg, "one step", steps, 1, &err), err);
    check_svg(strbuf_text(&svg));
    strbuf_clear(&svg);
    assert_ok(plot_run(&svg, "empty", steps, 0, &err), err);
    assert_non_null(strstr(strbuf_text(&svg), "nothing was measured"));
    strbuf_deinit(&svg);
    mem_free(steps);
}

static void test_plot_of_a_folder(void **state)
{
    (void)state;
    metrics_file f;
    grpo_error err;
    assert_ok(metrics_file_open(&f, path_of("metrics.jsonl"), -1, &err), err);
    for (long s = 1; s <= 30; s++)
        write_step(&f, s, (double)s);
    metrics_file_close(&f);
    assert_ok(plot_run_folder(test_folder(), &err), err);
    char *svg;
    assert_ok(file_read(&svg, NULL, path_of("plot.svg"), 1 << 20, &err), err);
    check_svg(svg);
    mem_free(svg);
    assert_int_equal(plot_run_folder("/nonexistent", &err), GRPO_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_json),  cmocka_unit_test(test_resume_of_files), cmocka_unit_test(test_progress),     cmocka_unit_test(test_ticks),           cmocka_unit_test(test_plot_of_a_run),
        cmocka_unit_test(test_plot_of_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
