/* Reading LoRA adapters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/adapter_files.h"

enum { MAX_CONFIG = 1 << 20, MAX_RANK = 1 << 14 };

static const char PREFIX[] = "base_model.model.", A_END[] = ".lora_A.weight", B_END[] = ".lora_B.weight";

/* ---- adapter_config.json --------------------------------------------------------------------- */

/* Keys that say where the adapter sits (the tensors say it too), how it was trained, or nothing. */
static int is_harmless(const char *key)
{
    static const char *const keys[] = {
        "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "inference_mode", "init_lora_weights",
        "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "peft_type",
        "peft_version", "qalora_group_size", "r", "rank_pattern", "alpha_pattern", "revision", "runtime_config",
        "target_modules", "task_type", "use_rslora", "fan_in_fan_out", "ensure_weight_tying",
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0)
            return 1;
    return 0;
}

static int is_off(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0) || (json_is_string(v) && json_string_length(v) == 0);
}

static grpo_status refuse_key(const char *where, const char *key, const char *why, grpo_error *err)
{
    return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: %s %s", where, key, why);
}

static grpo_status check_keys(const json_t *config, const char *where, grpo_error *err)
{
    const char *key, *text;
    json_t *value;
    json_object_foreach((json_t *)config, key, value) {
        if (!is_harmless(key) && !is_off(value))
            return refuse_key(where, key, "is set and not supported (plain LoRA on linear layers is)", err);
    }
    text = json_string_value(json_object_get(config, "peft_type"));
    if (!text || strcmp(text, "LORA") != 0)
        return refuse_key(where, "peft_type", "must be \"LORA\"", err);
    text = json_string_value(json_object_get(config, "bias"));
    if (text && strcmp(text, "none") != 0)
        return refuse_key(where, "bias", "other than \"none\" is not supported", err);
    if (json_is_true(json_object_get(config, "fan_in_fan_out")))
        return refuse_key(where, "fan_in_fan_out", "is not supported", err);
    text = json_string_value(json_object_get(config, "init_lora_weights"));
    if (text && strcmp(text, "gaussian") != 0 && strcmp(text, "orthogonal") != 0 && strcmp(text, "eva") != 0)
        return refuse_key(where, "init_lora_weights", "names an initialisation that changes the base weights; convert the adapter to plain LoRA", err);
    return GRPO_OK;
}

static grpo_status read_config(adapter_files *f, const json_t *config, const char *where, grpo_error *err)
{
    const json_t *rank = json_object_get(config, "r"), *alpha = json_object_get(config, "lora_alpha");
    const char *base = json_string_value(json_object_get(config, "base_model_name_or_path"));
    if (!json_is_object(config))
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: not a JSON object", where);
    grpo_status status = check_keys(config, where, err);
    if (status != GRPO_OK)
        return status;
    if (!json_is_integer(rank) || json_integer_value(rank) < 1 || json_integer_value(rank) > MAX_RANK)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: r must be a whole number from 1 to %d", where, (int)MAX_RANK);
    if (!json_is_number(alpha) || !isfinite(json_number_value(alpha)))
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: lora_alpha must be a number", where);
    f->rank = (int)json_integer_value(rank);
    f->alpha = json_number_value(alpha);
    f->rslora = json_is_true(json_object_get(config, "use_rslora"));
    if (base && !(f->base = mem_strdup(base)))
        return mem_fail(err, where, strlen(base));
    return GRPO_OK;
}

/* Does a key of rank_pattern or alpha_pattern mean this module? PEFT takes keys as regular expressions
 * for the end of the name; without special characters that is the end at a dot. */
static int pattern_matches(const char *key, const char *module)
{
    size_t n = strlen(key), m = strlen(module);
    return n <= m && strcmp(module + m - n, key) == 0 && (n == m || module[m - n - 1] == '.');
}

static grpo_status pattern_value(double *out, const json_t *patterns, const char *module, const char *where, grpo_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)patterns, key, value) {
        if (strpbrk(key, "^$*+?()[]{}|\\"))
            return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: the pattern \"%.60s\" is a regular expression, plain names are supported",
                             where, key);
        if (!json_is_number(value))
            return grpo_fail(err, GRPO_ERR_CONFIG, "%s: the pattern \"%.60s\" has no number", where, key);
        if (pattern_matches(key, module)) {
            *out = json_number_value(value);
            return GRPO_OK;
        }
    }
    return GRPO_OK;
}

/* ---- the base's name --------------------------------------------------------------------------- */

/* Does a GGUF file's name end here, but for its quantisation ("-Q4_K_M.gguf", ".f16.gguf", ".gguf")? */
static int is_gguf_rest(const char *text)
{
    static const char *const kinds[] = {"gguf", "q", "iq", "f16", "f32", "bf16"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if ((*text == '.' || *text == '-' || *text == '_') && strncasecmp(text + 1, kinds[i], strlen(kinds[i])) == 0)
            return 1;
    return 0;
}

/* The part of a path that names a model, and its length. */
static const char *model_name(const char *path, size_t *length)
{
    static const char cache[] = "/models--"; /* …/models--OWNER--NAME/snapshots/REVISION */
    const char *in_cache = strstr(path, cache), *snapshots = in_cache ? strstr(in_cache, "/snapshots/") : NULL;
    const char *end = snapshots ? snapshots : path + strlen(path), *name;
    while (end > path + 1 && end[-1] == '/')
        end--;
    for (name = end; name > path && name[-1] != '/'; name--)
        if (snapshots && name - 2 > in_cache && memcmp(name - 2, "--", 2) == 0)
            break;
    *length = (size_t)(end - name);
    return name;
}

int adapter_same_base(const char *base, const char *model)
{
    size_t n, m;
    const char *wanted = model_name(base, &n), *given = model_name(model, &m);
    if (n == m && memcmp(wanted, given, n) == 0)
        return 1;
    int is_gguf = m > 5 && strncasecmp(given + m - 5, ".gguf", 5) == 0;
    return is_gguf && n < m && strncasecmp(wanted, given, n) == 0 && is_gguf_rest(given + n);
}

/* Completes the message about an adapter that does not fit. */
static grpo_status misfit(const adapter_files *f, const char *model, grpo_status status, grpo_error *err)
{
    if (!err || !model)
        return status;
    size_t n = strlen(err->message);
    snprintf(err->message + n, sizeof err->message - n, "; the adapter was made for \"%s\", the model is %s",
             f->base ? f->base : "?", model);
    return status;
}

/* ---- tensors ------------------------------------------------------------------------------------ */

static const safetensors_tensor *find(const adapter_files *f, const char *module, const char *end)
{
    char name[sizeof PREFIX + MODEL_TENSOR_NAME + sizeof A_END];
    snprintf(name, sizeof name, "%s%s%s", PREFIX, module, end);
    return safetensors_find(&f->tensors, name);
}

int adapter_role_is_linear(model_tensor_role role)
{
    return (role >= MODEL_T_Q && role <= MODEL_T_O) || (role >= MODEL_T_GATE && role <= MODEL_T_DOWN);
}

float adapter_scale(double alpha, int rank, int rslora)
{
    return (float)(alpha / (rslora ? sqrt((double)rank) : (double)rank));
}

static grpo_status add_module(adapter_files *f, const model_tensor *t, const json_t *config, const char *where, const char *model,
                              grpo_error *err)
{
    adapter_module m = {.role = t->role, .layer = t->layer, .in = t->columns, .out = t->rows};
    snprintf(m.name, sizeof m.name, "%.*s", (int)(strlen(t->name) - strlen(".weight")), t->name);
    const safetensors_tensor *a = find(f, m.name, A_END), *b = find(f, m.name, B_END);
    double rank = f->rank, alpha = f->alpha;
    if (!a && !b)
        return GRPO_OK;
    grpo_status status = pattern_value(&rank, json_object_get(config, "rank_pattern"), m.name, where, err);
    if (status == GRPO_OK)
        status = pattern_value(&alpha, json_object_get(config, "alpha_pattern"), m.name, where, err);
    if (status != GRPO_OK)
        return status;
    if (!a || !b)
        return grpo_fail(err, GRPO_ERR_FORMAT, "%s: %s has only one of lora_A and lora_B", f->tensors.path, m.name);
    if (!(rank >= 1 && rank <= MAX_RANK))
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: the rank of %s must be from 1 to %d", where, m.name, (int)MAX_RANK);
    m.rank = (int)rank;
    m.alpha = alpha;
    m.scale = adapter_scale(alpha, m.rank, f->rslora);
    if (a->dtype > SAFETENSORS_BF16 || b->dtype > SAFETENSORS_BF16)
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: %s is stored as %s (F32, F16 and BF16 are supported)",
                         f->tensors.path, m.name, safetensors_dtype_name(a->dtype > SAFETENSORS_BF16 ? a->dtype : b->dtype));
    if (a->rank != 2 || b->rank != 2 || a->shape[0] != m.rank || a->shape[1] != m.in || b->shape[0] != m.out ||
        b->shape[1] != m.rank) {
        status = grpo_fail(err, GRPO_ERR_FORMAT, "%s: the matrices of %s must be [%d, %d] and [%d, %d] for this model",
                           f->tensors.path, m.name, m.rank, m.in, m.out, m.rank);
        return misfit(f, model, status, err);
    }
    f->modules[f->count++] = m;
    return GRPO_OK;
}

/* Lists the modules that have matrices. All tensors are in pairs of a listed module, or one is refused. */
static grpo_status list_modules(adapter_files *f, const model_config *c, const json_t *config, const char *where, const char *model,
                                grpo_error *err)
{
    size_t n = f->tensors.n_tensors / 2 + 1;
    model_tensor_walk w = {.config = c};
    f->modules = mem_calloc(n, sizeof *f->modules);
    if (!f->modules)
        return mem_fail(err, "the adapter's modules", n * sizeof *f->modules);
    while (model_tensor_next(&w))
        if (adapter_role_is_linear(w.tensor.role)) {
            grpo_status status = add_module(f, &w.tensor, config, where, model, err);
            if (status != GRPO_OK)
                return status;
        }
    grpo_status status = GRPO_OK;
    if (f->count == 0) {
        status = grpo_fail(err, GRPO_ERR_FORMAT, "%s: no tensor belongs to a linear layer of this model", f->tensors.path);
        return misfit(f, model, status, err);
    }
    if ((size_t)f->count * 2 == f->tensors.n_tensors)
        return GRPO_OK;
    for (size_t i = 0; i < f->tensors.n_tensors && status == GRPO_OK; i++) {
        const char *name = f->tensors.tensors[i].name;
        int known = 0;
        for (int m = 0; m < f->count && !known; m++)
            known = &f->tensors.tensors[i] == find(f, f->modules[m].name, A_END) ||
                    &f->tensors.tensors[i] == find(f, f->modules[m].name, B_END);
        if (!known)
            status = grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s: tensor %s belongs to no linear layer of this model",
                               f->tensors.path, name);
    }
    return status == GRPO_OK ? status : misfit(f, model, status, err);
}

static grpo_status open_tensors(adapter_files *f, grpo_error *err)
{
    char *path = file_join(f->path, "adapter_model.safetensors");
    if (!path)
        return mem_fail(err, "a file name", strlen(f->path));
    grpo_status status = file_exists(path)
                             ? safetensors_open(&f->tensors, path, err)
                             : grpo_fail(err, GRPO_ERR_IO, "%s: there is no adapter_model.safetensors in this folder", f->path);
    mem_free(path);
    return status;
}

static grpo_status parse_config(json_t **out, char **where, const char *folder, grpo_error *err)
{
    *out = NULL;
    *where = file_join(folder, "adapter_config.json");
    if (!*where)
        return mem_fail(err, "a file name", strlen(folder));
    if (!file_exists(*where))
        return grpo_fail(err, GRPO_ERR_IO, "%s: there is no adapter_config.json; an adapter is a folder as PEFT saves it", folder);
    return json_parse_file(out, *where, MAX_CONFIG, err);
}

grpo_status adapter_files_open(adapter_files *f, const char *folder, const model_config *config, const char *model,
                               grpo_error *err)
{
    json_t *json = NULL;
    char *where = NULL;
    *f = (adapter_files){.path = mem_strdup(folder)};
    grpo_status status = f->path ? parse_config(&json, &where, folder, err) : mem_fail(err, "a file name", strlen(folder));
    if (status == GRPO_OK)
        status = read_config(f, json, where, err);
    if (status == GRPO_OK)
        status = open_tensors(f, err);
    if (status == GRPO_OK)
        status = list_modules(f, config, json, where, model, err);
    f->other_base = model && f->base && f->base[0] && !adapter_same_base(f->base, model);
    json_decref(json);
    mem_free(where);
    if (status != GRPO_OK)
        adapter_files_close(f);
    return status;
}

void adapter_files_close(adapter_files *f)
{
    safetensors_close(&f->tensors);
    mem_free(f->modules);
    mem_free(f->base);
    mem_free(f->path);
    *f = (adapter_files){0};
}

static grpo_status decode(const adapter_files *f, const adapter_module *m, const char *end, size_t n, float *dst, grpo_error *err)
{
    safetensors_decode(find(f, m->name, end), 0, n, dst);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(dst[i]))
            return grpo_fail(err, GRPO_ERR_NUMERIC, "%s: the adapter of %s holds values that are not finite (NaN or infinity)",
                             f->tensors.path, m->name);
    return GRPO_OK;
}

grpo_status adapter_files_read(const adapter_files *f, int module, float *a, float *b, grpo_error *err)
{
    const adapter_module *m = &f->modules[module];
    grpo_status status = decode(f, m, A_END, (size_t)m->rank * (size_t)m->in, a, err);
    return status == GRPO_OK ? decode(f, m, B_END, (size_t)m->out * (size_t)m->rank, b, err) : status;
}

int adapter_is_folder(const char *path)
{
    char *config = file_join(path, "adapter_config.json"), *model = file_join(path, "config.json");
    int is = config && model && file_exists(config) && !file_exists(model);
    mem_free(config);
    mem_free(model);
    return is;
}

grpo_status adapter_base_path(char **out, const char *folder, grpo_error *err)
{
    json_t *config = NULL;
    char *where = NULL, *beside = NULL;
    *out = NULL;
    grpo_status status = parse_config(&config, &where, folder, err);
    const char *base = json_string_value(json_object_get(config, "base_model_name_or_path"));
    if (status == GRPO_OK && (!base || !*base))
        status = grpo_fail(err, GRPO_ERR_CONFIG, "%s: base_model_name_or_path is missing; name the model with --model", where);
    if (status == GRPO_OK && base[0] != '/' && !(beside = file_join(folder, base)))
        status = mem_fail(err, "a file name", strlen(base));
    const char *found = beside && file_exists(beside) ? beside : base;
    if (status == GRPO_OK && !file_exists(found))
        status = grpo_fail(err, GRPO_ERR_IO, "%s: the base model \"%s\" is not on this machine; name it with --model", where, base);
    if (status == GRPO_OK && !(*out = mem_strdup(found)))
        status = mem_fail(err, "a file name", strlen(found));
    json_decref(config);
    mem_free(where);
    mem_free(beside);
    return status;
}

grpo_status adapter_resolve(char **model, const char **adapter, const char *path, grpo_error *err)
{
    *model = NULL;
    if (!adapter_is_folder(path))
        return (*model = mem_strdup(path)) ? GRPO_OK : mem_fail(err, "a file name", strlen(path));
    if (*adapter)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s is an adapter itself: another one cannot stand beside it; export it merged first",
                         path);
    *adapter = path;
    return adapter_base_path(model, path, err);
}
