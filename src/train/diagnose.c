/* The rules. Each looks at the recent steps and says in one sentence what is wrong and what to do. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/diagnose.h"

enum { WINDOW = 10, LONG_WINDOW = 20, FIRST = 5, REPEAT = 50, MOST = 64 };

typedef struct run {
    const diagnose_facts *facts;
    const train_metrics *steps;
    size_t count;
    const train_metrics *last;
    double first_entropy;
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

static bool has_no_advantages(const run *r)
{
    return r->last->advantage_min == 0 && r->last->advantage_max == 0;
}

static bool is_flat(const run *r)
{
    if (!r->facts->group_baseline || r->facts->normalises_parts)
        return has_no_advantages(r);
    return r->last->frac_groups_flat == 1 || has_no_advantages(r);
}

/* A KL in the reward tells answers apart where the reward does not. */
static const char *flatness(const run *r)
{
    return has_no_advantages(r) ? "every advantage is 0" : "no advantage comes from the rewards (only from the KL in them)";
}

static bool all_wrong(const run *r, char *message, size_t size)
{
    if (!is_flat(r) || !(r->last->frac_groups_all_wrong == 1))
        return false;
    char unverifiable[160] = "";
    if (r->last->frac_unverifiable > 0.1)
        snprintf(unverifiable, sizeof unverifiable,
                 "%.0f%% could not be verified, which counts as wrong: look at the references too (data.answer_field). ",
                 100 * r->last->frac_unverifiable);
    return say(message, size,
               "%s because every completion is wrong: nothing can be learned. Look at the reward function (`%s`). %sThen try "
               "easier data or a larger group_size (now %d)",
               flatness(r), r->facts->look, unverifiable, r->facts->group_size);
}

static bool all_right(const run *r, char *message, size_t size)
{
    if (!is_flat(r) || !(r->last->frac_groups_all_right == 1))
        return false;
    return say(message, size,
               "%s because every completion is right: nothing is left to learn. Take harder data, or look at the reward function if "
               "that cannot be",
               flatness(r));
}

static bool all_equal(const run *r, char *message, size_t size)
{
    const train_metrics *m = r->last;
    if (!is_flat(r) || m->frac_groups_all_wrong == 1 || m->frac_groups_all_right == 1)
        return false;
    char judged[100] = "";
    if (!isnan(m->frac_groups_all_right))
        snprintf(judged, sizeof judged, "; %.0f%% of the groups all right, %.0f%% all wrong", 100 * m->frac_groups_all_right,
                 100 * m->frac_groups_all_wrong);
    return say(message, size,
               "%s because the rewards are equal inside every group (mean %.3g%s). Look at the reward function: it does not tell "
               "completions of one prompt apart (`%s`)",
               flatness(r), m->reward, judged, r->facts->look);
}

static bool few_signals(const run *r, char *message, size_t size)
{
    double flat = recent(r, FIELD(frac_groups_flat), WINDOW), wrong = recent(r, FIELD(frac_groups_all_wrong), WINDOW),
           right = recent(r, FIELD(frac_groups_all_right), WINDOW);
    if (r->count < WINDOW || !r->facts->group_baseline || !(flat >= 0.8) || is_flat(r))
        return false;
    bool mostly_wrong = wrong >= right && wrong >= flat / 2, mostly_right = right > wrong && right >= flat / 2;
    return say(message, size, "only %.0f%% of the groups carry a signal, the rest %s: take %s data%s a larger group_size (now %d)%s",
               100 * (1 - flat),
               mostly_wrong ? "are mostly all wrong" : mostly_right ? "are mostly all right" : "have equal rewards inside",
               mostly_wrong ? "easier" : mostly_right ? "harder" : "other", r->facts->can_resample ? "," : " or",
               r->facts->group_size, r->facts->can_resample ? ", or dynamic_sampling: true" : "");
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
    const diagnose_facts *f = r->facts;
    double usual;
    char clip[120];
    if (!explodes(r, &usual))
        return false;
    if (!f->no_clip && f->clip_epsilon > 0.1)
        return say(message, size,
                   "the gradient explodes (norm %.3g, usually %.3g): lower clip_epsilon to 0.1 (now %.3g); if it goes on, lower "
                   "train.learning_rate or train.max_grad_norm",
                   r->last->grad_norm, usual, f->clip_epsilon);
    if (f->no_clip)
        snprintf(clip, sizeof clip, "clip_epsilon does nothing here: %s", f->no_clip);
    else
        snprintf(clip, sizeof clip, "clip_epsilon is %.3g already", f->clip_epsilon);
    return say(message, size, "the gradient explodes (norm %.3g, usually %.3g): lower train.learning_rate or train.max_grad_norm (%s)",
               r->last->grad_norm, usual, clip);
}

/* How the KL penalty is made to hold the policy more. */
static const char *hold(char *out, size_t size, const diagnose_facts *f)
{
    if (f->kl_coef == 0)
        snprintf(out, size, "set kl_coef: 0.01");
    else if (f->kl_adapts)
        snprintf(out, size, "lower kl_target");
    else
        snprintf(out, size, "raise kl_coef (now %.3g)", f->kl_coef);
    return out;
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
    char why[120], how[60];
    if (r->facts->divides_by_std || !is_unstable(r, why, sizeof why))
        return false;
    return say(message, size, "training is unstable: %s. Lower train.learning_rate, or hold the policy: %s", why,
               hold(how, sizeof how, r->facts));
}

static bool clipped(const run *r, char *message, size_t size)
{
    double share = recent(r, FIELD(clip_frac), 5);
    if (r->count < 5 || !(share > 0.5) || r->facts->no_clip)
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
    char how[60];
    if (r->count < 5 || !(kl > 1))
        return false;
    return say(message, size,
               "the model is far from its reference (KL %.3g a token): %s, or lower train.learning_rate, if answers lose their form",
               kl, hold(how, sizeof how, r->facts));
}

/* ---- progress --------------------------------------------------------------------------------------------- */

static bool rises(const double *x, size_t n)
{
    double error, b = slope(x, n, &error);
    return b > error && b > 0;
}

static bool slow_small_groups(const run *r, char *message, size_t size)
{
    double x[MOST];
    size_t n = gather(x, r, FIELD(reward), LONG_WINDOW, 0);
    if (n < LONG_WINDOW || !r->facts->group_baseline || r->facts->group_size >= 8 || is_flat(r) ||
        recent(r, FIELD(accuracy), WINDOW) > 0.9 || rises(x, n))
        return false;
    return say(message, size,
               "the reward has not risen over the last %d steps, and a group of %d gives a noisy baseline: raise group_size to 8 to "
               "16; if it is still slow, raise train.learning_rate",
               LONG_WINDOW, r->facts->group_size);
}

/* From what to what the length went over the long window, where it did so steadily and no answers became right by it. */
static bool length_moved(const run *r, double *before, double *now, bool *judged)
{
    double length[MOST], accuracy[MOST], error;
    size_t n = gather(length, r, FIELD(completion_length), LONG_WINDOW, 0);
    size_t measured = gather(accuracy, r, FIELD(accuracy), LONG_WINDOW, 0);
    *judged = measured == LONG_WINDOW;
    if (n < LONG_WINDOW || (*judged && rises(accuracy, measured)))
        return false;
    *before = mean(length, 5);
    *now = mean(length + n - 5, 5);
    double b = slope(length, n, &error);
    return fabs(b) > 2 * error;
}

static const char *no_help(bool judged)
{
    return judged ? "the accuracy has not risen with it" : "no reward says how many are right; read samples.jsonl";
}

static bool longer_answers(const run *r, char *message, size_t size)
{
    double before, now;
    bool judged;
    if (!length_moved(r, &before, &now, &judged) || !(now > 1.5 * before))
        return false;
    return say(message, size,
               "answers grew from %.0f to %.0f tokens in %d steps (%s): length may be what the reward pays for. Take %s%sa reward "
               "{spec: \"length:max=...\"}",
               before, now, LONG_WINDOW, no_help(judged),
               r->facts->divides_by_length ? "loss_aggregation: fixed_length, " : "",
               r->facts->punishes_length ? "a larger overlong_buffer, or " : "overlong_buffer: 0.2, or ");
}

static bool shorter_answers(const run *r, char *message, size_t size)
{
    double before, now;
    bool judged;
    char how[60];
    if (!length_moved(r, &before, &now, &judged) || !(now < before / 1.5) || recent(r, FIELD(accuracy), WINDOW) > 0.9)
        return false;
    return say(message, size,
               "answers shrank from %.0f to %.0f tokens in %d steps (%s). If they lose what they need: a reward "
               "{spec: \"length:min=...\"}, %sor %s",
               before, now, LONG_WINDOW, no_help(judged), r->facts->divides_by_length ? "loss_aggregation: fixed_length, " : "",
               hold(how, sizeof how, r->facts));
}

static bool entropy_collapse(const run *r, char *message, size_t size)
{
    const diagnose_facts *f = r->facts;
    double now = recent(r, FIELD(entropy), 5), first = r->first_entropy, accuracy = recent(r, FIELD(accuracy), 5);
    char wrong[60] = "", clip[60] = "";
    if (r->count < WINDOW || !(now < 0.02) || !(first > 5 * now) || accuracy > 0.9)
        return false;
    if (!isnan(accuracy))
        snprintf(wrong, sizeof wrong, ", though %.0f%% are wrong", 100 * (1 - accuracy));
    if (!f->no_clip)
        snprintf(clip, sizeof clip, "clip_epsilon_high (now %.3g, in DAPO 0.28), ", f->clip_epsilon_high);
    return say(message, size,
               "sampling hardly varies any more (entropy %.2g, %.2g in the first steps%s): raise %s%sentropy_coef, or lower "
               "train.learning_rate",
               now, first, wrong, clip, f->samples_here ? "rollout.temperature or " : "");
}

/* ---- completions --------------------------------------------------------------------------------------------- */

static const char *why_endless(const diagnose_facts *f)
{
    if (!f->has_end_token)
        return "the model names no end token: set rollout.stop to a text that ends an answer";
    if (!f->has_chat_template)
        return "the model has no chat template, so it continues text and does not answer; take an instruction-tuned model or say in "
               "data.template how an answer ends, or set rollout.stop";
    return "check that the model's end token is the one its chat template uses (samples.jsonl shows what it writes), or set "
           "rollout.stop";
}

static bool never_ends(const run *r, char *message, size_t size)
{
    if (!(r->last->frac_truncated == 1) || (r->count > 1 && !(recent(r, FIELD(frac_truncated), 2) == 1)))
        return false;
    return say(message, size, "no completion ended by itself within %d tokens: %s, or raise rollout.max_new_tokens",
               r->facts->max_new_tokens, why_endless(r->facts));
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
               "%.1f%% of the completions have no reward (it failed, timed out or was not a number); they are left out. `%s` says why",
               100 * r->last->frac_unscored, r->facts->look);
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *specification, *when, *remedy;
    rule *applies;
} rules[] = {
#define X(name, specification, when, remedy) {#name, specification, when, remedy, name},
    DIAGNOSE_TABLE(X)
#undef X
};

const char *diagnose_name(diagnose_id id)
{
    return rules[id].name;
}

void diagnose_note(diagnose_memory *memory, const train_metrics *step)
{
    if (!(step->step >= 1))
        return;
    if (memory->count == MOST)
        memmove(memory->steps, memory->steps + 1, (size_t)(--memory->count) * sizeof *memory->steps);
    memory->steps[memory->count++] = *step;
    if (memory->first_count < FIRST && !isnan(step->entropy))
        metrics_mean(&memory->first_entropy, step->entropy, 1, memory->first_count++);
}

size_t diagnose(diagnosis out[DIAGNOSE_COUNT], const diagnose_facts *facts, const diagnose_memory *memory)
{
    if (memory->count == 0)
        return 0;
    run r = {facts, memory->steps, memory->count, &memory->steps[memory->count - 1], memory->first_entropy};
    size_t n = 0;
    for (int id = 0; id < DIAGNOSE_COUNT; id++)
        if (rules[id].applies(&r, out[n].message, sizeof out[n].message))
            out[n++].id = (diagnose_id)id;
    return n;
}

size_t diagnose_step(diagnose_memory *memory, diagnosis out[DIAGNOSE_COUNT], const diagnose_facts *facts,
                     const train_metrics *step)
{
    diagnosis found[DIAGNOSE_COUNT];
    diagnose_note(memory, step);
    size_t n = diagnose(found, facts, memory), kept = 0;
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

/* ---- reference ----------------------------------------------------------------------------------------------------- */

void diagnose_put_reference(strbuf *out)
{
    strbuf_puts(out, "# Diagnoses\n\n"
                     "Made by `grpo config --diagnoses` from the table in `src/train/diagnose.h`; a test compares.\n\n"
                     "After every step a run is looked at for what usually goes wrong. What applies is said in the terminal "
                     "(\"look here\") and stands in the step's line of metrics.jsonl, `diagnoses: [{\"id\", \"message\"}]`: once, and "
                     "again only after it has been false or 50 steps have passed. The message names the remedy that fits the run's "
                     "configuration. In the order of importance; the last column is the row of the specification's table of common "
                     "problems (its section 5). Keys are those of [metrics.md](metrics.md) and [config.md](config.md).\n\n"
                     "| id | said when | remedy | specification |\n| --- | --- | --- | --- |\n");
    for (int id = 0; id < DIAGNOSE_COUNT; id++)
        strbuf_printf(out, "| `%s` | %s | %s | %s |\n", rules[id].name, rules[id].when, rules[id].remedy,
                      rules[id].specification ? rules[id].specification : "");
}
