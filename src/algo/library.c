/* A user's estimator or loss from a shared library: loading it, and calling it. The only file of
 * algo/ that touches the world outside. */
#include <dlfcn.h>
#include <string.h>

#include "algo/advantage.h"
#include "algo/loss_term.h"
#include "grpo/algo_plugin.h"

typedef const grpo_algo_plugin *entry_function(void);

static grpo_status check_plugin(const grpo_algo_plugin *plugin, const char *path, grpo_error *err)
{
    if (!plugin)
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s: grpo_algo_plugin_entry() returned nothing",
                         path);
    if (plugin->version != GRPO_ALGO_PLUGIN_VERSION || plugin->size < sizeof *plugin)
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "%s was built for version %u of algo_plugin.h, this is version %u: "
                         "compile it again",
                         path, (unsigned)plugin->version, GRPO_ALGO_PLUGIN_VERSION);
    if (!plugin->name || !(plugin->advantages || plugin->loss))
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s has no name, or neither estimator nor loss",
                         path);
    return GRPO_OK;
}

grpo_status grpo_algo_load_library(grpo_algo *algo, const char *path, grpo_error *err)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays loaded: options point into it */
    if (!handle)
        return grpo_fail(err, GRPO_ERR_CONFIG, "cannot load %s (a path needs a '/'): %s", path,
                         dlerror());
    entry_function *entry;
    void *symbol = dlsym(handle, "grpo_algo_plugin_entry");
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from data to function */
    if (!symbol) {
        dlclose(handle);
        return grpo_fail(err, GRPO_ERR_CONFIG, "%s does not export grpo_algo_plugin_entry()", path);
    }
    const grpo_algo_plugin *plugin = entry();
    grpo_status status = check_plugin(plugin, path, err);
    if (status != GRPO_OK) {
        dlclose(handle);
        return status;
    }
    algo->library = plugin;
    if (plugin->advantages)
        algo->advantage = GRPO_ADV_LIBRARY;
    if (plugin->loss)
        algo->loss = GRPO_LOSS_LIBRARY;
    return GRPO_OK;
}

/* The library sees each group's scored rows side by side. */
grpo_status advantage_library(advantage_work *w, grpo_error *err)
{
    const grpo_algo_plugin *plugin = w->algo->library;
    double *reward = w->column, *advantage = w->column + w->in->rows; /* [B] each */
    for (size_t g = 0; g < w->groups; g++) {
        const size_t *member = w->member + group_first(w, g);
        size_t count = w->group_end[g] - group_first(w, g), *length = w->normalized;
        for (size_t i = 0; i < count; i++) {
            reward[i] = w->out->reward[member[i]];
            length[i] = w->in->tokens.offset ? rows_length(&w->in->tokens, member[i]) : 0;
        }
        if (count)
            plugin->advantages(advantage, reward, w->in->tokens.offset ? length : NULL, count);
        for (size_t i = 0; i < count; i++) {
            if (!isfinite(advantage[i]))
                return grpo_fail(err, GRPO_ERR_NUMERIC,
                                 "library %s gave completion %zu an advantage that is not finite",
                                 plugin->name, member[i]);
            w->out->row[member[i]] = advantage[i];
        }
    }
    return GRPO_OK;
}

loss_term loss_library(const grpo_algo *algo, const loss_point *p)
{
    grpo_plugin_point point = {p->ratio, p->fixed_ratio, p->log_ratio, p->logp, p->advantage};
    grpo_plugin_term term = algo->library->loss(&point);
    return (loss_term){term.x, term.by_ratio, term.by_logp};
}
