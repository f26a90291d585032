/* Gradients against central finite differences, for every combination of loss, ratio level,
 * aggregation and KL form that is allowed. Losses with stopped gradients are differentiated with
 * those parts held still (grpo_loss_batch.detached_logp). */
#include <stdio.h>
#include <string.h>

#include "algo/rows.h"

#define ROWS 6
#define TOKENS 30
#define STEP 1e-5      /* error of a central difference: STEP^2 f''' and 1e-16 / STEP */
#define TOLERANCE 1e-7 /* relative to max(1, |gradient|) */

/* A small batch with an empty row, holes in the mask, and advantages of both signs and zero. */
typedef struct check_batch {
    size_t offset[ROWS + 1];
    unsigned char mask[TOKENS];
    double logp[TOKENS], old[TOKENS], ref[TOKENS], sampler[TOKENS], entropy[TOKENS],
        weight[TOKENS], row_weight[ROWS], advantage[TOKENS], row_advantage[ROWS];
    double fixed[TOKENS];
    double grad[TOKENS], grad_entropy[TOKENS], scrap[TOKENS], scrap_entropy[TOKENS];
    double scratch[4 * TOKENS];
} check_batch;

/* A linear congruential generator: the same batch on every machine. */
static double next_number(uint64_t *state, double low, double high)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (double)(*state >> 11) / 9007199254740992.0;
}

static void fill_batch(check_batch *c)
{
    static const size_t lengths[ROWS] = {7, 1, 8, 0, 6, 8};
    uint64_t state = 20260101;
    c->offset[0] = 0;
    for (size_t b = 0; b < ROWS; b++) {
        c->offset[b + 1] = c->offset[b] + lengths[b];
        c->row_advantage[b] = b == 4 ? 0 : next_number(&state, -1.5, 1.5);
        c->row_weight[b] = next_number(&state, 0.5, 1.5);
    }
    for (size_t t = 0; t < TOKENS; t++) {
        c->mask[t] = t % 7 != 3;
        c->old[t] = next_number(&state, -3, -0.1);
        c->logp[t] = c->old[t] + next_number(&state, -0.6, 0.6);
        c->ref[t] = c->logp[t] + next_number(&state, -0.8, 0.8);
        c->sampler[t] = c->old[t] + next_number(&state, -0.2, 0.2);
        c->entropy[t] = next_number(&state, 0.1, 3);
        c->weight[t] = next_number(&state, 0.5, 1.5);
        c->advantage[t] = next_number(&state, -1.5, 1.5);
    }
    memcpy(c->fixed, c->logp, sizeof c->logp);
}

/* Turns on everything that may be combined with the form under test. */
static void decorate(grpo_algo *algo, grpo_loss_batch *in, check_batch *c)
{
    int whole = algo->loss_aggregation == GRPO_AGG_ROW_MEAN;
    algo->dual_clip = 1.5;
    algo->delta = 1.35;
    algo->log_ratio_max = 0.5;
    algo->log_ratio_min = -0.5;
    algo->off_policy_threshold = 0.05;
    algo->entropy_coef = 0.01;
    algo->kl_clamp = 1;
    algo->kl_aggregation = GRPO_AGG_SEQ_MEAN_TOKEN_MEAN;
    algo->entropy_aggregation = GRPO_AGG_FIXED_LENGTH;
    algo->count_empty_rows = 0;
    if (!whole || algo->loss == GRPO_LOSS_GMPO)
        algo->top_entropy_quantile = 0.6;
    in->sampler_logp = c->sampler;
    in->is_weight = whole && algo->loss != GRPO_LOSS_GMPO ? c->row_weight : c->weight;
    in->is_weight_per_row = in->is_weight == c->row_weight;
    in->scale = 0.5;
    in->token_count = 40;
}

static double loss_value(const grpo_algo *algo, const grpo_loss_batch *in, check_batch *c)
{
    grpo_loss out = {.grad_logp = c->scrap, .grad_entropy = c->scrap_entropy, .scratch = c->scratch};
    grpo_error err;
    return compute_grpo_loss(algo, in, &out, &err) == GRPO_OK ? out.loss : NAN;
}

static double worst_error(const grpo_algo *algo, const grpo_loss_batch *in, check_batch *c,
                          double *variable, const double *grad, double worst)
{
    for (size_t t = 0; t < TOKENS; t++) {
        double middle = variable[t];
        variable[t] = middle + STEP;
        double above = loss_value(algo, in, c);
        variable[t] = middle - STEP;
        double below = loss_value(algo, in, c);
        variable[t] = middle;
        double error = fabs((above - below) / (2 * STEP) - grad[t]) / fmax(1, fabs(grad[t]));
        worst = error <= worst ? worst : error; /* NaN wins */
    }
    return worst;
}

typedef struct combination {
    grpo_algo algo;
    int decorated, per_token;
} combination;

static void check_one(grpo_check *result, combination *k, grpo_check_report *report, void *context)
{
    check_batch c;
    memset(&c, 0, sizeof c);
    fill_batch(&c);
    grpo_loss_batch in = {.rows = {ROWS, c.offset, c.mask},
                          .logp = c.logp,
                          .old_logp = c.old,
                          .ref_logp = c.ref,
                          .entropy = c.entropy,
                          .advantage = k->per_token ? c.advantage : c.row_advantage,
                          .advantage_per_token = k->per_token};
    if (k->decorated)
        decorate(&k->algo, &in, &c);
    grpo_loss out = {.grad_logp = c.grad, .grad_entropy = c.grad_entropy, .scratch = c.scratch};
    grpo_error err;
    double error = NAN;
    if (compute_grpo_loss(&k->algo, &in, &out, &err) == GRPO_OK) {
        in.detached_logp = c.fixed;
        error = worst_error(&k->algo, &in, &c, c.logp, c.grad, 0);
        error = worst_error(&k->algo, &in, &c, c.entropy, c.grad_entropy, error);
    }
    int passed = error <= TOLERANCE;
    result->passed += (size_t)passed;
    result->failed += (size_t)!passed;
    result->worst = error <= result->worst ? result->worst : error;
    if (!report)
        return;
    const grpo_algo *a = &k->algo;
    static const char *const losses[] = {
#define X(symbol, name) name,
        GRPO_LOSS_NAMES(X)};
    static const char *const levels[] = {GRPO_RATIO_NAMES(X)};
    static const char *const modes[] = {GRPO_AGGREGATION_NAMES(X)};
    static const char *const kls[] = {GRPO_KL_NAMES(X)};
#undef X
    char name[200];
    snprintf(name, sizeof name, "%s %s %s %s%s%s%s%s", losses[a->loss],
             levels[a->importance_sampling_level], modes[a->loss_aggregation],
             a->kl_coef != 0 ? kls[a->kl_estimator] : "no-kl", a->kl_straight_through ? "+" : "",
             a->kl_bias_correction ? " bias" : "", k->decorated ? " decorated" : "",
             k->per_token ? " token-advantages" : "");
    report(context, name, error, passed);
}

/* All KL forms of one policy loss. */
static void check_kls(grpo_check *result, const grpo_algo *base, grpo_check_report *report,
                      void *context)
{
    for (int form = 0; form < 1 + 4 * GRPO_KL_COUNT; form++) {
        combination k = {.algo = *base};
        int kl = form - 1;
        k.algo.kl_coef = form ? 0.3 : 0;
        k.algo.kl_estimator = form ? (grpo_kl_kind)(kl / 4) : GRPO_KL_K3;
        k.algo.kl_straight_through = form && (kl & 1);
        k.algo.kl_bias_correction = form && (kl & 2);
        if (grpo_algo_validate(&k.algo, NULL) != GRPO_OK)
            continue;
        for (k.decorated = 0; k.decorated < 2; k.decorated++)
            for (k.per_token = 0; k.per_token < 2; k.per_token++) {
                combination copy = k;
                check_one(result, &copy, report, context);
            }
    }
}

/* All ratio levels, aggregations and KL forms of one loss. */
static void check_loss(grpo_check *result, const grpo_algo *base, grpo_check_report *report,
                       void *context)
{
    for (int level = 0; level < GRPO_RATIO_COUNT; level++)
        for (int mode = GRPO_AGG_ROW_MEAN; mode < GRPO_AGG_COUNT; mode++) {
            grpo_algo algo = *base;
            algo.importance_sampling_level = (grpo_ratio_level)level;
            algo.loss_aggregation = (grpo_aggregation)mode;
            algo.fixed_length = 8;
            if (grpo_algo_validate(&algo, NULL) == GRPO_OK)
                check_kls(result, &algo, report, context);
        }
}

void grpo_check_gradients(grpo_check *result, const grpo_algo *base, grpo_check_report *report,
                          void *context)
{
    *result = (grpo_check){0, 0, 0};
    for (int loss = 0; loss < GRPO_LOSS_COUNT && !base; loss++) {
        grpo_algo algo;
        grpo_algo_preset(&algo, NULL, NULL);
        algo.loss = (grpo_loss_kind)loss;
        algo.clip_cov_ratio = 0.3; /* of a small batch, so that something is chosen */
        algo.clip_cov_lb = 0;
        algo.kl_cov_ratio = 0.3;
        algo.kl_cov_coef = 0.7;
        check_loss(result, &algo, report, context);
    }
    if (base)
        check_loss(result, base, report, context);
}
