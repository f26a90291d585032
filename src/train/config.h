/* The configuration of a training run: the struct that the trainer reads. The table in config.c
 * gives every field its key (the same path as here: c.train.learning_rate is
 * `train.learning_rate`), default, range and help. */
#ifndef TRAIN_CONFIG_H
#define TRAIN_CONFIG_H

#include "train/schema.h"

typedef enum train_preset {
    TRAIN_SPEC, /* the specification: group mean as baseline, sequence ratio, one mean over sequences */
    TRAIN_DRGRPO,
    TRAIN_GRPO,
    TRAIN_DAPO,
    TRAIN_GSPO,
    TRAIN_CISPO,
    TRAIN_RLOO,
    TRAIN_REINFORCE_PP,
    TRAIN_PPO,
} train_preset;

typedef enum train_estimator {
    TRAIN_ADV_GROUP, /* R - group mean, divided as advantage.scale_rewards says */
    TRAIN_ADV_RLOO,
    TRAIN_ADV_REINFORCE_PP,
    TRAIN_ADV_REINFORCE_PP_BASELINE,
    TRAIN_ADV_REMAX,
    TRAIN_ADV_OPO,
    TRAIN_ADV_GPG,
    TRAIN_ADV_PASSK,
    TRAIN_ADV_GAE,
} train_estimator;

typedef enum train_scale { TRAIN_SCALE_NONE, TRAIN_SCALE_GROUP, TRAIN_SCALE_BATCH } train_scale;

typedef enum train_loss {
    TRAIN_LOSS_CLIP, /* -min(r A, clip(r) A) */
    TRAIN_LOSS_CISPO,
    TRAIN_LOSS_SAPO,
    TRAIN_LOSS_VESPO,
    TRAIN_LOSS_GEO_MEAN,
    TRAIN_LOSS_GPG,
} train_loss;

typedef enum train_ratio {
    TRAIN_RATIO_SEQUENCE, /* exp(sum_t log ratio): the specification */
    TRAIN_RATIO_TOKEN,    /* exp(log ratio) per token: PPO, GRPO */
    TRAIN_RATIO_GSPO,     /* exp(mean_t log ratio) */
} train_ratio;

typedef enum train_aggregation {
    TRAIN_AGG_SEQUENCE_MEAN,  /* mean over sequences of one term each, or of the mean over tokens */
    TRAIN_AGG_SEQUENCE_SUM,   /* mean over sequences of the sum over tokens */
    TRAIN_AGG_TOKEN_MEAN,     /* mean over all tokens of the batch */
    TRAIN_AGG_CONSTANT,       /* sum over tokens / (sequences * max_new_tokens): Dr. GRPO */
} train_aggregation;

typedef enum train_kl { TRAIN_KL_K1, TRAIN_KL_K2, TRAIN_KL_K3, TRAIN_KL_ABS } train_kl;
typedef enum train_kl_place { TRAIN_KL_IN_LOSS, TRAIN_KL_IN_REWARD } train_kl_place;
typedef enum train_schedule {
    TRAIN_LR_CONSTANT,
    TRAIN_LR_LINEAR,
    TRAIN_LR_COSINE
} train_schedule;
typedef enum train_activations {
    TRAIN_ACT_AUTO,
    TRAIN_ACT_KEEP,
    TRAIN_ACT_CHECKPOINT,
    TRAIN_ACT_RECOMPUTE
} train_activations;
typedef enum train_chat { TRAIN_CHAT_AUTO, TRAIN_CHAT_ALWAYS, TRAIN_CHAT_NEVER } train_chat;

/* One element of `rewards`. */
typedef struct train_reward {
    char *spec;    /* as `grpo score --reward` takes it: math, code, format:REGEX, … */
    double weight; /* may be negative */
    char *name;    /* in metrics and samples; NULL: the spec up to its first colon */
} train_reward;

typedef struct train_config {
    char *model;
    char *output_dir;
    int64_t seed;
    int threads; /* 0: every core */

    train_preset algorithm; /* already applied to the fields below; kept for reports */
    int group_size;
    double clip_epsilon;
    double kl_coef;
    double gamma, lambda;
    char *reward_type;      /* NULL when `rewards` is used; see train_config_rewards */
    schema_records rewards; /* of train_reward */

    struct {
        char *path, *eval_path; /* eval_path NULL: none */
        int held_out;           /* records of `path` set aside for evaluation */
        int limit;              /* use the first n records only; 0 = all */
        char *prompt_field, *answer_field; /* NULL: found by the data set's form */
        char *template, *system_prompt;    /* NULL: none */
        train_chat chat;
        bool shuffle;
        int max_prompt_tokens; /* 0: what the context leaves */
    } data;

    struct {
        int prompts_per_step;
        double temperature;
        int top_k; /* 0: off */
        double top_p, min_p;
        int max_new_tokens;
        schema_strings stop;
        int slots; /* sequences decoded at once; 0 = as many as memory allows */
    } rollout;

    struct {
        train_estimator estimator;
        train_scale scale_rewards;
        int std_ddof;
        double std_epsilon;
        bool whiten;
    } advantage;

    struct {
        train_loss type;
        train_ratio ratio_level;
        train_aggregation aggregation;
        double clip_epsilon_low, clip_epsilon_high; /* NAN: clip_epsilon; see train_config_clip */
        double dual_clip;                           /* NAN: off */
        double delta;                               /* NAN: off */
        double sapo_temperature_pos, sapo_temperature_neg;
        double entropy_coef;
        bool mask_truncated;
    } loss;

    struct {
        train_kl type;
        train_kl_place in;
    } kl;

    struct {
        int steps;     /* rollouts; 0: by epochs */
        double epochs; /* over the training prompts */
        double learning_rate;
        int warmup_steps;
        train_schedule lr_schedule;
        double min_lr_ratio;
        double weight_decay, beta1, beta2, adam_eps;
        double max_grad_norm;    /* 0: no clipping */
        int updates_per_rollout; /* passes over each rollout (mu) */
        int mini_batches;        /* optimiser steps in one pass */
        int micro_batch_rows;    /* token rows per backward pass; 0 = by the memory budget */
        train_activations activations;
        int64_t memory_budget; /* bytes; 0 = what the machine has free */
        int reduction_shards;
    } train;

    struct {
        int every; /* steps; 0: only at the end */
        int keep_last;
    } checkpoint;

    struct {
        int every; /* steps; 0: only at the end */
        int count; /* held-out records used; 0 = all */
        bool at_start;
    } eval;

    struct {
        bool samples; /* write samples.jsonl */
        bool plot;
    } log;
} train_config;

extern const schema train_schema;

/* Reads `path` (NULL: no file), then the overrides "key.sub=value" in order, over the preset's
 * values, over the defaults; checks every value and how they belong together. *c need not be
 * initialised and is to be released with train_config_deinit after success. */
grpo_status train_config_load(train_config *c, const char *path, const char *const *overrides, size_t count,
                              grpo_error *err);
void train_config_deinit(train_config *c);

/* The lower and upper clip widths in force. */
void train_config_clip(const train_config *c, double *low, double *high);

/* The rewards in force; when only reward_type is given it becomes *single and the list is that. */
const train_reward *train_config_rewards(const train_config *c, train_reward *single, size_t *count);

/* The effective configuration as YAML, readable by train_config_load. */
grpo_status train_config_write(const train_config *c, const char *path, grpo_error *err);

/* Keys that the preset sets, one "key=value" each, NULL at the end. */
const char *const *train_preset_values(train_preset preset);

#endif
