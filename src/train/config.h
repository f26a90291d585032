/* The configuration of a training run: the struct that the trainer reads. The table in config.c
 * gives every field its key (the same path as here: c.train.learning_rate is
 * `train.learning_rate`; the fields of c.algo stand at the top level: `kl_coef`), default, range
 * and help. */
#ifndef TRAIN_CONFIG_H
#define TRAIN_CONFIG_H

#include <math.h>

#include "grpo/algo.h"
#include "model/precision.h"
#include "train/schema.h"

typedef enum train_activations {
    TRAIN_ACT_AUTO,
    TRAIN_ACT_KEEP,
    TRAIN_ACT_CHECKPOINT,
    TRAIN_ACT_RECOMPUTE
} train_activations;

typedef enum train_chat { TRAIN_CHAT_AUTO, TRAIN_CHAT_ALWAYS, TRAIN_CHAT_NEVER } train_chat;

typedef enum train_trunk { TRAIN_TRUNK_OWN, TRAIN_TRUNK_POLICY } train_trunk;
typedef enum train_source { TRAIN_SOURCE_SAMPLE, TRAIN_SOURCE_DATA } train_source;
typedef enum train_old { TRAIN_OLD_ENGINE, TRAIN_OLD_SAMPLER } train_old;

/* One element of `rewards`. */
typedef struct train_reward {
    char *spec;    /* as `grpo score --reward` takes it: math, code, format:REGEX, … */
    double weight; /* may be negative */
    char *name;    /* in metrics and samples; NULL: the spec up to its first colon */
    char *when;    /* NULL, or FIELD=VALUE: only for records with this value */
    double gate;   /* NAN: none; else the other rewards count 0 where this one is below it */
    double timeout;                /* these four: 0 = the kind's default; grpo_reward_item says more */
    int workers, at_once, attempts;
} train_reward;

#define TRAIN_REWARD_DEFAULT {.weight = 1, .gate = NAN}

typedef struct train_config {
    char *model;
    char *output_dir;
    model_precision precision;
    int64_t seed;
    int threads; /* 0: every core */

    int algorithm; /* index into grpo_presets(); already applied to `algo`, kept for reports */
    char *algorithm_library; /* NULL: none; already loaded into `algo` */
    int group_size;
    double clip_epsilon;    /* NAN when algo.clip_epsilon_low and _high differ; read those */
    char *reward_type;      /* NULL when `rewards` is used; see train_config_rewards */
    schema_records rewards; /* of train_reward */
    struct {
        double unscored_limit; /* share of a step's answers */
    } reward;
    grpo_algo algo;

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
        train_source source;
        train_old old_logprobs;           /* with source data */
        char *reject, *reject_threshold; /* NULL: nothing is rejected */
    } rollout;

    struct { /* programs that the reward code_executor runs */
        double test_timeout; /* seconds */
        int64_t memory;      /* bytes */
        int workers;         /* programs at once; 0: one a core */
        bool unsafe;         /* without a sandbox where there is none */
    } code;

    struct {
        int steps;     /* rollouts; 0: by epochs */
        double epochs; /* over the training prompts */
        double learning_rate;
        int warmup_steps;
        grpo_schedule lr_schedule;
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
        int sync_steps; /* rollouts between updates of the reference; 0: frozen */
        double mixup;   /* share of the policy that it then takes over */
    } reference;

    struct {
        train_trunk trunk;
        char *model;          /* own trunk: where it starts; NULL: the policy's, copied */
        double learning_rate;
        int warmup_rollouts;  /* of these only the values are learned */
    } value; /* PPO's values; used by advantage_estimator gae */

    struct {
        int rank; /* 0: no adapter, unless path names one */
        double alpha; /* NAN: twice the rank */
        schema_strings targets; /* empty: all-linear */
        double dropout;
        bool rslora;
        char *path; /* the adapter to start from; NULL: a fresh one */
    } lora;

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
        bool kl; /* measure the KL to the reference without a penalty too */
    } log;
} train_config;

/* The table; built once, never freed. */
const schema *train_schema(void);

/* Reads `path` (NULL: no file), then the overrides "key.sub=value" in order, over the preset's
 * values, over the defaults; checks every value and how they belong together. *c need not be
 * initialised and is to be released with train_config_deinit after success. */
grpo_status train_config_load(train_config *c, const char *path, const char *const *overrides, size_t count,
                              grpo_error *err);
void train_config_deinit(train_config *c);

/* The rewards in force; when only reward_type is given it becomes *single and the list is that. */
const train_reward *train_config_rewards(const train_config *c, train_reward *single, size_t *count);

/* The effective configuration as YAML, readable by train_config_load. */
grpo_status train_config_write(const train_config *c, const char *path, grpo_error *err);

/* Appends "key: value" for every key whose value is not that of an empty file. */
grpo_status train_config_put_changed(strbuf *out, const train_config *c, grpo_error *err);

/* The reference page docs/config.md. */
void train_config_put_reference(strbuf *out);

/* What TRL and verl call our keys. */
extern const schema_foreign train_foreign_names[];

#endif
