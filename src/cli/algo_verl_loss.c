/* verl's policy losses, in terms of compute_grpo_loss(). */
#include <string.h>

#include "cli/algo_verl.h"

/* ---- aggregation ------------------------------------------------------------------------ */

typedef struct verl_counts {
    double tokens, sequences, scale;
} verl_counts;

void verl_set_aggregation(loss_case *l, const char *mode)
{
    algo_case *c = l->c;
    verl_counts global = {case_number(c, "batch_num_tokens", 0),
                          case_number(c, "global_batch_size", 0), case_number(c, "dp_size", 1)};
    l->algo.count_empty_rows = 0;
    l->algo.length_epsilon = 1e-8;
    l->in.token_count = global.tokens;
    l->in.sequence_count = global.sequences;
    l->in.scale = global.scale;
    if (strcmp(mode, "token-mean") == 0) {
        l->algo.loss_aggregation = GRPO_AGG_TOKEN_MEAN;
    } else if (strcmp(mode, "seq-mean-token-sum") == 0) {
        l->algo.loss_aggregation = GRPO_AGG_SEQ_MEAN_TOKEN_SUM;
    } else if (strcmp(mode, "seq-mean-token-mean") == 0) {
        l->algo.loss_aggregation = GRPO_AGG_SEQ_MEAN_TOKEN_MEAN;
    } else if (strcmp(mode, "seq-mean-token-sum-norm") == 0) {
        /* sum / (loss_scale_factor or T): neither counts nor dp_size enter */
        l->algo.loss_aggregation = GRPO_AGG_FIXED_LENGTH;
        l->algo.fixed_length = case_number(c, "loss_scale_factor", (double)l->like.cols);
        l->in.sequence_count = 1;
        l->in.scale = 1;
    } else {
        case_refuse(c, "'%s' is not a loss_agg_mode", mode);
    }
}

/* ---- one policy loss -------------------------------------------------------------------- */

typedef struct verl_loss {
    const char *mode; /* loss_mode */
    void (*set)(loss_case *l);
    void (*metrics)(const loss_case *l);
    const char *aggregation; /* of its own, whatever loss_agg_mode says; NULL: loss_agg_mode */
} verl_loss;

static void clip_range(loss_case *l)
{
    double clip = case_number(l->c, "clip_ratio", 0.2);
    l->algo.clip_epsilon_low = case_number(l->c, "clip_ratio_low", clip);
    l->algo.clip_epsilon_high = case_number(l->c, "clip_ratio_high", clip);
}

static void clamp_log_ratio(loss_case *l)
{
    l->algo.log_ratio_min = -20;
    l->algo.log_ratio_max = 20;
}

static void set_vanilla(loss_case *l)
{
    clip_range(l);
    clamp_log_ratio(l);
    l->algo.dual_clip = case_number(l->c, "clip_ratio_c", 3);
    if (!(l->algo.dual_clip > 1))
        case_refuse(l->c, "clip_ratio_c must be above 1, not %g", l->algo.dual_clip);
}

static void set_gspo(loss_case *l)
{
    clip_range(l);
    l->algo.importance_sampling_level = GRPO_RATIO_SEQUENCE_TOKEN;
    l->algo.log_ratio_max = 10;
}

static void set_sapo(loss_case *l)
{
    clamp_log_ratio(l);
    l->algo.loss = GRPO_LOSS_SAPO;
    l->algo.sapo_temperature_pos = case_number(l->c, "tau_pos", 1);
    l->algo.sapo_temperature_neg = case_number(l->c, "tau_neg", 1.05);
}

static void set_reinforce(loss_case *l)
{
    l->algo.loss = GRPO_LOSS_REINFORCE;
}

static void set_clip_cov(loss_case *l)
{
    clip_range(l);
    l->algo.loss = GRPO_LOSS_CLIP_COV;
    l->algo.clip_cov_ratio = case_number(l->c, "clip_cov_ratio", 2e-4);
    l->algo.clip_cov_lb = case_number(l->c, "clip_cov_lb", 1);
    l->algo.clip_cov_ub = case_number(l->c, "clip_cov_ub", 5);
    if (!(l->algo.clip_cov_ratio > 0))
        case_refuse(l->c, "clip_cov_ratio must be positive");
    matrix draw = case_optional(l->c, "randperm", 1);
    size_t *order = case_bytes(l->c, draw.rows * sizeof *order);
    for (size_t i = 0; draw.x && order && i < draw.rows; i++) {
        if (!(draw.x[i] >= 0 && draw.x[i] < (double)draw.rows))
            case_malformed(l->c, "inputs.randperm is not a permutation");
        else
            order[i] = (size_t)draw.x[i];
    }
    l->in.permutation = draw.x ? order : NULL;
    l->in.permutation_count = draw.rows;
}

static void set_kl_cov(loss_case *l)
{
    l->algo.loss = GRPO_LOSS_KL_COV;
    l->algo.kl_cov_ratio = case_number(l->c, "kl_cov_ratio", 2e-4);
    l->algo.kl_cov_coef = case_number(l->c, "ppo_kl_coef", 1);
    if (!(l->algo.kl_cov_ratio > 0 && l->algo.kl_cov_ratio <= 1))
        case_refuse(l->c, "kl_cov_ratio must lie in (0, 1]");
}

static void set_geo_mean(loss_case *l)
{
    clip_range(l);
    l->algo.loss = GRPO_LOSS_GMPO;
    l->algo.loss_aggregation = GRPO_AGG_ROW_MEAN;
    l->algo.count_empty_rows = 1;
    l->in.sequence_count = 0;
    l->in.scale = 1;
}

static void set_cispo(loss_case *l)
{
    clip_range(l);
    clamp_log_ratio(l);
    l->algo.loss = GRPO_LOSS_CISPO;
}

static void put_clip_metrics(const loss_case *l, double clipped, double lower)
{
    case_metric(l->c, "actor/pg_clipfrac", clipped);
    case_metric(l->c, "actor/ppo_kl", l->out.metrics.approx_kl);
    case_metric(l->c, "actor/pg_clipfrac_lower", lower);
}

static void metrics_clip(const loss_case *l)
{
    const grpo_loss_metrics *m = &l->out.metrics;
    put_clip_metrics(l, m->clip_low + m->clip_high,
                     l->algo.importance_sampling_level == GRPO_RATIO_TOKEN ? m->dual_clip : 0);
}

static void metrics_sapo(const loss_case *l)
{
    put_clip_metrics(l, 0, 0);
}

static void metrics_none(const loss_case *l)
{
    json_object_set_new(l->c->got, "metrics", json_object());
}

static void metrics_clip_cov(const loss_case *l)
{
    case_metric(l->c, "actor/pg_clipfrac", l->out.metrics.dropped);
    case_metric(l->c, "actor/ppo_kl", l->out.metrics.approx_kl);
}

static void metrics_kl(const loss_case *l)
{
    case_metric(l->c, "actor/ppo_kl", l->out.metrics.approx_kl);
}

static void metrics_geo_mean(const loss_case *l)
{
    const grpo_loss_metrics *m = &l->out.metrics;
    put_clip_metrics(l, m->below_pos + m->above_pos, m->below_neg + m->above_neg);
}

static void metrics_cispo(const loss_case *l)
{
    const grpo_loss_metrics *m = &l->out.metrics;
    put_clip_metrics(l, m->below_pos + m->below_neg + m->below_zero + m->above_pos + m->above_neg +
                            m->above_zero,
                     0);
}

static const verl_loss losses[] = {
    {"vanilla", set_vanilla, metrics_clip, NULL},
    {"gspo", set_gspo, metrics_clip, "seq-mean-token-mean"},
    {"sapo", set_sapo, metrics_sapo, "seq-mean-token-mean"},
    {"gpg", set_reinforce, metrics_none, NULL},
    {"clip_cov", set_clip_cov, metrics_clip_cov, NULL},
    {"kl_cov", set_kl_cov, metrics_kl, NULL},
    {"geo_mean", set_geo_mean, metrics_geo_mean, "token-mean"},
    {"cispo", set_cispo, metrics_cispo, NULL},
    {"reinforce", set_reinforce, metrics_kl, NULL},
};

static const verl_loss *find_loss(algo_case *c, const char *mode)
{
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++)
        if (strcmp(losses[i].mode, mode) == 0)
            return &losses[i];
    case_refuse(c, "'%s' is not a loss_mode", mode);
    return NULL;
}

static loss_case begin(algo_case *c, const verl_loss *loss, const char *old_name)
{
    matrix mask = case_input(c, "response_mask", 2);
    loss_case l = loss_case_of(c, &mask);
    l.algo.importance_sampling_level = GRPO_RATIO_TOKEN;
    l.in.logp = case_tokens(c, "log_prob", &mask).x;
    l.in.old_logp = old_name ? case_tokens(c, old_name, &mask).x : NULL;
    l.in.is_weight = case_optional_tokens(c, "rollout_is_weights", &mask).x;
    loss_case_advantages(&l, "advantages");
    const char *fallback = strcmp(loss->mode, "reinforce") ? "token-mean" : "seq-mean-token-sum";
    const char *wanted = case_text(c, "loss_agg_mode", fallback);
    verl_set_aggregation(&l, loss->aggregation ? loss->aggregation : wanted);
    loss->set(&l);
    return l;
}

static void finish(loss_case *l, const verl_loss *loss)
{
    loss_case_run(l);
    if (case_failed(l->c))
        return;
    case_put(l->c, "loss", l->out.loss);
    loss_case_put(l, "grad_log_prob", l->out.grad_logp);
    loss->metrics(l);
}

static void policy_loss(algo_case *c, const char *mode)
{
    const verl_loss *loss = find_loss(c, mode);
    int needs_old = strcmp(mode, "gpg") != 0;
    loss_case l = begin(c, loss, needs_old ? "old_log_prob" : NULL);
    finish(&l, loss);
}

void verl_vanilla(algo_case *c)
{
    policy_loss(c, "vanilla");
}
void verl_gspo(algo_case *c)
{
    policy_loss(c, "gspo");
}
void verl_sapo(algo_case *c)
{
    policy_loss(c, "sapo");
}
void verl_gpg_loss(algo_case *c)
{
    policy_loss(c, "gpg");
}
void verl_clip_cov(algo_case *c)
{
    policy_loss(c, "clip_cov");
}
void verl_kl_cov(algo_case *c)
{
    policy_loss(c, "kl_cov");
}
void verl_geo_mean(algo_case *c)
{
    policy_loss(c, "geo_mean");
}
void verl_cispo(algo_case *c)
{
    policy_loss(c, "cispo");
}

void verl_reinforce(algo_case *c)
{
    const verl_loss *loss = find_loss(c, "reinforce");
    loss_case l = begin(c, loss, "rollout_log_prob");
    finish(&l, loss);
}

/* ---- bypass mode ------------------------------------------------------------------------ */

static double *log_ratio_of(loss_case *l)
{
    size_t tokens = l->like.rows * l->like.cols;
    double *d = case_doubles(l->c, tokens);
    for (size_t t = 0; d && !case_failed(l->c) && t < tokens; t++)
        d[t] = l->in.logp[t] - l->in.old_logp[t];
    return d;
}

static void reject(loss_case *l, json_t *settings, const double *log_ratio)
{
    algo_case *c = l->c;
    json_t *options = json_object_get(settings, "rollout_rs");
    json_t *threshold = json_object_get(settings, "rollout_rs_threshold");
    char text[64];
    if (!json_is_string(options) || case_failed(c))
        return;
    unsigned char *mask = case_bytes(c, l->like.rows * l->like.cols);
    const char *thresholds = verl_thresholds(c, threshold, text, sizeof text);
    grpo_rejection_metrics metrics;
    if (!case_failed(c))
        c->status = grpo_rejection_mask(mask, &l->in.rows, log_ratio, json_string_value(options),
                                        thresholds, &metrics, &c->err);
    l->in.rows.mask = mask;
}

static void weigh(loss_case *l, json_t *settings, const double *log_ratio, int used)
{
    algo_case *c = l->c;
    json_t *level = json_object_get(settings, "rollout_is");
    if (!json_is_string(level) || case_failed(c))
        return;
    const char *name = json_string_value(level);
    int per_sequence = strcmp(name, "sequence") == 0;
    if (!per_sequence && strcmp(name, "token") != 0)
        case_refuse(c, "rollout_is '%s' is neither token nor sequence", name);
    double threshold = case_number_of(c, json_object_get(settings, "rollout_is_threshold"),
                                      "rollout_is_threshold", 2);
    int normalize = case_number_of(c, json_object_get(settings, "rollout_is_batch_normalize"),
                                   "rollout_is_batch_normalize", 0) != 0;
    double *weight = case_doubles(c, l->like.rows * l->like.cols);
    grpo_weight_metrics metrics;
    if (!case_failed(c))
        c->status = grpo_rollout_weights(weight, &l->in.rows, log_ratio, per_sequence, threshold,
                                         normalize, &metrics, &c->err);
    l->in.is_weight = used ? weight : NULL;
}

/* The ratio already is policy / sampler: clipping takes no further weight, reinforce does. */
void verl_bypass(algo_case *c)
{
    json_t *settings = case_value(c, "rollout_correction");
    if (!json_is_object(settings)) {
        case_refuse(c, "bypass mode needs params.rollout_correction");
        return;
    }
    json_t *type = json_object_get(settings, "loss_type");
    const char *name = json_is_string(type) ? json_string_value(type) : "ppo_clip";
    int clip = strcmp(name, "ppo_clip") == 0;
    if (!clip && strcmp(name, "reinforce") != 0) {
        case_refuse(c, "loss_type '%s' is neither ppo_clip nor reinforce", name);
        return;
    }
    const verl_loss *loss = find_loss(c, clip ? "vanilla" : "reinforce");
    loss_case l = begin(c, loss, "old_log_prob");
    verl_set_aggregation(&l, case_text(c, "loss_agg_mode", "token-mean"));
    l.in.is_weight = NULL; /* made here, not given */
    double *log_ratio = log_ratio_of(&l);
    grpo_rows all = l.in.rows;
    weigh(&l, settings, log_ratio, !clip);
    l.in.rows = all;
    reject(&l, settings, log_ratio);
    finish(&l, loss);
}

/* ---- aggregation alone, and the whole actor loss ----------------------------------------- */

void verl_agg_loss(algo_case *c)
{
    matrix x = case_input(c, "loss_mat", 2), mask = case_tokens(c, "loss_mask", &x);
    loss_case l = loss_case_of(c, &mask);
    verl_set_aggregation(&l, case_text(c, "loss_agg_mode", ""));
    double loss;
    if (!case_failed(c))
        c->status = grpo_aggregate_loss(&l.algo, &l.in.rows, x.x, l.in.token_count,
                                        l.in.sequence_count, l.in.scale, &loss, l.out.grad_logp,
                                        &c->err);
    if (case_failed(c))
        return;
    case_put(c, "loss", loss);
    loss_case_put(&l, "grad_loss_mat", l.out.grad_logp);
}

static void set_kl_and_entropy(loss_case *l)
{
    algo_case *c = l->c;
    verl_set_kl(c, &l->algo, case_text(c, "kl_loss_type", "low_var_kl"));
    l->in.ref_logp = case_optional_tokens(c, "ref_log_prob", &l->like).x;
    l->algo.kl_coef =
        case_flag(c, "use_kl_loss", l->in.ref_logp != NULL) ? case_number(c, "kl_loss_coef", 0) : 0;
    l->in.entropy = case_optional_tokens(c, "entropy", &l->like).x;
    l->algo.entropy_coef = l->in.entropy ? case_number(c, "entropy_coeff", 0) : 0;
}

/* A policy loss with an aggregation of its own: KL and entropy, which follow loss_agg_mode, are a
 * second loss with advantages of 0. */
static void add_separate_terms(loss_case *l)
{
    algo_case *c = l->c;
    loss_case rest = loss_case_of(c, &l->like);
    rest.in = l->in;
    rest.algo = l->algo;
    rest.algo.importance_sampling_level = GRPO_RATIO_TOKEN;
    rest.algo.loss = GRPO_LOSS_REINFORCE;
    rest.in.advantage = case_doubles(c, l->like.rows * l->like.cols);
    rest.in.is_weight = NULL;
    verl_set_aggregation(&rest, case_text(c, "loss_agg_mode", "token-mean"));
    rest.algo.length_epsilon = l->algo.length_epsilon;
    set_kl_and_entropy(&rest);
    loss_case_run(&rest);
    if (case_failed(c))
        return;
    l->out.loss += rest.out.loss;
    memcpy(l->out.grad_entropy, rest.out.grad_entropy,
           l->like.rows * l->like.cols * sizeof(double));
    for (size_t t = 0; t < l->like.rows * l->like.cols; t++)
        l->out.grad_logp[t] += rest.out.grad_logp[t];
}

void verl_ppo_loss(algo_case *c)
{
    const verl_loss *loss = find_loss(c, case_text(c, "loss_mode", "vanilla"));
    if (!loss)
        return;
    loss_case l = begin(c, loss, "old_log_prob");
    l.algo.length_epsilon = 0; /* ppo_loss counts a boolean mask: n + 1e-8 is n in float32 */
    if (!loss->aggregation)
        set_kl_and_entropy(&l);
    loss_case_run(&l);
    if (loss->aggregation && !case_failed(c))
        add_separate_terms(&l);
    if (case_failed(c))
        return;
    case_put(c, "loss", l.out.loss);
    loss_case_put(&l, "grad_log_prob", l.out.grad_logp);
    if (case_has(c, "entropy"))
        loss_case_put(&l, "grad_entropy", l.out.grad_entropy);
}
