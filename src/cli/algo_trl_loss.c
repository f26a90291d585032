/* TRL's losses (GRPO, RLOO, GMPO trainers), in terms of compute_grpo_loss(). */
#include <math.h>
#include <string.h>

#include "cli/algo_loss_case.h"

/* ---- what the three trainers share -------------------------------------------------------- */

static loss_case begin(algo_case *c)
{
    matrix mask = case_input(c, "completion_mask", 2);
    matrix tools = case_optional_tokens(c, "tool_mask", &mask);
    for (size_t t = 0; !case_failed(c) && tools.x && t < mask.rows * mask.cols; t++)
        mask.x[t] *= tools.x[t];
    loss_case l = loss_case_of(c, &mask);
    l.in.old_logp = case_optional_tokens(c, "old_per_token_logps", &mask).x;
    l.in.sampler_logp = case_optional_tokens(c, "sampling_per_token_logps", &mask).x;
    l.in.ref_logp = case_optional_tokens(c, "ref_per_token_logps", &mask).x;
    loss_case_advantages(&l, "advantages");
    l.algo.clip_epsilon_low = case_number(c, "epsilon", 0.2);
    l.algo.clip_epsilon_high = case_number(c, "epsilon_high", l.algo.clip_epsilon_low);
    return l;
}

static double accumulation(algo_case *c)
{
    return case_flag(c, "training", 1) ? case_number(c, "gradient_accumulation_steps", 1) : 1;
}

static void set_kl(loss_case *l)
{
    l->algo.kl_coef = case_number(l->c, "beta", 0);
    if (l->algo.kl_coef != 0 && !l->in.ref_logp)
        case_malformed(l->c, "beta is not 0 but inputs.ref_per_token_logps is missing");
}

static void set_weights(loss_case *l)
{
    algo_case *c = l->c;
    if (!case_has(c, "importance_sampling_ratio"))
        return;
    matrix weight = case_input(c, "importance_sampling_ratio", 2);
    l->in.is_weight_per_row = weight.cols == 1;
    case_expect_shape(c, "importance_sampling_ratio", &weight, l->like.rows,
                      weight.cols == 1 ? 1 : l->like.cols);
    l->in.is_weight = weight.x;
}

static void put_clip_metrics(const loss_case *l)
{
    const grpo_loss_metrics *m = &l->out.metrics;
    case_metric(l->c, "clip_ratio/low_mean", m->clip_low);
    case_metric(l->c, "clip_ratio/high_mean", m->clip_high);
    case_metric(l->c, "clip_ratio/region_mean", m->clip_low + m->clip_high);
    case_metric(l->c, "clip_ratio/low_min", m->clip_low_min);
    case_metric(l->c, "clip_ratio/high_max", m->clip_high_max);
}

/* ---- GRPOTrainer -------------------------------------------------------------------------- */

typedef struct trl_loss {
    const char *type; /* loss_type */
    grpo_loss_kind loss;
    grpo_aggregation aggregation;
    int global_tokens; /* num_items_in_batch is the denominator */
} trl_loss;

static const trl_loss losses[] = {
    {"grpo", GRPO_LOSS_CLIP, GRPO_AGG_SEQ_MEAN_TOKEN_MEAN, 0},
    {"bnpo", GRPO_LOSS_CLIP, GRPO_AGG_TOKEN_MEAN, 0},
    {"dr_grpo", GRPO_LOSS_CLIP, GRPO_AGG_FIXED_LENGTH, 0},
    {"dapo", GRPO_LOSS_CLIP, GRPO_AGG_TOKEN_MEAN, 1},
    {"luspo", GRPO_LOSS_CLIP, GRPO_AGG_SEQ_MEAN_TOKEN_SUM, 0},
    {"cispo", GRPO_LOSS_CISPO, GRPO_AGG_TOKEN_MEAN, 1},
    {"sapo", GRPO_LOSS_SAPO, GRPO_AGG_SEQ_MEAN_TOKEN_MEAN, 0},
    {"vespo", GRPO_LOSS_VESPO, GRPO_AGG_TOKEN_MEAN, 1},
};

static const trl_loss *find_loss(algo_case *c)
{
    const char *type = case_text(c, "loss_type", "dapo");
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++)
        if (strcmp(losses[i].type, type) == 0)
            return &losses[i];
    case_refuse(c, "'%s' is not a loss_type", type);
    return &losses[0];
}

static void set_level(loss_case *l)
{
    const char *level = case_text(l->c, "importance_sampling_level", "token");
    if (strcmp(level, "token") == 0)
        l->algo.importance_sampling_level = GRPO_RATIO_TOKEN;
    else if (strcmp(level, "sequence") == 0)
        l->algo.importance_sampling_level = GRPO_RATIO_SEQUENCE_MEAN;
    else
        case_refuse(l->c, "importance_sampling_level '%s' is neither token nor sequence", level);
}

static void set_denominators(loss_case *l, const trl_loss *kind)
{
    algo_case *c = l->c;
    l->algo.loss_aggregation = kind->aggregation;
    l->algo.fixed_length = case_number(c, "max_completion_length", (double)l->like.cols);
    l->in.scale = 1 / accumulation(c);
    if (!kind->global_tokens)
        return;
    double steps = case_flag(c, "training", 1) ? case_number(c, "steps_per_generation", 1) : 1;
    l->in.token_count = fmax(case_number(c, "num_items_in_batch", 1), 1) / steps;
}

/* The entropy bonus is a mean over the tokens here, whatever the loss divides by. */
static void set_entropy(loss_case *l)
{
    algo_case *c = l->c;
    l->algo.top_entropy_quantile = case_number(c, "top_entropy_quantile", 1);
    l->algo.entropy_coef = case_number(c, "entropy_coef", 0);
    l->algo.entropy_aggregation = GRPO_AGG_TOKEN_MEAN;
    for (size_t t = 0; !case_failed(c) && l->algo.top_entropy_quantile >= 1 &&
                       t < l->like.rows * l->like.cols;
         t++)
        l->in.entropy_token_count += l->in.rows.mask[t];
}

/* torch.where() of two Python numbers is a float32 tensor, whatever the rest is computed in. */
static double single(algo_case *c, const char *key, double fallback)
{
    return (float)case_number(c, key, fallback);
}

static void set_loss(loss_case *l, const trl_loss *kind)
{
    algo_case *c = l->c;
    l->algo.loss = kind->loss;
    set_level(l);
    set_kl(l);
    set_weights(l);
    set_denominators(l, kind);
    set_entropy(l);
    l->algo.kl_bias_correction = case_flag(c, "use_bias_correction_kl", 1);
    l->algo.delta = case_number(c, "delta", INFINITY);
    l->algo.off_policy_threshold = case_number(c, "off_policy_mask_threshold", INFINITY);
    l->algo.sapo_temperature_pos = single(c, "sapo_temperature_pos", 1);
    l->algo.sapo_temperature_neg = single(c, "sapo_temperature_neg", 1.05);
    l->algo.vespo_k_pos = single(c, "vespo_k_pos", 2);
    l->algo.vespo_lambda_pos = single(c, "vespo_lambda_pos", 3);
    l->algo.vespo_k_neg = single(c, "vespo_k_neg", 3);
    l->algo.vespo_lambda_neg = single(c, "vespo_lambda_neg", 2);
    if (kind->loss == GRPO_LOSS_CISPO) { /* capped at epsilon_high itself, no lower bound */
        l->algo.clip_epsilon_low = INFINITY;
        l->algo.clip_epsilon_high -= 1;
    }
}

static void put_metrics(const loss_case *l, const trl_loss *kind)
{
    algo_case *c = l->c;
    const grpo_loss_metrics *m = &l->out.metrics;
    json_object_set_new(c->got, "metrics", c->metrics = json_object());
    if (l->algo.entropy_coef != 0) {
        double policy = l->out.policy_loss + l->algo.kl_coef * l->out.kl_loss;
        case_metric(c, "policy_loss", kind->global_tokens ? policy : policy / l->in.scale);
        case_metric(c, "entropy_coef", l->algo.entropy_coef);
    }
    if (l->algo.kl_coef != 0)
        case_metric(c, "kl", m->kl);
    if (kind->loss == GRPO_LOSS_CLIP)
        put_clip_metrics(l);
    if (kind->loss == GRPO_LOSS_CISPO)
        case_metric(c, "cispo_clip_ratio", m->above_pos);
    if (kind->loss == GRPO_LOSS_VESPO)
        case_metric(c, "vespo/phi_seq_mean", m->phi_mean);
}

static void loss_from_logits(algo_case *c, loss_case *l, const trl_loss *kind)
{
    logit_rows logits = case_logits(c, "completion_ids", case_number(c, "temperature", 1));
    case_expect_shape(c, "logits", &logits.logits, l->like.rows, l->like.cols);
    l->in.logp = logits.logp;
    l->in.entropy = logits.entropy;
    set_loss(l, kind);
    loss_case_run(l);
    double *grad = case_logits_gradient(c, &logits, l->out.grad_logp, l->out.grad_entropy);
    if (case_failed(c))
        return;
    loss_case_put(l, "per_token_logps", logits.logp);
    loss_case_put(l, "entropies", logits.entropy);
    case_put(c, "loss", l->out.loss);
    case_put_cube(c, "grad_logits", grad, &logits.logits);
    put_metrics(l, kind);
}

void trl_grpo_loss(algo_case *c)
{
    const trl_loss *kind = find_loss(c);
    loss_case l = begin(c);
    if (case_has(c, "logits")) {
        loss_from_logits(c, &l, kind);
        return;
    }
    l.in.logp = case_tokens(c, "per_token_logps", &l.like).x;
    l.in.entropy = case_optional_tokens(c, "entropies", &l.like).x;
    set_loss(&l, kind);
    loss_case_run(&l);
    if (case_failed(c))
        return;
    case_put(c, "loss", l.out.loss);
    loss_case_put(&l, "grad_per_token_logps", l.out.grad_logp);
    if (l.in.entropy)
        loss_case_put(&l, "grad_entropies", l.out.grad_entropy);
    put_metrics(&l, kind);
}

/* ---- RLOOTrainer, GMPOTrainer ------------------------------------------------------------- */

void trl_rloo_loss(algo_case *c)
{
    loss_case l = begin(c);
    l.in.logp = case_tokens(c, "per_token_logps", &l.like).x;
    loss_case_run(&l);
    if (case_failed(c))
        return;
    case_put(c, "loss", l.out.loss);
    loss_case_put(&l, "grad_per_token_logps", l.out.grad_logp);
    put_clip_metrics(&l);
}

void trl_gmpo_loss(algo_case *c)
{
    loss_case l = begin(c);
    l.in.logp = case_tokens(c, "per_token_logps", &l.like).x;
    l.in.entropy = case_optional_tokens(c, "entropies", &l.like).x;
    l.algo.loss = GRPO_LOSS_GMPO;
    l.algo.kl_aggregation = GRPO_AGG_SEQ_MEAN_TOKEN_MEAN;
    l.algo.top_entropy_quantile = case_number(c, "top_entropy_quantile", 1);
    l.in.scale = 1 / accumulation(c);
    set_kl(&l);
    loss_case_run(&l);
    if (case_failed(c))
        return;
    case_put(c, "loss", l.out.loss);
    loss_case_put(&l, "grad_per_token_logps", l.out.grad_logp);
    if (l.algo.kl_coef != 0)
        case_metric(c, "kl", l.out.metrics.kl);
    put_clip_metrics(&l);
}
