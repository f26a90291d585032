/* Several rewards as one: weights, choice by a data field, gates. Every part is kept apart too. */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "reward/reward.h"

typedef struct set_item {
    reward_scorer *scorer;
    char *name, *when_field, *when_value;
    double weight, gate;
    int is_gate;
    pthread_mutex_t lock; /* for scorers that are not thread-safe */
} set_item;

struct grpo_reward_set {
    set_item *items;
    size_t count;
};

/* ---- making ------------------------------------------------------------------------------ */

static grpo_status copy_names(set_item *item, const grpo_reward_item *given, grpo_error *err)
{
    char kind[32];
    reward_kind_of(kind, given->spec);
    item->name = mem_strdup(given->name ? given->name : kind);
    if (!item->name)
        return mem_fail(err, "a reward's name", 0);
    if (!given->when)
        return GRPO_OK;
    const char *equals = strchr(given->when, '=');
    if (!equals || equals == given->when)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward %s: the condition '%s' must be FIELD=VALUE", item->name, given->when);
    item->when_field = mem_strndup(given->when, (size_t)(equals - given->when));
    item->when_value = mem_strdup(equals + 1);
    return item->when_field && item->when_value ? GRPO_OK : mem_fail(err, "a reward's condition", strlen(given->when));
}

static grpo_status create_scorer(set_item *item, const grpo_reward_item *given, const grpo_reward_options *options,
                                 grpo_error *err)
{
    grpo_reward_options own = options ? *options : (grpo_reward_options){0};
    own.timeout = given->timeout > 0 ? given->timeout : own.timeout;
    own.workers = given->workers > 0 ? given->workers : own.workers;
    own.at_once = given->at_once > 0 ? given->at_once : own.at_once;
    own.attempts = given->attempts > 0 ? given->attempts : own.attempts;
    return reward_create(&item->scorer, given->spec, &own, err);
}

grpo_status grpo_reward_set_create(grpo_reward_set **out, const grpo_reward_item *items, size_t count,
                                   const grpo_reward_options *options, grpo_error *err)
{
    *out = NULL;
    if (count == 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "a set of rewards needs at least one reward");
    grpo_reward_set *set = mem_calloc(1, sizeof *set);
    if (!set || !(set->items = mem_calloc(count, sizeof *set->items))) {
        mem_free(set);
        return mem_fail(err, "a set of rewards", count * sizeof *set->items);
    }
    grpo_status status = GRPO_OK;
    for (size_t i = 0; i < count && status == GRPO_OK; i++) {
        set_item *item = &set->items[set->count++];
        pthread_mutex_init(&item->lock, NULL);
        item->weight = items[i].weight;
        item->is_gate = items[i].is_gate;
        item->gate = items[i].gate;
        if (!isfinite(item->weight) || (item->is_gate && !isfinite(item->gate)))
            status = grpo_fail(err, GRPO_ERR_CONFIG, "reward %s: weight and gate must be finite numbers", items[i].spec);
        if (status == GRPO_OK)
            status = copy_names(item, &items[i], err);
        for (size_t j = 0; j < i && status == GRPO_OK; j++)
            if (strcmp(set->items[j].name, item->name) == 0)
                status = grpo_fail(err, GRPO_ERR_CONFIG, "two rewards have the name '%s'; give one another name", item->name);
        if (status == GRPO_OK)
            status = create_scorer(item, &items[i], options, err);
    }
    if (status != GRPO_OK) {
        grpo_reward_set_destroy(set);
        return status;
    }
    *out = set;
    return GRPO_OK;
}

void grpo_reward_set_destroy(grpo_reward_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++) {
        set_item *item = &set->items[i];
        reward_destroy(item->scorer);
        pthread_mutex_destroy(&item->lock);
        mem_free(item->name);
        mem_free(item->when_field);
        mem_free(item->when_value);
    }
    mem_free(set->items);
    mem_free(set);
}

size_t grpo_reward_set_count(const grpo_reward_set *set)
{
    return set->count;
}

const char *grpo_reward_set_name(const grpo_reward_set *set, size_t item)
{
    return set->items[item].name;
}

const char *grpo_reward_set_warning(const grpo_reward_set *set)
{
    const char *text = NULL;
    for (size_t i = 0; i < set->count && !text; i++)
        if (set->items[i].scorer->class->warning)
            text = set->items[i].scorer->class->warning(set->items[i].scorer);
    return text;
}

int grpo_reward_set_ways(const grpo_reward_set *set)
{
    int ways = 1;
    for (size_t i = 0; i < set->count; i++)
        if (set->items[i].scorer->ways > ways)
            ways = set->items[i].scorer->ways;
    return ways;
}

/* ---- conditions ---------------------------------------------------------------------------- */

/* The value at a path a.b.c; a key that is the whole path comes first. */
static const json_t *find_field(const json_t *object, const char *path)
{
    const json_t *whole = json_object_get(object, path);
    const char *dot = strchr(path, '.');
    if (whole || !dot)
        return whole;
    char head[128];
    if ((size_t)(dot - path) >= sizeof head)
        return NULL;
    memcpy(head, path, (size_t)(dot - path));
    head[dot - path] = 0;
    return find_field(json_object_get(object, head), dot + 1);
}

static int applies(const set_item *item, const grpo_reward_record *record)
{
    if (!item->when_field)
        return 1;
    const json_t *value = record->fields ? find_field(record->fields, item->when_field) : NULL;
    if (json_is_string(value))
        return strcmp(json_string_value(value), item->when_value) == 0;
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    int same = text && strcmp(text, item->when_value) == 0;
    free(text);
    return same;
}

/* ---- scoring -------------------------------------------------------------------------------- */

/* Scores the records that an item applies to, in one batch. */
static grpo_status score_item(grpo_reward_set *set, size_t index, const grpo_reward_record *records, size_t n,
                              reward_score *scores, unsigned char *counts, reward_detail detail, grpo_error *err)
{
    set_item *item = &set->items[index];
    grpo_reward_record *chosen = mem_calloc(n, sizeof *chosen);
    reward_score *results = mem_calloc(n, sizeof *results);
    size_t *origin = mem_calloc(n, sizeof *origin), m = 0;
    grpo_status status = GRPO_OK;
    if (!chosen || !results || !origin)
        status = mem_fail(err, "a batch of rewards", n * sizeof *results);
    for (size_t i = 0; status == GRPO_OK && i < n; i++) {
        scores[i * set->count + index].value = NAN;
        if (applies(item, &records[i])) {
            origin[m] = i;
            chosen[m++] = records[i];
        }
    }
    if (status == GRPO_OK && m) {
        int alone = !item->scorer->class->thread_safe;
        if (alone)
            pthread_mutex_lock(&item->lock);
        status = item->scorer->class->score(item->scorer, chosen, m, results, detail, err);
        if (alone)
            pthread_mutex_unlock(&item->lock);
        if (status != GRPO_OK)
            grpo_error_prefix(err, status, "reward %s", item->name);
    }
    for (size_t i = 0; results && i < m; i++) {
        if (!isfinite(results[i].value) && !results[i].problem[0])
            reward_unscored(&results[i], "the reward gave %g", results[i].value);
        scores[origin[i] * set->count + index] = results[i];
        counts[origin[i] * set->count + index] = 1;
    }
    mem_free(chosen);
    mem_free(results);
    mem_free(origin);
    return status;
}

/* The weighted sum; where a gate is shut, only gates count. */
static double combine(const grpo_reward_set *set, reward_score *scores, const unsigned char *applies_to)
{
    double total = 0;
    int shut = 0, any = 0;
    for (size_t i = 0; i < set->count; i++)
        shut |= applies_to[i] && set->items[i].is_gate && scores[i].value < set->items[i].gate;
    for (size_t i = 0; i < set->count; i++) {
        scores[i].counted = applies_to[i] ? shut && !set->items[i].is_gate ? 0 : scores[i].value : NAN;
        if (applies_to[i])
            total += set->items[i].weight * scores[i].counted;
        any |= applies_to[i];
    }
    return any ? total : NAN;
}

grpo_status reward_set_score_details(grpo_reward_set *set, const grpo_reward_record *records, size_t n,
                                     reward_score *scores, double *total, reward_detail detail, grpo_error *err)
{
    unsigned char *counts = mem_calloc(n * set->count + 1, 1);
    grpo_status status = counts ? GRPO_OK : mem_fail(err, "a batch of rewards", n * set->count);
    memset(scores, 0, n * set->count * sizeof *scores);
    for (size_t i = 0; i < set->count && status == GRPO_OK; i++)
        status = score_item(set, i, records, n, scores, counts, detail, err);
    for (size_t i = 0; i < n && status == GRPO_OK; i++)
        total[i] = combine(set, scores + i * set->count, counts + i * set->count);
    mem_free(counts);
    return status;
}

grpo_status grpo_reward_set_score(grpo_reward_set *set, const grpo_reward_record *records, size_t n, double *parts,
                                  double *total, grpo_error *err)
{
    if (n == 0)
        return GRPO_OK;
    reward_score *scores = mem_calloc(n * set->count, sizeof *scores);
    if (!scores)
        return mem_fail(err, "a batch of rewards", n * set->count * sizeof *scores);
    grpo_status status = reward_set_score_details(set, records, n, scores, total, REWARD_SCORES, err);
    for (size_t i = 0; i < n * set->count; i++) {
        if (parts)
            parts[i] = scores[i].value;
        json_decref(scores[i].details);
    }
    mem_free(scores);
    return status;
}
