/* The rules. Each looks at the recent steps and says in one sentence what is wrong and what to do. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/diagnose.h"

enum { WINDOW = 10, LONG_WINDOW = 20, REPEAT = 50, MOST = 64 };

typedef struct run {
    const diagnose_facts *facts;
    const train_metrics *steps;
    size_t count;
    const train_metrics *last;
} run;

/* A rule writes its message and returns true when it applies. */
typedef bool rule(const run *r, char *message, size_t size);

static bool say(char *message, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(message, size, format, args);
    va_end(args);
    return true;
}

/* ---- statistics ---------------------------------------------------------------------------------- */

#define FIELD(name) offsetof(train_metrics, name)

static double value(const train_metrics *step, size_t field)
{
    return *(const double *)((const char *)step + field);
}

/* The measured values of a field over the steps [count - back, count - skip), oldest first. */
static size_t gather(double *x, const run *r, size_t field, size_t back, size_t skip)
{
    size_t n = 0, first = r->count > back ? r->count - back : 0;
    for (size_t i = first; i + skip < r->count; i++) {
        double v = value(&r->steps[i], field);
        if (!isnan(v))
            x[n++] = v;
    }
    return n;
}

static double mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / (double)n : NAN;
}

static double deviation(const double *x, size_t n)
{
    double m = mean(x, n), sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (x[i] - m) * (x[i] - m);
    return n > 1 ? sqrt(sum / (double)(n - 1)) : 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *x, size_t n)
{
    double sorted[MOST];
    memcpy(sorted, x, n * sizeof *x);
    qsort(sorted, n, sizeof *sorted, ascending);
    return n ? sorted[n / 2] : NAN;
}

static double recent(const run *r, size_t field, size_t steps)
{
    double x[MOST];
    return mean(x, gather(x, r, field, steps, 0));
}

/* Slope of a line through the values, and its standard error. */
static double slope(const double *y, size_t n, double *error)
{
    double mx = (double)(n - 1) / 2, my = mean(y, n), sxx = 0, sxy = 0, rest = 0;
    for (size_t i = 0; i < n; i++) {
        sxx += ((double)i - mx) * ((double)i - mx);
        sxy += ((double)i - mx) * (y[i] - my);
    }
    double b = sxy / sxx;
    for (size_t i = 0; i < n; i++) {
        double e = y[i] - my - b * ((double)i - mx);
        rest += e * e;
    }
    *error = sqrt(rest / (double)(n - 2) / sxx);
    return b;
}

/* ---- all advantages 0 ------------------------------------------------------------------------------- */

static bool is_flat(const run *r)
{
    const train_metrics *m = r->last;
    if (!r->facts->group_baseline)
        return m->advantage_min == 0 && m->advantage_max == 0;
    return m->frac_groups_flat == 1 || (m->advantage_min == 0 && m->advantage_max == 0);
}

static bool all_wrong(const run *r, char *message, size_t size)
{
    if (!is_flat(r) || !(r->last->frac_groups_all_wrong == 1))
        return false;
    return say(message, size,
               "every advantage is 0 because every completion is wrong: nothing can be learned. Look at the reward function "
               "(`grpo score --reward %s --explain` on some lines of samples.jsonl), then try easier data or a larger "
               "group_size (now %d)",
               r->facts->reward ? r->facts->reward : "SPEC", r->facts->group_size);
}

static bool all_right(const run *r, char *message, size_t size)
{
    if (!is_flat(r) || !(r->last->frac_groups_all_right == 1))
        return false;
    return say(message, size,
               "every advantage is 0 because every completion is right: nothing is left to learn. Take harder data, or look at "
               "the reward function if that cannot be");
}

static bool all_equal(const run *r, char *message, size_t size)
{
    if (!is_flat(r) || r->last->frac_groups_all_wrong == 1 || r->last->frac_groups_all_right == 1)
        return false;
    return say(message, size,
               "every advantage is 0 because the rewards are equal inside every group (mean %.3g; %.0f%% of the groups all right, "
               "%.0f%% all wrong). Look at the reward function: it does not tell completions of one prompt apart",
               r->last->reward, 100 * r->last->frac_groups_all_right, 100 * r->last->frac_groups_all_wrong);
}

static bool few_signals(const run *r, char *message, size_t size)
{
    double flat = recent(r, FIELD(frac_groups_flat), WINDOW);
    if (r->count < WINDOW || !r->facts->group_baseline || !(flat >= 0.8) || is_flat(r))
        return false;
    bool wrong = recent(r, FIELD(frac_groups_all_wrong), WINDOW) >= recent(r, FIELD(frac_groups_all_right), WINDOW);
    return say(message, size,
               "only %.0f%% of the groups carry a signal, the rest are all %s: take %s data, a larger group_size (now %d), or "
               "dynamic_sampling: true",
               100 * (1 - flat), wrong ? "wrong" : "right", wrong ? "easier" : "harder", r->facts->group_size);
}

/* ---- gradients and stability --------------------------------------------------------------------------- */

static bool explodes(const run *r, double *usual)
{
    double x[MOST], now = r->last->grad_norm;
    size_t n = gather(x, r, FIELD(grad_norm), LONG_WINDOW + 1, 1);
    *usual = median(x, n);
    if (isinf(now))
        return true;
    return n >= 4 && *usual > 0 && now > 10 * *usual;
}

static bool exploding_gradient(const run *r, char *message, size_t size)
{
    double usual;
    if (!explodes(r, &usual))
        return false;
    if (r->facts->clip_epsilon > 0.1)
        return say(message, size,
                   "the gradient explodes (norm %.3g, usually %.3g): lower clip_epsilon to 0.1 (now %.3g); if it goes on, lower "
                   "train.learning_rate or train.max_grad_norm",
                   r->last->grad_norm, usual, r->facts->clip_epsilon);
    return say(message, size,
               "the gradient explodes (norm %.3g, usually %.3g): lower train.learning_rate or train.max_grad_norm (clip_epsilon "
               "is %.3g already)",
               r->last->grad_norm, usual, r->facts->clip_epsilon);
}

/* The reward of five steps lies clearly below the best five before, or gradients jump about. */
static bool is_unstable(const run *r, char *why, size_t size)
{
    double x[MOST];
    size_t n = gather(x, r, FIELD(reward), MOST, 0);
    if (n >= 15) {
        double now = mean(x + n - 5, 5), best = -INFINITY, noise = deviation(x, n);
        for (size_t i = 0; i + 10 <= n; i++)
            best = fmax(best, mean(x + i, 5));
        double error = fmax(deviation(x + n - 5, 5), 1e-12) / sqrt(5);
        if (best - now > 4 * error && best - now > noise && best - now > 0.1 * fabs(best)) {
            snprintf(why, size, "the reward fell from %.3g to %.3g", best, now);
            return true;
        }
    }
    n = gather(x, r, FIELD(grad_norm), WINDOW, 0);
    if (n == WINDOW && deviation(x, n) > 1.5 * mean(x, n)) {
        snprintf(why, size, "the gradient's norm jumps (%.3g on average, deviation %.3g)", mean(x, n), deviation(x, n));
        return true;
    }
    return false;
}

static bool unstable_std(const run *r, char *message, size_t size)
{
    char why[120];
    if (!r->facts->divides_by_std || !is_unstable(r, why, sizeof why))
        return false;
    return say(message, size,
               "training is unstable: %s. Advantages are divided by the standard deviation, which blows up groups that are nearly "
               "all right or all wrong: use Dr. GRPO (advantage_estimator: drgrpo, or algorithm: drgrpo)",
               why);
}

static bool unstable(const run *r, char *message, size_t size)
{
    char why[120];
    if (r->facts->divides_by_std || !is_unstable(r, why, sizeof why))
        return false;
    return say(message, size, "training is unstable: %s. Lower train.learning_rate, or hold the policy with kl_coef: 0.01", why);
}

static bool clipped(const run *r, char *message, size_t size)
{
    double share = recent(r, FIELD(clip_frac), 5);
    if (r->count < 5 || !(share > 0.5) || r->facts->updates_per_rollout < 2)
        return false;
    return say(message, size,
               "%.0f%% of the %s are clipped and teach nothing: lower train.learning_rate or the number of updates of a rollout (now "
               "%d)%s",
               100 * share, r->facts->token_ratio ? "tokens" : "completions", r->facts->updates_per_rollout,
               r->facts->token_ratio ? "" : ", or take importance_sampling_level: token (a sequence's ratio leaves the range soon)");
}

static bool far_from_reference(const run *r, char *message, size_t size)
{
    double kl = recent(r, FIELD(kl), 5);
    if (r->count < 5 || !(kl > 1))
        return false;
    return say(message, size,
               "the model is far from its reference (KL %.3g a token): raise kl_coef or lower train.learning_rate if answers lose "
               "their form",
               kl);
}

/* ---- progress --------------------------------------------------------------------------------------------- */

static bool slow_small_groups(const run *r, char *message, size_t size)
{
    double x[MOST], error;
    size_t n = gather(x, r, FIELD(reward), LONG_WINDOW, 0);
    if (n < LONG_WINDOW || !r->facts->group_baseline || r->facts->group_size >= 8 || is_flat(r) ||
        recent(r, FIELD(accuracy), WINDOW) > 0.9)
        return false;
    double rise = slope(x, n, &error);
    if (rise > error && rise > 0)
        return false;
    return say(message, size,
               "the reward has not risen over the last %d steps, and a group of %d gives a noisy baseline: raise group_size to 8 to "
               "16; if it is still slow, raise train.learning_rate",
               LONG_WINDOW, r->facts->group_size);
}

static bool entropy_collapse(const run *r, char *message, size_t size)
{
    double now = recent(r, FIELD(entropy), 5), first = r->steps[0].entropy;
    if (r->count < WINDOW || !(now < 0.02) || !(first > 5 * now) || recent(r, FIELD(accuracy), 5) > 0.9)
        return false;
    return say(message, size,
               "sampling hardly varies any more (entropy %.2g, was %.2g) though %.0f%% are wrong: raise clip_epsilon_high (0.28), "
               "rollout.temperature or entropy_coef, or lower train.learning_rate",
               now, first, 100 * (1 - recent(r, FIELD(accuracy), 5)));
}

/* ---- completions --------------------------------------------------------------------------------------------- */

static bool never_ends(const run *r, char *message, size_t size)
{
    if (!(r->last->frac_truncated == 1) || (r->count > 1 && !(recent(r, FIELD(frac_truncated), 2) == 1)))
        return false;
    return say(message, size,
               "no completion ended by itself within %d tokens: %s, or set rollout.stop, or raise rollout.max_new_tokens",
               r->facts->max_new_tokens,
               r->facts->has_chat_template ? "check that the model's end token is the one its chat template uses (samples.jsonl "
                                             "shows what it writes)"
                                           : "the model has no chat template, so it continues text and does not answer; take an "
                                             "instruction-tuned model or say in data.template how an answer ends");
}

static bool truncated(const run *r, char *message, size_t size)
{
    double share = recent(r, FIELD(frac_truncated), 3);
    if (r->count < 3 || !(share >= 0.5) || share == 1)
        return false;
    return say(message, size, "%.0f%% of the completions are cut at %d tokens: raise rollout.max_new_tokens, ask for short answers%s",
               100 * share, r->facts->max_new_tokens,
               r->facts->masks_truncated ? " (mask_truncated leaves them out of the loss meanwhile)"
                                         : ", or set mask_truncated: true to leave them out of the loss");
}

static bool no_chat_template(const run *r, char *message, size_t size)
{
    if (r->facts->has_chat_template || r->count > 1)
        return false;
    return say(message, size,
               "the model has no chat template: prompts are taken as text to be continued. For an instruction-tuned model that is a "
               "mistake (its template is missing from the folder); else set data.chat: never to say that it is meant");
}

static bool unscored(const run *r, char *message, size_t size)
{
    if (!(r->last->frac_unscored > 0))
        return false;
    return say(message, size,
               "%.1f%% of the completions have no reward (it failed, timed out or was not a number); they are left out. Try it with "
               "`grpo score --reward %s`",
               100 * r->last->frac_unscored, r->facts->reward ? r->facts->reward : "SPEC");
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    rule *applies;
} rules[] = {
#define X(name) {#name, name},
    DIAGNOSE_TABLE(X)
#undef X
};

const char *diagnose_name(diagnose_id id)
{
    return rules[id].name;
}

size_t diagnose(diagnosis out[DIAGNOSE_COUNT], const diagnose_facts *facts, const train_metrics *steps, size_t count)
{
    if (count == 0)
        return 0;
    if (count > MOST) {
        steps += count - MOST;
        count = MOST;
    }
    run r = {facts, steps, count, &steps[count - 1]};
    size_t n = 0;
    for (int id = 0; id < DIAGNOSE_COUNT; id++)
        if (rules[id].applies(&r, out[n].message, sizeof out[n].message))
            out[n++].id = (diagnose_id)id;
    return n;
}

size_t diagnose_step(diagnose_memory *memory, diagnosis out[DIAGNOSE_COUNT], const diagnose_facts *facts,
                     const train_metrics *step)
{
    if (memory->count == MOST)
        memmove(memory->steps, memory->steps + 1, (size_t)(--memory->count) * sizeof *memory->steps);
    memory->steps[memory->count++] = *step;
    diagnosis found[DIAGNOSE_COUNT];
    size_t n = diagnose(found, facts, memory->steps, memory->count), kept = 0;
    bool now[DIAGNOSE_COUNT] = {false};
    for (size_t i = 0; i < n; i++) {
        diagnose_id id = found[i].id;
        now[id] = true;
        if (memory->said[id] && step->step - (double)memory->said[id] < REPEAT)
            continue;
        memory->said[id] = (long)step->step > 0 ? (long)step->step : 1;
        out[kept++] = found[i];
    }
    for (int id = 0; id < DIAGNOSE_COUNT; id++)
        if (!now[id])
            memory->said[id] = 0;
    return kept;
}
