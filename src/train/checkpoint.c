/* Writing, finding and reading checkpoints. */
#define _GNU_SOURCE
#define XXH_INLINE_ALL
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/strbuf.h"
#include "model/safetensors.h"
#include "train/checkpoint.h"

enum { CHECKPOINT_FORMAT = 1, MAX_STATE_BYTES = 64 << 20 };

/* How sums are formed: bits of a resumed run are those of the uninterrupted one only when this agrees. */
static const char ARITHMETIC[] = "f32, fma chains of 512 (1024 from k = 1536), units of 1024 rows";

/* ---- tensors ------------------------------------------------------------------------------------------- */

typedef struct tensor_list {
    safetensors_entry *entries;
    char (*names)[128];
    size_t count;
} tensor_list;

static void tensor_list_deinit(tensor_list *l)
{
    mem_free(l->entries);
    mem_free(l->names);
    memset(l, 0, sizeof *l);
}

/* All parameters once for each prefix. */
static grpo_status tensor_list_init(tensor_list *l, const model_layout *layout, const char *const *prefixes,
                                    size_t n_prefixes, grpo_error *err)
{
    size_t n = (size_t)layout->count * n_prefixes;
    l->entries = mem_calloc(n, sizeof *l->entries);
    l->names = mem_calloc(n, sizeof *l->names);
    l->count = 0;
    if (!l->entries || !l->names) {
        tensor_list_deinit(l);
        return mem_fail(err, "the list of tensors", n * sizeof *l->entries);
    }
    for (size_t p = 0; p < n_prefixes; p++)
        for (int i = 0; i < layout->count; i++) {
            const model_param *param = &layout->params[i];
            snprintf(l->names[l->count], sizeof l->names[0], "%s%s", prefixes[p], param->name);
            l->entries[l->count] = (safetensors_entry){.name = l->names[l->count],
                                                       .dtype = SAFETENSORS_F32,
                                                       .rank = param->is_matrix ? 2 : 1,
                                                       .shape = {param->n, param->k}};
            l->count++;
        }
    return GRPO_OK;
}

/* Tensors are copied in pieces of so many rows, so that a checkpoint needs no memory worth planning. */
enum { PIECE_ROWS = 8 * OPS_PANEL };

static float *piece_create(const model_layout *layout)
{
    int widest = 1;
    for (int i = 0; i < layout->count; i++)
        widest = layout->params[i].k > widest ? layout->params[i].k : widest;
    return mem_calloc((size_t)PIECE_ROWS * (size_t)widest, sizeof(float));
}

static int piece_rows(const model_param *p, int first)
{
    return p->n - first < PIECE_ROWS ? p->n - first : PIECE_ROWS;
}

static grpo_status append_array(safetensors_writer *w, const model_layout *layout, const float *array, float *piece,
                                grpo_error *err)
{
    grpo_status status = GRPO_OK;
    for (int i = 0; i < layout->count; i++) {
        const model_param *p = &layout->params[i];
        for (int row = 0; row < p->n && status == GRPO_OK; row += PIECE_ROWS) {
            model_param_export_rows(p, array, row, piece_rows(p, row), piece);
            status = safetensors_append(w, piece, (uint64_t)piece_rows(p, row) * (uint64_t)p->k, err);
        }
    }
    return status;
}

grpo_status checkpoint_write_arrays(const char *folder, const checkpoint_arrays *a, grpo_error *err)
{
    tensor_list list = {0};
    safetensors_writer w;
    char *path = file_join(folder, a->file);
    float *piece = piece_create(a->layout);
    grpo_status status = path && piece ? GRPO_OK : mem_fail(err, "writing a checkpoint", 0);
    if (status == GRPO_OK)
        status = tensor_list_init(&list, a->layout, a->prefixes, a->count, err);
    if (status == GRPO_OK)
        status = safetensors_create(&w, path, list.entries, list.count, NULL, err);
    if (status == GRPO_OK) {
        for (size_t i = 0; i < a->count && status == GRPO_OK; i++)
            status = append_array(&w, a->layout, a->arrays[i], piece, err);
        if (status == GRPO_OK)
            status = safetensors_commit(&w, err);
        else
            safetensors_abandon(&w);
    }
    tensor_list_deinit(&list);
    mem_free(piece);
    mem_free(path);
    return status;
}

static grpo_status read_array(const safetensors_file *f, const model_layout *layout, const char *prefix, float *array,
                              float *piece, grpo_error *err)
{
    for (int i = 0; i < layout->count; i++) {
        const model_param *p = &layout->params[i];
        char name[128];
        snprintf(name, sizeof name, "%s%s", prefix, p->name);
        const safetensors_tensor *t = safetensors_find(f, name);
        if (!t)
            return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s is missing", f->path, name);
        int right = t->dtype == SAFETENSORS_F32 && t->rank == (p->is_matrix ? 2 : 1) && t->shape[0] == p->n &&
                    (!p->is_matrix || t->shape[1] == p->k);
        if (!right)
            return grpo_fail(err, GRPO_ERR_FORMAT, "%s: tensor %s has another shape or type than this model's", f->path,
                             name);
        for (int row = 0; row < p->n; row += PIECE_ROWS) {
            int rows = piece_rows(p, row);
            safetensors_decode(t, (uint64_t)row * (uint64_t)p->k, (uint64_t)rows * (uint64_t)p->k, piece);
            model_param_import_rows(p, array, row, rows, piece);
        }
        file_map_forget(&f->map);
    }
    return GRPO_OK;
}

grpo_status checkpoint_read_arrays(const char *folder, const checkpoint_arrays *a, grpo_error *err)
{
    safetensors_file f;
    char *path = file_join(folder, a->file);
    float *piece = piece_create(a->layout);
    grpo_status status = path && piece ? GRPO_OK : mem_fail(err, "reading a checkpoint", 0);
    if (status == GRPO_OK)
        status = safetensors_open(&f, path, err);
    if (status == GRPO_OK) {
        for (size_t i = 0; i < a->count && status == GRPO_OK; i++)
            status = read_array(&f, a->layout, a->prefixes[i], a->arrays[i], piece, err);
        safetensors_close(&f);
    }
    mem_free(path);
    mem_free(piece);
    return status;
}

static const char *const WEIGHT_PREFIX[] = {""};
static const char *const MOMENT_PREFIXES[] = {"exp_avg.", "exp_avg_sq."};

/* What is trained, in a model's or an adapter's usual file. */
static checkpoint_arrays weights_of(const model *m, float *const *params)
{
    const char *file = m->adapter ? "adapter_model.safetensors" : "model.safetensors";
    return (checkpoint_arrays){file, model_trained(m).layout, WEIGHT_PREFIX, params, 1};
}

static checkpoint_arrays moments_of(const model *m, float *const *moments)
{
    return (checkpoint_arrays){"optimizer.safetensors", model_trained(m).layout, MOMENT_PREFIXES, moments, 2};
}

/* ---- the list of files and their sums --------------------------------------------------------------------- */

/* Read in pieces: a mapping of files as large as the model would count as memory of the run. */
static grpo_status hash_stream(FILE *stream, const char *path, uint64_t *hash, uint64_t *bytes, grpo_error *err)
{
    enum { PIECE = 1 << 20 };
    unsigned char *piece = mem_calloc(PIECE, 1);
    XXH3_state_t *state = XXH3_createState();
    grpo_status status = piece && state ? GRPO_OK : mem_fail(err, "a checksum", PIECE);
    *bytes = 0;
    if (state)
        XXH3_64bits_reset(state);
    for (size_t n; status == GRPO_OK && (n = fread(piece, 1, PIECE, stream)) > 0; *bytes += n)
        XXH3_64bits_update(state, piece, n);
    if (status == GRPO_OK && ferror(stream))
        status = grpo_fail(err, GRPO_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    if (status == GRPO_OK)
        *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    mem_free(piece);
    return status;
}

static grpo_status hash_file(uint64_t *hash, uint64_t *bytes, const char *folder, const char *name, grpo_error *err)
{
    char *path = file_join(folder, name);
    if (!path)
        return mem_fail(err, "a file name", 0);
    FILE *stream = fopen(path, "rbe");
    grpo_status status = stream ? hash_stream(stream, path, hash, bytes, err)
                                : grpo_fail(err, GRPO_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (stream)
        fclose(stream);
    mem_free(path);
    return status;
}

static void format_hash(char text[20], uint64_t hash)
{
    snprintf(text, 20, "%016" PRIx64, hash);
}

static grpo_status list_files(json_t *files, const char *folder, grpo_error *err)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return grpo_fail(err, GRPO_ERR_IO, "cannot read the folder %s: %s", folder, strerror(errno));
    grpo_status status = GRPO_OK;
    struct dirent *entry;
    while (status == GRPO_OK && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        uint64_t hash, bytes;
        char text[20];
        status = hash_file(&hash, &bytes, folder, entry->d_name, err);
        if (status != GRPO_OK)
            break;
        format_hash(text, hash);
        if (json_object_set_new(files, entry->d_name,
                                json_pack("{s:I,s:s}", "bytes", (json_int_t)bytes, "xxh3", text)) != 0)
            status = mem_fail(err, "a checkpoint's state", 0); /* a file that is not listed would not be verified */
    }
    closedir(dir);
    return status;
}

/* Without the list of files. NULL when out of memory: no number here is NaN, which JSON could not hold. */
static json_t *state_to_json(const checkpoint_state *s, const model *m)
{
    json_t *root = json_pack("{s:i,s:I,s:I,s:I,s:I,s:s,s:f,s:s,s:s,s:O}", "format", CHECKPOINT_FORMAT, "step",
                             (json_int_t)s->step, "data_position", (json_int_t)s->data_position, "optimizer_steps",
                             (json_int_t)s->optimizer_steps, "seed", (json_int_t)s->seed, "run_id", s->run_id,
                             "kl_coef", s->kl_coef, "precision", model_precision_name(m->precision), "arithmetic",
                             ARITHMETIC, "extra", s->extra ? s->extra : json_null());
    if (root && m->adapter) { /* the base is not in the folder, but an adapter is worth nothing beside another */
        char base[20];
        format_hash(base, model_base_fingerprint(m));
        if (json_object_set_new(root, "base", json_string(base)) != 0) {
            json_decref(root);
            return NULL;
        }
    }
    return root;
}

static grpo_status write_state(const char *folder, const checkpoint_state *s, const model *m, grpo_error *err)
{
    json_t *root = state_to_json(s, m), *files = json_object();
    grpo_status status = root && json_object_set(root, "files", files) == 0 ? GRPO_OK
                                                                            : mem_fail(err, "a checkpoint's state", 0);
    if (status == GRPO_OK)
        status = list_files(files, folder, err);
    char *text = status == GRPO_OK ? json_text(root) : NULL, *path = file_join(folder, "state.json");
    if (status == GRPO_OK)
        status = text && path ? file_write_all(path, text, strlen(text), err) : mem_fail(err, "a checkpoint's state", 0);
    mem_free(text);
    mem_free(path);
    json_decref(files);
    json_decref(root);
    return status;
}

/* ---- the folder of checkpoints ---------------------------------------------------------------------------------- */

/* Steps of the checkpoints below root, newest first. */
static grpo_status list_steps(uint64_t **steps, size_t *count, const char *root, grpo_error *err)
{
    size_t capacity = 0;
    *steps = NULL;
    *count = 0;
    DIR *dir = opendir(root);
    if (!dir)
        return GRPO_OK;
    struct dirent *entry;
    grpo_status status = GRPO_OK;
    while (status == GRPO_OK && (entry = readdir(dir))) {
        uint64_t step;
        int end = 0;
        if (sscanf(entry->d_name, "step-%" SCNu64 "%n", &step, &end) != 1 || entry->d_name[end] != 0)
            continue;
        if (mem_reserve((void **)steps, &capacity, *count + 1, sizeof **steps) != 0) {
            status = mem_fail(err, "the list of checkpoints", 0);
            break;
        }
        size_t at = (*count)++;
        while (at > 0 && (*steps)[at - 1] < step) {
            (*steps)[at] = (*steps)[at - 1];
            at--;
        }
        (*steps)[at] = step;
    }
    closedir(dir);
    return status;
}

static char *step_folder(const char *root, uint64_t step)
{
    char name[40];
    snprintf(name, sizeof name, "step-%08" PRIu64, step);
    return file_join(root, name);
}

/* All but the `keep_last` newest up to `newest`, which was just written. A run that goes on behind a damaged checkpoint
 * leaves folders of later steps: they are nobody's any more, and counted as the newest they would take the place of the
 * intact ones. */
static void remove_old(const char *root, uint64_t newest, int keep_last)
{
    uint64_t *steps;
    size_t count, kept = 0, keep = (size_t)(keep_last > 0 ? keep_last : 1);
    if (list_steps(&steps, &count, root, NULL) == GRPO_OK)
        for (size_t i = 0; i < count; i++) {
            if (steps[i] <= newest && kept++ < keep)
                continue;
            char *path = step_folder(root, steps[i]);
            if (path)
                file_remove_tree(path, NULL);
            mem_free(path);
        }
    mem_free(steps);
}

static grpo_status write_folder(const char *folder, const checkpoint_state *state, const model *m, const optimizer *o,
                                checkpoint_extras *extras, void *context, grpo_error *err)
{
    checkpoint_arrays weights = weights_of(m, (float *const[]){model_trained(m).params}),
                      moments = moments_of(m, (float *const[]){o->m, o->v});
    grpo_status status = file_make_folder(folder, err);
    if (status == GRPO_OK)
        status = checkpoint_write_arrays(folder, &weights, err);
    if (status == GRPO_OK)
        status = checkpoint_write_arrays(folder, &moments, err);
    if (status == GRPO_OK && extras)
        status = extras(context, folder, err);
    if (status == GRPO_OK)
        status = write_state(folder, state, m, err);
    return status;
}

grpo_status checkpoint_save(const char *root, const checkpoint_state *state, const model *m, const optimizer *o,
                            int keep_last, checkpoint_extras *extras, void *context, grpo_error *err)
{
    char *final = step_folder(root, state->step), *temporary = file_join(root, "unfinished.tmp");
    grpo_status status = final && temporary ? file_make_folder(root, err) : mem_fail(err, "a file name", 0);
    if (status == GRPO_OK && !isfinite(state->kl_coef))
        status = grpo_fail(err, GRPO_ERR_NUMERIC, "kl_coef is %g, which no run can go on with", state->kl_coef);
    if (status == GRPO_OK)
        status = file_remove_tree(temporary, err);
    if (status == GRPO_OK)
        status = write_folder(temporary, state, m, o, extras, context, err);
    if (status == GRPO_OK)
        status = folder_place(temporary, final, 1, err); /* over one of an earlier run to the same step */
    if (status == GRPO_OK)
        remove_old(root, state->step, keep_last);
    else if (temporary)
        file_remove_tree(temporary, NULL);
    if (status != GRPO_OK)
        grpo_error_prefix(err, status, "checkpoint at step %" PRIu64 " not written (earlier ones are untouched)", state->step);
    mem_free(final);
    mem_free(temporary);
    return status;
}

int checkpoint_any(const char *root)
{
    uint64_t *steps;
    size_t count;
    int any = list_steps(&steps, &count, root, NULL) != GRPO_OK || count > 0;
    mem_free(steps);
    return any;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static grpo_status read_state_json(json_t **root, const char *folder, grpo_error *err)
{
    char *path = file_join(folder, "state.json");
    if (!path)
        return mem_fail(err, "a file name", 0);
    grpo_status status = json_parse_file(root, path, MAX_STATE_BYTES, err);
    if (status == GRPO_OK && json_integer_value(json_object_get(*root, "format")) != CHECKPOINT_FORMAT) {
        json_decref(*root);
        status = grpo_fail(err, GRPO_ERR_FORMAT, "%s: not a checkpoint of format %d", path, CHECKPOINT_FORMAT);
    }
    mem_free(path);
    return status;
}

static grpo_status verify(const char *folder, grpo_error *err)
{
    json_t *root, *info;
    const char *name;
    grpo_status status = read_state_json(&root, folder, err);
    if (status != GRPO_OK)
        return status;
    json_t *files = json_object_get(root, "files");
    json_object_foreach(files, name, info) {
        uint64_t hash, bytes;
        const char *wanted = json_string_value(json_object_get(info, "xxh3"));
        status = strchr(name, '/') ? grpo_fail(err, GRPO_ERR_FORMAT, "%s: bad file name in state.json", folder)
                                   : hash_file(&hash, &bytes, folder, name, err);
        if (status != GRPO_OK)
            break;
        if (!wanted || strtoull(wanted, NULL, 16) != hash ||
            (uint64_t)json_integer_value(json_object_get(info, "bytes")) != bytes) {
            status = grpo_fail(err, GRPO_ERR_FORMAT, "%s/%s is damaged (size or checksum differ)", folder, name);
            break;
        }
    }
    json_decref(root);
    return status;
}

grpo_status checkpoint_find(char **path, int *damaged, const char *root, grpo_error *err)
{
    uint64_t *steps;
    size_t count;
    *path = NULL;
    *damaged = 0;
    grpo_status status = list_steps(&steps, &count, root, err);
    for (size_t i = 0; status == GRPO_OK && i < count && !*path; i++) {
        char *candidate = step_folder(root, steps[i]);
        if (!candidate) {
            status = mem_fail(err, "a file name", 0);
        } else if (verify(candidate, *damaged ? NULL : err) == GRPO_OK) {
            *path = candidate;
            candidate = NULL;
        } else {
            ++*damaged;
        }
        mem_free(candidate);
    }
    mem_free(steps);
    return status;
}

grpo_status checkpoint_resolve(char **path, const char *given, grpo_error *err)
{
    char *checkpoints = file_join(given, "checkpoints");
    int damaged = 0;
    *path = NULL;
    grpo_status status = checkpoints ? GRPO_OK : mem_fail(err, "a file name", 0);
    if (status == GRPO_OK && file_is_folder(checkpoints)) {
        status = checkpoint_find(path, &damaged, checkpoints, err);
        if (status == GRPO_OK && !*path)
            status = grpo_fail(err, GRPO_ERR_IO, "%s holds no intact checkpoint", checkpoints);
    } else if (status == GRPO_OK && !(*path = mem_strdup(given))) {
        status = mem_fail(err, "a file name", 0);
    }
    mem_free(checkpoints);
    return status;
}

/* Of a state; f32 where an older version did not say. */
static model_precision precision_of(const json_t *state)
{
    model_precision p;
    const char *name = json_string_value(json_object_get(state, "precision"));
    return name && model_precision_parse(&p, name) == 0 ? p : MODEL_F32;
}

model_precision checkpoint_precision(const char *folder, model_precision wanted)
{
    json_t *root;
    if (wanted != MODEL_AUTO || read_state_json(&root, folder, NULL) != GRPO_OK)
        return wanted;
    wanted = precision_of(root);
    json_decref(root);
    return wanted;
}

static grpo_status check_arithmetic(const json_t *state, const char *path, const model *m, grpo_error *err)
{
    const char *arithmetic = json_string_value(json_object_get(state, "arithmetic"));
    if (!arithmetic || strcmp(arithmetic, ARITHMETIC) != 0)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED,
                         "%s was written under another order of summation (%s); going on from it would not give the "
                         "bits of the uninterrupted run. Start a new run from it: model=%s",
                         path, arithmetic ? arithmetic : "not said", path);
    if (precision_of(state) != m->precision)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s was written with precision=%s, this run has %s; resume with the former",
                         path, model_precision_name(precision_of(state)), model_precision_name(m->precision));
    return GRPO_OK;
}

static int same_module(const adapter_module *a, const adapter_module *b)
{
    return strcmp(a->name, b->name) == 0 && a->rank == b->rank && a->scale == b->scale;
}

/* A run goes on as it began: with all weights, or with an adapter of the same shape and scale beside the same base.
 * base: its fingerprint in the checkpoint, or NULL. */
static grpo_status check_kind(const char *path, const char *base, const model *m, grpo_error *err)
{
    char now[20];
    if (adapter_is_folder(path) != (m->adapter != NULL))
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s holds %s, but this run trains %s: set lora.rank as it was", path,
                         m->adapter ? "a whole model" : "a LoRA adapter", m->adapter ? "a LoRA adapter" : "every weight");
    if (!m->adapter)
        return GRPO_OK;
    adapter_files f;
    grpo_status status = adapter_files_open(&f, path, &m->config, NULL, err);
    if (status != GRPO_OK)
        return status;
    int same = f.count == m->adapter->count;
    for (int i = 0; i < f.count && same; i++)
        same = same_module(&f.modules[i], &m->adapter->modules[i]);
    adapter_files_close(&f);
    format_hash(now, model_base_fingerprint(m));
    if (same && (!base || strcmp(base, now) != 0))
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "%s belongs to a base model with other weights than the one that was loaded; name the model that the "
                         "run began with, or start a new run with lora.path=%s",
                         path, path);
    return same ? GRPO_OK
                : grpo_fail(err, GRPO_ERR_CONFIG,
                            "%s holds an adapter with other modules, ranks or scale than this run's lora.targets, lora.rank, "
                            "lora.alpha and lora.rslora say: set them as they were",
                            path);
}

grpo_status checkpoint_load(checkpoint_state *s, const char *path, model *m, optimizer *o, pool *threads,
                            grpo_error *err)
{
    json_t *root;
    memset(s, 0, sizeof *s);
    grpo_status status = read_state_json(&root, path, err);
    if (status != GRPO_OK)
        return status;
    s->step = (uint64_t)json_integer_value(json_object_get(root, "step"));
    s->data_position = (uint64_t)json_integer_value(json_object_get(root, "data_position"));
    s->optimizer_steps = (uint64_t)json_integer_value(json_object_get(root, "optimizer_steps"));
    s->seed = json_integer_value(json_object_get(root, "seed"));
    s->kl_coef = json_number_value(json_object_get(root, "kl_coef"));
    const char *run_id = json_string_value(json_object_get(root, "run_id"));
    snprintf(s->run_id, sizeof s->run_id, "%s", run_id ? run_id : "");
    s->extra = json_incref(json_object_get(root, "extra"));
    status = check_arithmetic(root, path, m, err);
    checkpoint_arrays weights = weights_of(m, (float *const[]){model_trained(m).params}),
                      moments = moments_of(m, (float *const[]){o->m, o->v});
    if (status == GRPO_OK)
        status = check_kind(path, json_string_value(json_object_get(root, "base")), m, err);
    json_decref(root);
    if (status == GRPO_OK)
        status = checkpoint_read_arrays(path, &weights, err);
    if (status == GRPO_OK)
        status = checkpoint_read_arrays(path, &moments, err);
    if (status == GRPO_OK)
        model_refresh(m, threads);
    o->steps = s->optimizer_steps;
    if (status != GRPO_OK)
        checkpoint_state_deinit(s);
    return status;
}

void checkpoint_state_deinit(checkpoint_state *s)
{
    json_decref(s->extra);
    memset(s, 0, sizeof *s);
}
