/* The metrics table and its JSON lines. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "train/metrics.h"

const metrics_name metrics_names[] = {
#define X(name, trl, verl, meaning) {#name, trl, verl, meaning, offsetof(train_metrics, name)},
    TRAIN_METRICS_TABLE(X)
#undef X
    {0},
};

static double *field(train_metrics *m, const metrics_name *name)
{
    return (double *)((char *)m + name->offset);
}

double metrics_get(const train_metrics *m, const metrics_name *name)
{
    return *field((train_metrics *)m, name);
}

void metrics_init(train_metrics *m)
{
    for (const metrics_name *n = metrics_names; n->key; n++)
        *field(m, n) = NAN;
}

void metrics_mean(double *mean, double x, double weight, double so_far)
{
    *mean = so_far > 0 ? *mean + (x - *mean) * (weight / (so_far + weight)) : x;
}

json_t *metrics_to_json(const train_metrics *m, const json_t *extra)
{
    json_t *object = json_object();
    int failed = !object;
    for (const metrics_name *n = metrics_names; !failed && n->key; n++) {
        double x = metrics_get(m, n);
        if (isnan(x))
            continue;
        int whole = x == floor(x) && fabs(x) < 9007199254740992.0;
        failed = json_object_set_new(object, n->key, whole ? json_integer((json_int_t)x) : json_double(x));
    }
    if (!failed && extra)
        failed = json_object_update(object, (json_t *)extra);
    if (failed) {
        json_decref(object);
        return NULL;
    }
    return object;
}

void metrics_from_json(train_metrics *m, const json_t *object)
{
    metrics_init(m);
    for (const metrics_name *n = metrics_names; n->key; n++) {
        const json_t *value = json_object_get(object, n->key);
        if (json_is_number(value))
            *field(m, n) = json_number_value(value);
        else if (json_is_string(value)) /* JSON has no infinity: json_double */
            *field(m, n) = strcmp(json_string_value(value), "Infinity") == 0    ? INFINITY
                           : strcmp(json_string_value(value), "-Infinity") == 0 ? -INFINITY
                                                                                : NAN;
    }
}

/* ---- files ---------------------------------------------------------------------------------------- */

/* Whether a line belongs to a run that goes on after last_step. */
static int line_stays(const char *line, size_t length, long last_step)
{
    json_t *object = json_loadb(line, length, 0, NULL);
    const json_t *step = json_object_get(object, "step");
    int stays = json_is_number(step) && json_number_value(step) <= (double)last_step;
    json_decref(object);
    return stays;
}

/* Rewrites `path` with the lines that stay; the old file is whole until the new one is. */
static grpo_status keep_lines(const char *path, long last_step, grpo_error *err)
{
    FILE *stream = fopen(path, "rbe");
    if (!stream)
        return errno == ENOENT ? GRPO_OK : grpo_fail(err, GRPO_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    file_writer out;
    grpo_status status = file_create(&out, path, err);
    if (status != GRPO_OK) {
        fclose(stream);
        return status;
    }
    file_lines lines = {.stream = stream, .name = path, .limit = (size_t)1 << 30};
    int got;
    while ((got = file_next_line(&lines, err)) > 0)
        if (line_stays(lines.line, lines.length, last_step)) {
            file_write(&out, lines.line, lines.length);
            file_write(&out, "\n", 1);
        }
    file_lines_deinit(&lines);
    fclose(stream);
    if (got < 0) {
        file_abandon(&out);
        return GRPO_ERR_IO;
    }
    return file_commit(&out, err);
}

grpo_status metrics_file_open(metrics_file *f, const char *path, long last_step, grpo_error *err)
{
    *f = (metrics_file){.fd = -1};
    if (last_step >= 0) {
        grpo_status status = keep_lines(path, last_step, err);
        if (status != GRPO_OK)
            return status;
    }
    f->path = mem_strdup(path);
    if (!f->path)
        return mem_fail(err, path, 0);
    f->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (last_step < 0 ? O_TRUNC : 0), 0666);
    if (f->fd >= 0)
        return GRPO_OK;
    grpo_fail(err, GRPO_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    metrics_file_close(f);
    return GRPO_ERR_IO;
}

grpo_status metrics_file_write(metrics_file *f, const json_t *object, grpo_error *err)
{
    char *text = object ? json_text(object) : NULL;
    if (!text)
        return mem_fail(err, f->path, 0);
    size_t n = strlen(text), done = 0;
    text[n++] = '\n'; /* in the place of the NUL */
    while (done < n) {
        ssize_t wrote = write(f->fd, text + done, n - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0) {
            mem_free(text);
            return grpo_fail(err, GRPO_ERR_IO, "cannot write %s: %s%s", f->path, strerror(errno),
                             errno == ENOSPC ? " (free some space and go on with --resume)" : "");
        }
        done += (size_t)wrote;
    }
    mem_free(text);
    return GRPO_OK;
}

void metrics_file_close(metrics_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    mem_free(f->path);
    *f = (metrics_file){.fd = -1};
}

grpo_status metrics_file_read(train_metrics **steps, size_t *count, const char *path, grpo_error *err)
{
    size_t capacity = 0;
    *steps = NULL;
    *count = 0;
    FILE *stream = fopen(path, "rbe");
    if (!stream)
        return grpo_fail(err, GRPO_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    file_lines lines = {.stream = stream, .name = path};
    grpo_status status = GRPO_OK;
    int got;
    while (status == GRPO_OK && (got = file_next_line(&lines, err)) != 0) {
        json_t *object = got > 0 ? json_loadb(lines.line, lines.length, 0, NULL) : NULL;
        if (got < 0)
            status = GRPO_ERR_IO;
        else if (object && mem_reserve((void **)steps, &capacity, *count + 1, sizeof **steps) != 0)
            status = mem_fail(err, path, *count * sizeof **steps);
        else if (object) /* a last line that is being written is passed over */
            metrics_from_json(&(*steps)[(*count)++], object);
        json_decref(object);
    }
    file_lines_deinit(&lines);
    fclose(stream);
    if (status != GRPO_OK) {
        mem_free(*steps);
        *steps = NULL;
        *count = 0;
    }
    return status;
}

/* ---- reference ---------------------------------------------------------------------------------------- */

static void put_name(strbuf *out, const char *name)
{
    if (name)
        strbuf_printf(out, "`%s`", name);
    strbuf_puts(out, " | ");
}

void metrics_put_reference(strbuf *out)
{
    strbuf_puts(out, "# Metrics\n\n"
                     "Made by `grpo config --metrics` from the table in `src/train/metrics.h`; a test compares.\n\n"
                     "`metrics.jsonl` in the run folder has one line a step with these keys; what was not measured is left "
                     "out, `kl` and `reward/NAME` are null then. Each reward's own mean stands under `reward/NAME`, what was "
                     "diagnosed under `diagnoses` ([diagnoses.md](diagnoses.md)).\n\n"
                     "| key | meaning | in TRL | in verl |\n| --- | --- | --- | --- |\n");
    for (const metrics_name *n = metrics_names; n->key; n++) {
        strbuf_printf(out, "| `%s` | %s | ", n->key, n->meaning);
        put_name(out, n->trl);
        put_name(out, n->verl);
        out->data[--out->length] = 0; /* the last space */
        strbuf_putc(out, '\n');
    }
}
