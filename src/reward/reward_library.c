/* The reward `library`: a shared object of the user's (include/grpo/reward_plugin.h). */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "grpo/reward_plugin.h"
#include "reward/exchange.h"
#include "reward/reward_kinds.h"

typedef const grpo_reward_plugin *entry_function(void);

typedef struct library_scorer {
    reward_scorer base;
    void *handle;
    const grpo_reward_plugin *plugin;
    void *self;
    int created;
} library_scorer;

/* ---- scoring ----------------------------------------------------------------------------------- */

static void free_json(grpo_plugin_record *records, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free((char *)records[i].json);
}

static grpo_status fill_records(grpo_plugin_record *out, const grpo_reward_record *records, size_t n, int with_json,
                                grpo_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const grpo_reward_record *r = &records[i];
        out[i] = (grpo_plugin_record){r->prompt, r->prompt_length, r->completion ? r->completion : "", r->completion_length,
                                      r->answer, r->answer_length, r->tokens, r->token_count, NULL};
        if (!with_json)
            continue;
        json_t *object = reward_record_json(r);
        out[i].json = object ? json_text(object) : NULL;
        json_decref(object);
        if (!out[i].json)
            return mem_fail(err, "records for a reward's library", n);
    }
    return GRPO_OK;
}

static grpo_status score(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                         reward_detail detail, grpo_error *err)
{
    library_scorer *self = (library_scorer *)base;
    const grpo_reward_plugin *plugin = self->plugin;
    grpo_plugin_record *given = mem_calloc(n, sizeof *given);
    double *reward = mem_calloc(n, sizeof *reward);
    char problem[200] = "";
    (void)detail;
    grpo_status status = given && reward ? GRPO_OK : mem_fail(err, "records for a reward's library", n * sizeof *given);
    if (status == GRPO_OK)
        status = fill_records(given, records, n, (plugin->flags & GRPO_REWARD_PLUGIN_JSON) != 0, err);
    if (status == GRPO_OK) {
        for (size_t i = 0; i < n; i++)
            reward[i] = NAN; /* what it does not fill in was not scored */
        int failed = plugin->score(self->self, given, n, reward, problem, sizeof problem);
        for (size_t i = 0; i < n; i++) {
            scores[i].value = reward[i];
            if (failed)
                reward_unscored(&scores[i], "%s", *problem ? problem : "the library failed and does not say why");
            else if (!isfinite(reward[i]))
                reward_unscored(&scores[i], "the library gave %g%s%s", reward[i], *problem ? ": " : "", problem);
        }
    }
    if (given)
        free_json(given, n);
    mem_free(given);
    mem_free(reward);
    return status;
}

static void destroy(reward_scorer *base)
{
    library_scorer *self = (library_scorer *)base;
    if (self->created && self->plugin->destroy)
        self->plugin->destroy(self->self);
    if (self->handle)
        dlclose(self->handle);
    mem_free(self);
}

/* ---- loading ------------------------------------------------------------------------------------- */

static grpo_status check_plugin(const grpo_reward_plugin *plugin, const char *path, grpo_error *err)
{
    if (!plugin)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: grpo_reward_plugin_entry() returned nothing", path);
    if (plugin->version != GRPO_REWARD_PLUGIN_VERSION || plugin->size < sizeof *plugin)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s was built for version %u of grpo/reward_plugin.h (%u bytes), this program has "
                         "version %d (%zu bytes): compile it again", path, plugin->version, plugin->size, GRPO_REWARD_PLUGIN_VERSION,
                         sizeof *plugin);
    if (!plugin->score)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s has no score function", path);
    return GRPO_OK;
}

/* A name without a slash would be looked for in the system's folders: it is meant as a file here. */
static void *open_library(const char *path)
{
    char local[4096];
    snprintf(local, sizeof local, "%s%s", strchr(path, '/') ? "" : "./", path);
    return dlopen(local, RTLD_NOW | RTLD_LOCAL);
}

static grpo_status load(library_scorer *self, const char *path, const char *argument, grpo_error *err)
{
    char problem[200] = "";
    self->handle = open_library(path);
    if (!self->handle)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward library: %s", dlerror());
    entry_function *entry = NULL;
    *(void **)&entry = dlsym(self->handle, "grpo_reward_plugin_entry");
    if (!entry)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s does not export grpo_reward_plugin_entry() (grpo/reward_plugin.h)", path);
    self->plugin = entry();
    grpo_status status = check_plugin(self->plugin, path, err);
    if (status != GRPO_OK)
        return status;
    if (self->plugin->create && !(self->self = self->plugin->create(argument, problem, sizeof problem)))
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: %s", path, *problem ? problem : "it failed to start and does not say why");
    self->created = 1;
    return GRPO_OK;
}

grpo_status reward_library_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    static const reward_class classes[] = {{.score = score, .destroy = destroy},
                                           {.score = score, .destroy = destroy, .thread_safe = 1}};
    (void)options;
    size_t length = strcspn(argument, ":");
    char *path = mem_strndup(argument, length);
    library_scorer *self = mem_calloc(1, sizeof *self);
    grpo_status status = path && self ? GRPO_OK : mem_fail(err, "a reward", sizeof *self);
    if (status == GRPO_OK && !*path)
        status = grpo_fail(err, GRPO_ERR_CONFIG, "reward library: the path is missing (library:./mine.so[:ARGUMENT])");
    if (status == GRPO_OK)
        status = load(self, path, argument + length + (argument[length] == ':'), err);
    mem_free(path);
    if (status == GRPO_OK) {
        self->base.class = &classes[(self->plugin->flags & GRPO_REWARD_PLUGIN_THREADS) != 0];
        *out = &self->base;
    } else if (self) {
        destroy(&self->base);
    }
    return status;
}
