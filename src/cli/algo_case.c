/* Reading a case's arrays and params, and building its result. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/algo_case.h"

int case_failed(const algo_case *c)
{
    return c->status != GRPO_OK;
}

static void fail(algo_case *c, grpo_status status, const char *format, va_list args)
{
    if (case_failed(c))
        return;
    char text[800];
    vsnprintf(text, sizeof text, format, args);
    c->status = grpo_fail(&c->err, status, "%s", text);
}

void case_malformed(algo_case *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    c->malformed |= !case_failed(c);
    fail(c, GRPO_ERR_FORMAT, format, args);
    va_end(args);
}

void case_refuse(algo_case *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(c, GRPO_ERR_CONFIG, format, args);
    va_end(args);
}

/* ---- memory ----------------------------------------------------------------------------- */

void *case_bytes(algo_case *c, size_t bytes)
{
    if (case_failed(c))
        return NULL;
    void *p = mem_calloc(bytes, 1);
    if (!p || mem_reserve((void **)&c->owned, &c->owned_capacity, c->owned_count + 1,
                          sizeof *c->owned)) {
        mem_free(p);
        c->status = mem_fail(&c->err, "a case's arrays", bytes);
        return NULL;
    }
    return c->owned[c->owned_count++] = p;
}

double *case_doubles(algo_case *c, size_t count)
{
    return case_bytes(c, count * sizeof(double));
}

void algo_case_deinit(algo_case *c)
{
    for (size_t i = 0; i < c->owned_count; i++)
        mem_free(c->owned[i]);
    mem_free(c->owned);
    c->owned = NULL;
    c->owned_count = c->owned_capacity = 0;
}

/* ---- numbers ---------------------------------------------------------------------------- */

/* A number, true/false, or "NaN", "Infinity", "-Infinity". */
static int read_number(const json_t *value, double *x)
{
    static const struct {
        const char *name;
        double value;
    } special[] = {{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
    if (json_is_number(value) || json_is_boolean(value)) {
        *x = json_is_number(value) ? json_number_value(value) : json_is_true(value);
        return 1;
    }
    for (size_t i = 0; json_is_string(value) && i < sizeof special / sizeof *special; i++)
        if (strcmp(json_string_value(value), special[i].name) == 0) {
            *x = special[i].value;
            return 1;
        }
    return 0;
}

static json_t *make_number(double x)
{
    if (isnan(x))
        return json_string("NaN");
    if (isinf(x))
        return json_string(x > 0 ? "Infinity" : "-Infinity");
    return json_real(x);
}

/* ---- inputs ----------------------------------------------------------------------------- */

int case_has(const algo_case *c, const char *input)
{
    json_t *value = json_object_get(c->inputs, input);
    return value && !json_is_null(value);
}

/* Lengths of the first row, of its first entry and so on: the rest must agree. */
static int measure(algo_case *c, const char *name, const json_t *value, int rank, size_t *shape)
{
    for (int i = 0; i < rank; i++) {
        if (!json_is_array(value)) {
            case_malformed(c, "inputs.%s must be an array of rank %d", name, rank);
            return 0;
        }
        shape[i] = json_array_size(value);
        value = json_array_get(value, 0);
        if (!value) { /* an empty array has no further lengths */
            for (int k = i + 1; k < rank; k++)
                shape[k] = 0;
            return 1;
        }
    }
    return 1;
}

static double *copy_level(algo_case *c, const char *name, const json_t *value, int rank,
                          const size_t *shape, double *out)
{
    if (rank == 0) {
        if (!read_number(value, out))
            case_malformed(c, "inputs.%s holds something that is not a number", name);
        return out + 1;
    }
    if (!json_is_array(value) || json_array_size(value) != shape[0]) {
        case_malformed(c, "inputs.%s is ragged: every row must have %zu entries", name, shape[0]);
        return out;
    }
    for (size_t i = 0; i < shape[0] && !case_failed(c); i++)
        out = copy_level(c, name, json_array_get(value, i), rank - 1, shape + 1, out);
    return out;
}

matrix case_optional(algo_case *c, const char *name, int rank)
{
    matrix m = {0, 1, 1, NULL};
    size_t shape[3] = {0, 1, 1};
    json_t *value = json_object_get(c->inputs, name);
    if (case_failed(c) || !case_has(c, name) || !measure(c, name, value, rank, shape))
        return m;
    size_t count = shape[0] * shape[1] * shape[2]; /* bounded by the file's size */
    if (shape[0] && count / shape[0] != shape[1] * shape[2]) {
        case_malformed(c, "inputs.%s is too large", name);
        return m;
    }
    m = (matrix){shape[0], shape[1], shape[2], case_doubles(c, count)};
    if (m.x)
        copy_level(c, name, value, rank, shape, m.x);
    return m;
}

matrix case_input(algo_case *c, const char *name, int rank)
{
    if (!case_has(c, name))
        case_malformed(c, "inputs.%s is missing", name);
    return case_optional(c, name, rank);
}

void case_expect_shape(algo_case *c, const char *name, const matrix *m, size_t rows, size_t cols)
{
    if (m->x && (m->rows != rows || m->cols != cols))
        case_malformed(c, "inputs.%s is [%zu][%zu] where [%zu][%zu] is needed", name, m->rows,
                       m->cols, rows, cols);
}

matrix case_optional_tokens(algo_case *c, const char *name, const matrix *like)
{
    matrix m = case_optional(c, name, 2);
    case_expect_shape(c, name, &m, like->rows, like->cols);
    return m;
}

matrix case_tokens(algo_case *c, const char *name, const matrix *like)
{
    matrix m = case_input(c, name, 2);
    case_expect_shape(c, name, &m, like->rows, like->cols);
    return m;
}

grpo_rows case_rows(algo_case *c, const matrix *mask)
{
    size_t tokens = mask->rows * mask->cols;
    size_t *offset = case_bytes(c, (mask->rows + 1) * sizeof *offset);
    unsigned char *bytes = case_bytes(c, tokens);
    if (case_failed(c))
        return (grpo_rows){0, NULL, NULL};
    for (size_t b = 0; b <= mask->rows; b++)
        offset[b] = b * mask->cols;
    for (size_t t = 0; t < tokens; t++) {
        if (mask->x[t] != 0 && mask->x[t] != 1)
            case_malformed(c, "the mask holds %g: only 0 and 1 are allowed", mask->x[t]);
        bytes[t] = mask->x[t] == 1;
    }
    return (grpo_rows){mask->rows, offset, bytes};
}

int64_t *case_groups(algo_case *c, const char *name, size_t rows)
{
    json_t *index = json_object_get(c->inputs, name);
    if (!json_is_array(index) || json_array_size(index) != rows) {
        case_malformed(c, "inputs.%s must be an array of %zu group ids", name, rows);
        return NULL;
    }
    int64_t *group = case_bytes(c, rows * sizeof *group);
    for (size_t b = 0; group && b < rows; b++) {
        const json_t *id = json_array_get(index, b);
        group[b] = (int64_t)b;
        for (size_t first = 0; first < b; first++) /* the first row with the same id */
            if (json_equal(json_array_get(index, first), id)) {
                group[b] = (int64_t)first;
                break;
            }
    }
    return group;
}

/* ---- params ----------------------------------------------------------------------------- */

json_t *case_value(const algo_case *c, const char *key)
{
    json_t *value = json_object_get(c->params, key);
    return json_is_null(value) ? NULL : value;
}

double case_number_of(algo_case *c, json_t *value, const char *what, double fallback)
{
    double x = fallback;
    if (value && !json_is_null(value) && !read_number(value, &x))
        case_malformed(c, "params.%s must be a number", what);
    return x;
}

double case_number(algo_case *c, const char *key, double fallback)
{
    return case_number_of(c, case_value(c, key), key, fallback);
}

int case_flag(algo_case *c, const char *key, int fallback)
{
    return case_number(c, key, fallback) != 0;
}

const char *case_text(algo_case *c, const char *key, const char *fallback)
{
    json_t *value = case_value(c, key);
    if (!value)
        return fallback;
    if (!json_is_string(value))
        case_malformed(c, "params.%s must be a string", key);
    return json_is_string(value) ? json_string_value(value) : fallback;
}

/* ---- results ---------------------------------------------------------------------------- */

void case_put(algo_case *c, const char *key, double value)
{
    json_object_set_new(c->got, key, make_number(value));
}

static json_t *make_array(const double *x, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, make_number(x[i]));
    return array;
}

static json_t *make_matrix(const double *x, size_t rows, size_t cols)
{
    json_t *array = json_array();
    for (size_t b = 0; b < rows; b++)
        json_array_append_new(array, make_array(x + b * cols, cols));
    return array;
}

void case_put_array(algo_case *c, const char *key, const double *x, size_t count)
{
    json_object_set_new(c->got, key, make_array(x, count));
}

void case_put_matrix(algo_case *c, const char *key, const double *x, size_t rows, size_t cols)
{
    json_object_set_new(c->got, key, make_matrix(x, rows, cols));
}

void case_put_cube(algo_case *c, const char *key, const double *x, const matrix *like)
{
    json_t *array = json_array();
    for (size_t b = 0; b < like->rows; b++)
        json_array_append_new(
            array, make_matrix(x + b * like->cols * like->depth, like->cols, like->depth));
    json_object_set_new(c->got, key, array);
}

void case_metric(algo_case *c, const char *key, double value)
{
    if (!c->metrics) {
        c->metrics = json_object();
        json_object_set_new(c->got, "metrics", c->metrics);
    }
    json_object_set_new(c->metrics, key, make_number(value));
}

/* ---- logits ----------------------------------------------------------------------------- */

logit_rows case_logits(algo_case *c, const char *labels_name, double temperature)
{
    logit_rows l = {.logits = case_input(c, "logits", 3), .temperature = temperature};
    size_t tokens = l.logits.rows * l.logits.cols;
    l.labels = case_doubles(c, tokens);
    l.logp = case_doubles(c, tokens);
    l.entropy = case_doubles(c, tokens);
    l.stats = case_bytes(c, tokens * sizeof *l.stats);
    if (labels_name) {
        matrix labels = case_tokens(c, labels_name, &l.logits);
        if (!case_failed(c))
            memcpy(l.labels, labels.x, tokens * sizeof *l.labels);
    }
    for (size_t t = 0; !case_failed(c) && t < tokens; t++) {
        double label = l.labels[t];
        if (!(label >= 0 && label < (double)l.logits.depth && label == floor(label))) {
            case_malformed(c, "token id %g is outside the vocabulary of %zu", label,
                           l.logits.depth);
            break;
        }
        l.stats[t] = grpo_logits_stats(l.logits.x + t * l.logits.depth, l.logits.depth,
                                       (size_t)label, temperature);
        l.logp[t] = l.stats[t].logp;
        l.entropy[t] = l.stats[t].entropy;
    }
    return l;
}

double *case_logits_gradient(algo_case *c, const logit_rows *l, const double *by_logp,
                             const double *by_entropy)
{
    size_t tokens = l->logits.rows * l->logits.cols, vocab = l->logits.depth;
    double *grad = case_doubles(c, tokens * vocab);
    for (size_t t = 0; grad && t < tokens; t++)
        grpo_logits_gradient(grad + t * vocab, l->logits.x + t * vocab, vocab,
                             (size_t)l->labels[t], l->temperature, l->stats[t],
                             by_logp ? by_logp[t] : 0, by_entropy ? by_entropy[t] : 0);
    return grad;
}
