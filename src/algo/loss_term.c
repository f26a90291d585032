/* The losses, one function each, and their table. To add one: a function here, a name in
 * GRPO_LOSS_NAMES, a row below (docs/algorithms.md walks through it). */
#include "algo/loss_term.h"

static double clip_ratio(const grpo_algo *algo, double ratio)
{
    return algo_clamp(ratio, 1 - algo->clip_epsilon_low, 1 + algo->clip_epsilon_high);
}

int loss_is_clipped(const grpo_algo *algo, double ratio, double advantage)
{
    return -advantage * clip_ratio(algo, ratio) > -advantage * ratio;
}

/* x = -min(min(r, delta) A, clip(r, 1 - low, 1 + high) A), and for A < 0 at most -A c. */
loss_term loss_clip(const grpo_algo *algo, const loss_point *p)
{
    double A = p->advantage, capped = p->ratio > algo->delta ? algo->delta : p->ratio;
    double clipped = clip_ratio(algo, p->ratio);
    double plain_x = -A * capped, clipped_x = -A * clipped;
    loss_term term = {plain_x, p->ratio <= algo->delta ? -A : 0, 0};
    if (clipped_x > plain_x)
        term = (loss_term){clipped_x, p->ratio == clipped ? -A : 0, 0};
    if (A < 0 && term.x > -A * algo->dual_clip)
        term = (loss_term){-A * algo->dual_clip, 0, 0};
    return term;
}

/* x = -sg[clip(r, 1 - low, 1 + high)] A logp: every token keeps a gradient. */
loss_term loss_cispo(const grpo_algo *algo, const loss_point *p)
{
    double weight = -clip_ratio(algo, p->fixed_ratio) * p->advantage;
    return (loss_term){weight * p->logp, 0, weight};
}

/* x = -(4 / tau) sigmoid(tau (r - 1)) A, tau by the sign of A. */
loss_term loss_sapo(const grpo_algo *algo, const loss_point *p)
{
    double tau = p->advantage > 0 ? algo->sapo_temperature_pos : algo->sapo_temperature_neg;
    double gate = 1 / (1 + exp(-tau * (p->ratio - 1)));
    return (loss_term){-4 / tau * gate * p->advantage, -4 * gate * (1 - gate) * p->advantage, 0};
}

double loss_vespo_phi(const grpo_algo *algo, double log_w, double advantage)
{
    double k = advantage >= 0 ? algo->vespo_k_pos : algo->vespo_k_neg;
    double lambda = advantage >= 0 ? algo->vespo_lambda_pos : algo->vespo_lambda_neg;
    lambda = lambda < 1e-4 ? 1e-4 : lambda;
    double phi = exp(lambda + k * log_w - lambda * exp(log_w));
    return isfinite(phi) ? phi : 0;
}

/* x = -sg[phi] A logp */
loss_term loss_vespo(const grpo_algo *algo, const loss_point *p)
{
    (void)algo;
    double weight = -p->phi * p->advantage;
    return (loss_term){weight * p->logp, 0, weight};
}

/* x = -r A with r = exp(mean of the one-sidedly clipped log ratios), formed in loss.c. */
loss_term loss_gmpo(const grpo_algo *algo, const loss_point *p)
{
    (void)algo;
    return (loss_term){-p->ratio * p->advantage, -p->advantage, 0};
}

/* x = -A logp */
loss_term loss_reinforce(const grpo_algo *algo, const loss_point *p)
{
    (void)algo;
    return (loss_term){-p->advantage * p->logp, 0, -p->advantage};
}

/* clip, without the chosen tokens. */
loss_term loss_clip_cov(const grpo_algo *algo, const loss_point *p)
{
    return p->chosen ? (loss_term){0, 0, 0} : loss_clip(algo, p);
}

/* x = -A r, plus coef |d| on the chosen tokens. */
loss_term loss_kl_cov(const grpo_algo *algo, const loss_point *p)
{
    loss_term term = {-p->advantage * p->ratio, -p->advantage, 0};
    if (p->chosen) {
        term.x += algo->kl_cov_coef * fabs(p->log_ratio);
        term.by_logp = algo->kl_cov_coef * ((p->log_ratio > 0) - (p->log_ratio < 0));
    }
    return term;
}

/* In the order of GRPO_LOSS_NAMES. */
static const loss_method methods[GRPO_LOSS_COUNT] = {
    {loss_clip,
     {"clip", "loss_clip", "PPO, arXiv:1707.06347; dual clip arXiv:1912.09729; delta arXiv:2505.07291",
      "-min(min(r, delta) A, clip(r, 1 - low, 1 + high) A); A < 0: at most -A c",
      "clip_epsilon_low clip_epsilon_high dual_clip delta", 1}},
    {loss_cispo,
     {"cispo", "loss_cispo", "MiniMax-M1, arXiv:2506.13585", "-sg[clip(r, 1 - low, 1 + high)] A logp",
      "clip_epsilon_low clip_epsilon_high", 1}},
    {loss_sapo,
     {"sapo", "loss_sapo", "SAPO, arXiv:2511.20347", "-(4 / tau) sigmoid(tau (r - 1)) A",
      "sapo_temperature_pos sapo_temperature_neg", 1}},
    {loss_vespo,
     {"vespo", "loss_vespo", "VESPO, arXiv:2602.10693",
      "-sg[exp(lambda + k log w - lambda w)] A logp, w = prod_t r_t",
      "vespo_k_pos vespo_lambda_pos vespo_k_neg vespo_lambda_neg", 1}},
    {loss_gmpo,
     {"gmpo", "loss_gmpo", "GMPO, arXiv:2507.20673",
      "-A exp(mean_t d'), d' = d clipped to [-low, high] on the side that A rewards",
      "clip_epsilon_low clip_epsilon_high", 0}},
    {loss_reinforce,
     {"reinforce", "loss_reinforce", "REINFORCE; GPG, arXiv:2504.02546", "-A logp", "", 1}},
    {loss_clip_cov,
     {"clip_cov", "loss_clip_cov", "Clip-Cov, arXiv:2505.22617",
      "clip, times 0 for tokens whose covariance of A and logp lies in a band",
      "clip_epsilon_low clip_epsilon_high clip_cov_ratio clip_cov_lb clip_cov_ub", 1}},
    {loss_kl_cov,
     {"kl_cov", "loss_kl_cov", "KL-Cov, arXiv:2505.22617",
      "-A r, plus coef abs(d) for the tokens with the largest covariance of A and logp",
      "kl_cov_ratio kl_cov_coef", 1}},
    {loss_library, {"library", "loss_library", "yours (algo_plugin.h)", "what the library computes", "", 1}},
};

const loss_method *loss_method_of(grpo_loss_kind kind)
{
    return &methods[kind];
}
