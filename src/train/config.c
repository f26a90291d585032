/* The table of a training run's keys. */
#define _GNU_SOURCE
#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "train/config.h"

/* ---- the table ------------------------------------------------------------------------------ */

#define AT(field) .offset = offsetof(train_config, field)
#define ANY_ABOVE_ZERO .min = 0, .max = INFINITY

#define R(field) .offset = offsetof(train_reward, field)
static const schema_row reward_rows[] = {
    {.key = "spec", .type = SCHEMA_STRING, R(spec), .flags = SCHEMA_REQUIRED | SCHEMA_OPTIONAL,
     .help = "The reward, as `grpo score --reward` takes it: math, code, format:REGEX, model:DIR, command:…, …"},
    {.key = "weight", .type = SCHEMA_FLOAT, R(weight), .initial = "1", .help = "Factor in the sum; may be negative."},
    {.key = "name", .type = SCHEMA_STRING, R(name), .flags = SCHEMA_OPTIONAL,
     .help = "Its name in metrics and samples. null: the spec up to its first colon."},
    {.key = "when", .type = SCHEMA_STRING, R(when), .flags = SCHEMA_OPTIONAL,
     .help = "FIELD=VALUE: counts only for records of the data with this value, such as data_source=gsm8k; a dot leads into an "
             "object. null: for all."},
    {.key = "gate", .type = SCHEMA_FLOAT, R(gate), .flags = SCHEMA_OPTIONAL, .initial = "none", .min = -1e6, .max = 1e6,
     .help = "Where this reward is below it, the others count 0 (a form that must hold before correctness counts). none: no gate."},
    {.key = "timeout", .type = SCHEMA_FLOAT, R(timeout), .initial = "0", .min = 0, .max = 86400, .unit = "seconds",
     .help = "Of rewards that run outside: for one answer of a program, for one request to a server. 0: 30."},
    {.key = "workers", .type = SCHEMA_INT, R(workers), .initial = "0", .min = 0, .max = 256,
     .help = "Copies of a program that are kept running (0: 1), requests to a server at once (0: 4)."},
    {.key = "at_once", .type = SCHEMA_INT, R(at_once), .initial = "0", .min = 0, .max = 65536, .unit = "records",
     .help = "Records that a program is sent before it must answer (0: 1), that a request holds at most (0: 64)."},
    {.key = "attempts", .type = SCHEMA_INT, R(attempts), .initial = "0", .min = 0, .max = 100,
     .help = "Of a request that fails or is refused, with a pause that doubles. 0: 4."},
};
static const schema reward_schema = {.rows = reward_rows, .count = sizeof reward_rows / sizeof *reward_rows, .size = sizeof(train_reward)};

static const schema_choice chat_choices[] = {
    {"auto", TRAIN_CHAT_AUTO, "when the model has a chat template"},
    {"always", TRAIN_CHAT_ALWAYS, "a model without one is an error"},
    {"never", TRAIN_CHAT_NEVER, "the prompt is raw text to be continued"},
    {0},
};
static const schema_choice source_choices[] = {
    {"sample", TRAIN_SOURCE_SAMPLE, "this engine draws them"},
    {"data", TRAIN_SOURCE_DATA, "another engine drew them: each record of data.path holds a group's completions"},
    {0},
};
static const schema_choice trunk_choices[] = {
    {"own", TRAIN_TRUNK_OWN, "a second network; the policy's gradients do not meet its own"},
    {"policy", TRAIN_TRUNK_POLICY, "one linear head on the policy's last hidden state, which costs next to nothing; the value "
                                   "loss, times value_coef, trains the trunk too"},
    {0},
};
static const schema_choice old_choices[] = {
    {"engine", TRAIN_OLD_ENGINE, "a forward pass of this engine; the ratio starts at exactly 1"},
    {"sampler", TRAIN_OLD_SAMPLER, "those in the records (verl's bypass mode)"},
    {0},
};
static const schema_choice activation_choices[] = {
    {"auto", TRAIN_ACT_AUTO, "the fastest that fits in train.memory_budget"},
    {"keep", TRAIN_ACT_KEEP, "the rollout's activations are kept for the backward pass"},
    {"checkpoint", TRAIN_ACT_CHECKPOINT, "inputs of layers are kept, a layer at a time is computed again"},
    {"recompute", TRAIN_ACT_RECOMPUTE, "nothing is kept"},
    {0},
};
static const schema_choice schedule_choices[] = {
#define X(symbol, name) {name, symbol, NULL},
    GRPO_SCHEDULE_NAMES(X)
#undef X
    {0},
};

static const schema_choice precision_choices[] = {
    {"auto", MODEL_AUTO, "bf16_weights where the model's file stores its matrices as BF16, else f32: no number of the "
                         "model changes"},
    {"f32", MODEL_F32, "weights and arithmetic"},
    {"bf16_weights", MODEL_BF16_WEIGHTS, "sampling and gradients see weights rounded to bf16, computed in f32; the "
                                         "optimiser keeps an f32 master. Half the bytes to stream when decoding"},
    {"bf16", MODEL_BF16, "bf16_weights, and products round activations and gradients to bf16 too, adding in f32: the "
                         "fastest on AMD processors with AVX512-BF16; elsewhere the same bits, no faster than bf16_weights"},
    {"bf16_amx", MODEL_BF16_AMX, "bf16 with the terms of each sum in the order of AMX: the fastest where the processor has "
                                 "AMX; elsewhere the same bits, slower than f32"},
    {0},
};

static const schema_row run_rows[] = {
    {.key = "The run", .type = SCHEMA_HEADING, .help = "What is trained, and where the results go."},
    {.key = "model", .type = SCHEMA_PATH, AT(model), .flags = SCHEMA_REQUIRED | SCHEMA_OPTIONAL,
     .help = "The model to train: a Hugging Face folder or a .gguf file."},
    {.key = "output_dir", .type = SCHEMA_PATH, AT(output_dir), .initial = "runs/grpo",
     .help = "The run folder: effective configuration, metrics, samples, checkpoints, plots."},
    {.key = "precision", .type = SCHEMA_ENUM, AT(precision), .initial = "auto", .choices = precision_choices,
     .help = "How weights are stored. The ratio is exactly 1 on-policy in each, and a run resumes with the same bits. "
             "An export as BF16 of a run with bf16_weights, bf16 or bf16_amx holds exactly the weights that were sampled from."},
    {.key = "seed", .type = SCHEMA_LONG, AT(seed), .initial = "0", .min = 0, .max = 9007199254740992.0,
     .help = "Every random number of the run is a function of this seed and of its place in the run."},
    {.key = "threads", .type = SCHEMA_INT, AT(threads), .initial = "0", .min = 0, .max = 1024,
     .help = "Threads that compute; 0 means every core. The results do not depend on it."},
};

static const schema_row algorithm_rows[] = {
    {.key = "The algorithm", .type = SCHEMA_HEADING,
     .help = "`algorithm` picks a preset, which sets the other keys of this part as the paper does; any of them can "
             "still be changed. The names are the specification's, then TRL's and verl's."},
    {.key = "algorithm", .type = SCHEMA_ENUM, AT(algorithm), .initial = "spec", .help = "The preset."},
    {.key = "algorithm_library", .type = SCHEMA_PATH, AT(algorithm_library), .flags = SCHEMA_OPTIONAL,
     .help = "A shared library with an estimator or a loss of your own (grpo/algo_plugin.h); sets "
             "`advantage_estimator` or `loss` to `library`."},
    {.key = "group_size", .type = SCHEMA_INT, AT(group_size), .initial = "8", .min = 1, .max = 4096, .unit = "completions",
     .help = "Completions sampled for each prompt (G). Larger groups give better baselines: 8 to 16. TRL 8, verl 1."},
    {.key = "clip_epsilon", .type = SCHEMA_FLOAT, AT(clip_epsilon), .initial = "0.2",
     .flags = SCHEMA_OPTIONAL | SCHEMA_OPEN_MIN | SCHEMA_SHORTHAND,
     ANY_ABOVE_ZERO,
     .help = "Width of the clip on both sides: sets clip_epsilon_low and clip_epsilon_high. Smaller (0.1) when "
             "gradients explode. Acts from the second update of a rollout on: with train.updates_per_rollout and "
             "train.mini_batches 1 the ratio is exactly 1."},
    {.key = "reward_type", .type = SCHEMA_STRING, AT(reward_type), .initial = "math_verifier", .flags = SCHEMA_OPTIONAL,
     .help = "The reward when there is one: math_verifier, code_executor, or any spec that `rewards` takes "
             "(reward_model is model:DIR)."},
    {.key = "rewards", .type = SCHEMA_RECORDS, AT(rewards), .fields = &reward_schema,
     .help = "Several rewards; the sum of weight times reward counts. Used instead of reward_type."},
};

static const schema_row machine_rows[] = {
    {.key = "reward", .type = SCHEMA_SECTION, .instead = "reward_type", .help = "What holds for all rewards."},
    {.key = "reward.unscored_limit", .type = SCHEMA_FLOAT, AT(reward.unscored_limit), .initial = "0.1", .min = 0, .max = 1,
     .help = "The run stops when a larger share of a step's answers could not be scored (a reward failed, timed out or gave no "
             "number). Up to it they are said, and left out of their groups' baselines."},

    {.key = "data", .type = SCHEMA_SECTION, .instead = "data.path", .help = "Where prompts and answers come from."},
    {.key = "data.path", .type = SCHEMA_PATH, AT(data.path), .flags = SCHEMA_REQUIRED | SCHEMA_OPTIONAL,
     .help = "Training records: .jsonl or .csv, also as .gz or .zst."},
    {.key = "data.eval_path", .type = SCHEMA_PATH, AT(data.eval_path), .flags = SCHEMA_OPTIONAL,
     .help = "Held-out records for evaluation during the run."},
    {.key = "data.held_out", .type = SCHEMA_INT, AT(data.held_out), .initial = "0", .min = 0, .max = 1e9, .unit = "records",
     .help = "Sets this many records of data.path aside for evaluation, chosen by the seed. Not with data.eval_path."},
    {.key = "data.limit", .type = SCHEMA_INT, AT(data.limit), .initial = "0", .min = 0, .max = 1e9, .unit = "records",
     .help = "Uses the first records only; 0 means all."},
    {.key = "data.prompt_field", .type = SCHEMA_STRING, AT(data.prompt_field), .flags = SCHEMA_OPTIONAL,
     .help = "Field with the prompt, text or messages. null: `prompt` (TRL, verl), else `question` (GSM8K), "
             "`problem`, `instruction`."},
    {.key = "data.answer_field", .type = SCHEMA_STRING, AT(data.answer_field), .flags = SCHEMA_OPTIONAL,
     .help = "Field with the expected answer, for rewards that need one. A dot leads into an object. null: `answer`, else "
             "`reward_model.ground_truth` (verl), `solution`, `ground_truth`, `target`."},
    {.key = "data.template", .type = SCHEMA_STRING, AT(data.template), .flags = SCHEMA_OPTIONAL,
     .help = "Text of the prompt with {field} for a record's fields, {{ and }} for braces, for instance "
             "\"{question}\\nGive the answer after ####.\". null: the prompt field as it is."},
    {.key = "data.system_prompt", .type = SCHEMA_STRING, AT(data.system_prompt), .flags = SCHEMA_OPTIONAL,
     .help = "System message before the prompt, where the record's messages have none. null: none of ours."},
    {.key = "data.chat", .type = SCHEMA_ENUM, AT(data.chat), .initial = "auto", .choices = chat_choices,
     .help = "Whether prompts go through the model's chat template."},
    {.key = "data.shuffle", .type = SCHEMA_BOOL, AT(data.shuffle), .initial = "true",
     .help = "Takes the records of each epoch in a new order given by the seed. TRL and verl: true."},
    {.key = "data.max_prompt_tokens", .type = SCHEMA_INT, AT(data.max_prompt_tokens), .initial = "0", .min = 0, .max = 1e7,
     .unit = "tokens",
     .help = "Longer prompts are left out and counted. 0: whatever the model's context leaves beside "
             "rollout.max_new_tokens. verl 512."},

    {.key = "rollout", .type = SCHEMA_SECTION, .help = "How completions are sampled."},
    {.key = "rollout.prompts_per_step", .type = SCHEMA_INT, AT(rollout.prompts_per_step), .initial = "8", .min = 1, .max = 65536,
     .unit = "prompts", .help = "Prompts of one step (P); a step samples P times group_size completions. verl 1024."},
    {.key = "rollout.temperature", .type = SCHEMA_FLOAT, AT(rollout.temperature), .initial = "1", .min = 0, .max = 100,
     .flags = SCHEMA_OPEN_MIN, .help = "Divides the logits, in sampling and in training alike. TRL 1, verl 1."},
    {.key = "rollout.top_k", .type = SCHEMA_INT, AT(rollout.top_k), .initial = "0", .min = 0, .max = 1e7, .unit = "tokens",
     .help = "Samples from the k most likely tokens only; 0: off. verl writes off as -1."},
    {.key = "rollout.top_p", .type = SCHEMA_FLOAT, AT(rollout.top_p), .initial = "1", .max = 1, .flags = SCHEMA_OPEN_MIN,
     .help = "Samples from the smallest set of tokens with this much probability; 1: off."},
    {.key = "rollout.min_p", .type = SCHEMA_FLOAT, AT(rollout.min_p), .initial = "0", .min = 0, .max = 1,
     .help = "Leaves out tokens with less than this share of the most likely token's probability; 0: off."},
    {.key = "rollout.max_new_tokens", .type = SCHEMA_INT, AT(rollout.max_new_tokens), .initial = "256", .min = 1, .max = 1e7,
     .unit = "tokens", .help = "A completion that is longer is cut and counts as truncated. TRL 512, verl 512."},
    {.key = "rollout.stop", .type = SCHEMA_STRINGS, AT(rollout.stop),
     .help = "Texts that end a completion, besides the model's own end tokens."},
    {.key = "rollout.slots", .type = SCHEMA_INT, AT(rollout.slots), .initial = "0", .min = 0, .max = 65536, .unit = "sequences",
     .help = "Completions decoded at once; 0: as many as the memory allows. The results do not depend on it."},
    {.key = "rollout.source", .type = SCHEMA_ENUM, AT(rollout.source), .initial = "sample", .choices = source_choices,
     .help = "Where completions come from. data: records hold `completions` as `grpo generate --n --logprobs` writes them, or "
             "`completion_ids` and `logprobs` as lists; `prompt_ids` goes before the prompt's text; `finish` is eos (an end token "
             "stands last), stop or length (cut)."},
    {.key = "rollout.old_logprobs", .type = SCHEMA_ENUM, AT(rollout.old_logprobs), .initial = "engine", .choices = old_choices,
     .help = "With rollout.source data: the old log-probabilities of the ratio. Differences between the two engines are then "
             "sampler_correction's to correct (engine), or part of the ratio (sampler)."},
    {.key = "rollout.reject", .type = SCHEMA_STRING, AT(rollout.reject), .flags = SCHEMA_OPTIONAL,
     .help = "With rollout.source data: takes the mask off tokens or completions whose two log-probabilities lie too far "
             "apart. Criteria with commas between: token, seq_sum, seq_mean or seq_max with _k1, _k2 or _k3. verl "
             "rollout_rs."},
    {.key = "rollout.reject_threshold", .type = SCHEMA_STRING, AT(rollout.reject_threshold), .flags = SCHEMA_OPTIONAL,
     .help = "One threshold for all criteria, or one each with commas between; of k1 a number u for 1/u to u, or low_high. "
             "verl rollout_rs_threshold."},

    {.key = "code", .type = SCHEMA_SECTION, .help = "How the reward code_executor runs programs."},
    {.key = "code.test_timeout", .type = SCHEMA_FLOAT, AT(code.test_timeout), .initial = "5", .min = 0, .max = 3600,
     .flags = SCHEMA_OPEN_MIN, .unit = "seconds", .help = "Time that one test of a program may take."},
    {.key = "code.memory", .type = SCHEMA_BYTES, AT(code.memory), .initial = "2G", .min = 16777216, .max = 9e18,
     .help = "Memory that a program may use, with all processes that it starts."},
    {.key = "code.workers", .type = SCHEMA_INT, AT(code.workers), .initial = "0", .min = 0, .max = 256, .unit = "programs",
     .help = "Programs run at once; 0: one for each core."},
    {.key = "code.unsafe", .type = SCHEMA_BOOL, AT(code.unsafe), .initial = "false",
     .help = "Runs programs of the model WITHOUT A SANDBOX where none can be had (`grpo doctor` says why), instead of refusing. They "
             "have all rights of this process then."},

    {.key = "train", .type = SCHEMA_SECTION, .help = "The optimiser and its memory."},
    {.key = "train.steps", .type = SCHEMA_INT, AT(train.steps), .initial = "0", .min = 0, .max = 1e9, .unit = "rollouts",
     .help = "Length of the run; 0: train.epochs decides."},
    {.key = "train.epochs", .type = SCHEMA_FLOAT, AT(train.epochs), .initial = "1", .max = 1e6, .flags = SCHEMA_OPEN_MIN,
     .help = "Passes over the training prompts, where train.steps is 0. TRL 3, verl 30."},
    {.key = "train.learning_rate", .type = SCHEMA_FLOAT, AT(train.learning_rate), .initial = "1e-6", .min = 0, .max = 1,
     .help = "AdamW's peak learning rate. TRL 1e-6, verl 1e-6."},
    {.key = "train.warmup_steps", .type = SCHEMA_INT, AT(train.warmup_steps), .initial = "0", .min = 0, .max = 1e9,
     .unit = "optimiser steps", .help = "The learning rate rises linearly over these steps."},
    {.key = "train.lr_schedule", .type = SCHEMA_ENUM, AT(train.lr_schedule), .initial = "constant", .choices = schedule_choices,
     .help = "What the learning rate does after the warm-up. TRL linear, verl constant."},
    {.key = "train.min_lr_ratio", .type = SCHEMA_FLOAT, AT(train.min_lr_ratio), .initial = "0", .min = 0, .max = 1,
     .help = "Where linear and cosine end, as a share of train.learning_rate."},
    {.key = "train.weight_decay", .type = SCHEMA_FLOAT, AT(train.weight_decay), .initial = "0", .min = 0, .max = 10,
     .help = "Decoupled weight decay of matrices. TRL 0, verl 0.01."},
    {.key = "train.beta1", .type = SCHEMA_FLOAT, AT(train.beta1), .initial = "0.9", .max = 1, .flags = SCHEMA_OPEN_MAX,
     .help = "AdamW's first decay."},
    {.key = "train.beta2", .type = SCHEMA_FLOAT, AT(train.beta2), .initial = "0.999", .max = 1, .flags = SCHEMA_OPEN_MAX,
     .help = "AdamW's second decay."},
    {.key = "train.adam_eps", .type = SCHEMA_FLOAT, AT(train.adam_eps), .initial = "1e-8", .max = 1, .flags = SCHEMA_OPEN_MIN,
     .help = "AdamW's epsilon."},
    {.key = "train.max_grad_norm", .type = SCHEMA_FLOAT, AT(train.max_grad_norm), .initial = "1", ANY_ABOVE_ZERO,
     .help = "Gradients with a larger norm are scaled down to it; 0: never. TRL 1, verl 1."},
    {.key = "train.updates_per_rollout", .type = SCHEMA_INT, AT(train.updates_per_rollout), .initial = "1", .min = 1, .max = 1000,
     .unit = "passes", .help = "Passes over each rollout (mu)."},
    {.key = "train.mini_batches", .type = SCHEMA_INT, AT(train.mini_batches), .initial = "1", .min = 1, .max = 65536,
     .unit = "optimiser steps", .help = "Parts a pass is cut into, whole groups each, with an optimiser step after each part."},
    {.key = "train.micro_batch_rows", .type = SCHEMA_INT, AT(train.micro_batch_rows), .initial = "0", .min = 0, .max = 1e9,
     .unit = "token rows",
     .help = "Rows of one forward and backward pass; 0: by the memory budget. Changes memory and speed but no bit "
             "of the result."},
    {.key = "train.activations", .type = SCHEMA_ENUM, AT(train.activations), .initial = "auto", .choices = activation_choices,
     .help = "What is kept for the backward pass. Changes memory and speed but no bit of the result."},
    {.key = "train.memory_budget", .type = SCHEMA_BYTES, AT(train.memory_budget), .initial = "0", .min = 0, .max = 9e18,
     .help = "Memory that the run may use; 0: nine tenths of what the machine and its cgroups have free."},
    {.key = "train.reduction_shards", .type = SCHEMA_INT, AT(train.reduction_shards), .initial = "1", .min = 1, .max = 4096,
     .help = "Parts that gradients are summed in. The bits of the result depend on it, and not on the number of processes, "
             "which must divide it. Only 1 is supported so far."},

    {.key = "reference", .type = SCHEMA_SECTION,
     .help = "The policy that the KL is measured from (when kl_coef is not 0, or with log.kl): the starting model."},
    {.key = "reference.sync_steps", .type = SCHEMA_INT, AT(reference.sync_steps), .initial = "0", .min = 0, .max = 1e9,
     .unit = "rollouts", .help = "Rollouts after which it follows the policy; 0: it stays frozen. TRL (sync_ref_model) 512."},
    {.key = "reference.mixup", .type = SCHEMA_FLOAT, AT(reference.mixup), .initial = "1", .max = 1, .flags = SCHEMA_OPEN_MIN,
     .help = "How far it follows: reference += mixup (policy - reference). 1: a refresh; less, with sync_steps 1: a "
             "moving average. TRL 0.6."},

    {.key = "value", .type = SCHEMA_SECTION,
     .help = "PPO's values, which advantage_estimator gae needs (algorithm ppo), learned beside the policy with the same "
             "mini-batches, AdamW settings and gradient limit."},
    {.key = "value.trunk", .type = SCHEMA_ENUM, AT(value.trunk), .initial = "own", .choices = trunk_choices,
     .help = "What the value head stands on. verl has a network of its own, TRL's AutoModelForCausalLMWithValueHead a head on "
             "the policy."},
    {.key = "value.model", .type = SCHEMA_PATH, AT(value.model), .flags = SCHEMA_OPTIONAL,
     .help = "Where a trunk of its own starts: a model with a value or score head, or a language model. null: a copy of the "
             "policy's. A head that the model does not have starts at zero. verl critic.model.path."},
    {.key = "value.learning_rate", .type = SCHEMA_FLOAT, AT(value.learning_rate), .initial = "1e-5", .min = 0, .max = 1,
     .help = "Peak learning rate of the value network, or of the head alone on the policy's trunk; warm-up and schedule are the "
             "policy's. verl 1e-5, TRL as the policy's."},
    {.key = "value.warmup_rollouts", .type = SCHEMA_INT, AT(value.warmup_rollouts), .initial = "0", .min = 0, .max = 1e9,
     .unit = "rollouts",
     .help = "In the first rollouts only the value network, or only the head, learns. verl trainer.critic_warmup."},

    {.key = "lora", .type = SCHEMA_SECTION, .instead = "lora.rank",
     .help = "Low-rank adapters instead of the weights: the model is frozen, adapters beside its matrices are trained, and "
             "checkpoints are PEFT folders. The KL reference is the model itself, without a second copy."},
    {.key = "lora.rank", .type = SCHEMA_INT, AT(lora.rank), .initial = "0", .min = 0, .max = 4096,
     .help = "Rank of the adapters; 0: every weight is trained. TRL 16, verl 0."},
    {.key = "lora.alpha", .type = SCHEMA_FLOAT, AT(lora.alpha), .flags = SCHEMA_OPTIONAL | SCHEMA_OPEN_MIN, .min = 0,
     .max = 1e6, .help = "The adapter counts times alpha / rank. null: twice the rank. TRL 32, verl 16."},
    {.key = "lora.targets", .type = SCHEMA_STRINGS, AT(lora.targets),
     .help = "Linear layers that get an adapter, as PEFT's target_modules: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
             "down_proj, or longer names; all-linear, the default, means all of these."},
    {.key = "lora.dropout", .type = SCHEMA_FLOAT, AT(lora.dropout), .initial = "0", .max = 1, .flags = SCHEMA_OPEN_MAX,
     .help = "Only 0 is possible: with dropout, training would run another policy than the one that was sampled from."},
    {.key = "lora.rslora", .type = SCHEMA_BOOL, AT(lora.rslora), .initial = "false",
     .help = "Rank-stabilised scaling: alpha / sqrt(rank)."},
    {.key = "lora.path", .type = SCHEMA_PATH, AT(lora.path), .flags = SCHEMA_OPTIONAL,
     .help = "An adapter to start from: a PEFT folder or the run folder of an earlier run; rank, alpha and targets are its own. "
             "It is the KL reference then."},

    {.key = "checkpoint", .type = SCHEMA_SECTION, .instead = "checkpoint.every", .help = "What a killed run goes on from (`grpo train --resume`)."},
    {.key = "checkpoint.every", .type = SCHEMA_INT, AT(checkpoint.every), .initial = "50", .min = 0, .max = 1e9, .unit = "steps",
     .help = "Steps between checkpoints; 0: only at the end and on Ctrl-C."},
    {.key = "checkpoint.keep_last", .type = SCHEMA_INT, AT(checkpoint.keep_last), .initial = "2", .min = 1, .max = 1e6,
     .unit = "checkpoints", .help = "Older ones are removed when a new one is complete."},

    {.key = "eval", .type = SCHEMA_SECTION, .instead = "eval.every", .help = "Greedy accuracy on the held-out records."},
    {.key = "eval.every", .type = SCHEMA_INT, AT(eval.every), .initial = "0", .min = 0, .max = 1e9, .unit = "steps",
     .help = "Steps between evaluations; 0: only at the end."},
    {.key = "eval.count", .type = SCHEMA_INT, AT(eval.count), .initial = "0", .min = 0, .max = 1e9, .unit = "records",
     .help = "Held-out records used; 0: all."},
    {.key = "eval.at_start", .type = SCHEMA_BOOL, AT(eval.at_start), .initial = "false",
     .help = "Evaluates before the first step too. verl: true."},

    {.key = "log", .type = SCHEMA_SECTION, .help = "What the run writes besides metrics.jsonl."},
    {.key = "log.samples", .type = SCHEMA_BOOL, AT(log.samples), .initial = "true",
     .help = "Writes every completion with its record, reward and advantage into samples.jsonl, which `grpo score` reads."},
    {.key = "log.plot", .type = SCHEMA_BOOL, AT(log.plot), .initial = "true",
     .help = "Draws plot.svg at the end and at each checkpoint."},
    {.key = "log.kl", .type = SCHEMA_BOOL, AT(log.kl), .initial = "false",
     .help = "Measures the KL to the reference (`kl`) where kl_coef is 0 too, without a penalty. Costs a forward pass a step and the "
             "memory of the reference (none beside a fresh adapter); changes no weight."},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- the options of src/algo become keys of the top level ---------------------------------------- */

enum { MOST_ROWS = 256, MOST_OPTIONS = 128, MOST_ENUMS = 32, MOST_CHOICES = 24 };

static schema_row all_rows[MOST_ROWS];
static char initial_texts[MOST_OPTIONS][48];
static schema_choice all_choices[MOST_ENUMS][MOST_CHOICES];
static schema the_schema = {.rows = all_rows, .size = sizeof(train_config), .foreign = train_foreign_names};
static size_t enums_used;

static void add_rows(const schema_row *rows, size_t count)
{
    assert(the_schema.count + count <= MOST_ROWS);
    memcpy(all_rows + the_schema.count, rows, count * sizeof *rows);
    the_schema.count += count;
}

static const schema_choice *option_choices(const char *const *names)
{
    assert(enums_used < MOST_ENUMS);
    schema_choice *choices = all_choices[enums_used++];
    for (int i = 0; names[i]; i++) {
        assert(i + 1 < MOST_CHOICES);
        choices[i] = (schema_choice){names[i], i, NULL};
    }
    return choices;
}

static const schema_choice *preset_choices(void)
{
    size_t n;
    const grpo_preset *presets = grpo_presets(&n);
    schema_choice *choices = all_choices[enums_used++];
    assert(n < MOST_CHOICES);
    for (size_t i = 0; i < n; i++)
        choices[i] = (schema_choice){presets[i].name, (int)i, presets[i].summary};
    return choices;
}

static schema_row option_row(const grpo_option *option, const grpo_algo *initial, char *text, size_t size)
{
    grpo_algo_get(initial, option, text, size);
    schema_row row = {.key = option->key, .offset = offsetof(train_config, algo) + option->offset, .initial = text,
                      .min = option->min, .max = option->max, .help = option->help, .type = SCHEMA_FLOAT};
    if (row.min > 0 && row.min < 1e-200) { /* the table's way to say "above 0" */
        row.min = 0;
        row.flags = SCHEMA_OPEN_MIN;
    }
    if (option->type == GRPO_OPTION_BOOL) {
        row.type = SCHEMA_BOOL;
        row.flags = SCHEMA_INT_SIZED;
        row.min = row.max = 0;
    } else if (option->type == GRPO_OPTION_CHOICE) {
        row.type = SCHEMA_ENUM;
        row.choices = option_choices(option->choices);
    } else if (strcmp(option->key, "fixed_length") == 0) {
        row.follows = "rollout.max_new_tokens"; /* config_load.c */
    }
    return row;
}

static void build_schema(void)
{
    size_t options;
    const grpo_option *option = grpo_algo_options(&options);
    grpo_algo initial;
    grpo_algo_preset(&initial, NULL, NULL);
    add_rows(run_rows, COUNT(run_rows));
    add_rows(algorithm_rows, COUNT(algorithm_rows));
    all_rows[the_schema.count - COUNT(algorithm_rows) + 1].choices = preset_choices();
    assert(options <= MOST_OPTIONS);
    for (size_t i = 0; i < options; i++) {
        schema_row row = option_row(&option[i], &initial, initial_texts[i], sizeof initial_texts[i]);
        add_rows(&row, 1);
    }
    add_rows(machine_rows, COUNT(machine_rows));
}

const schema *train_schema(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, build_schema);
    return &the_schema;
}
