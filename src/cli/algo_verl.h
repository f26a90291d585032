/* What verl's loss cases and its other cases share. */
#ifndef CLI_ALGO_VERL_H
#define CLI_ALGO_VERL_H

#include "cli/algo_loss_case.h"

/* loss_agg_mode with verl's global counts. */
void verl_set_aggregation(loss_case *l, const char *mode);
/* kl, k1, abs, mse, k2, low_var_kl, k3, each with an optional '+'. */
void verl_set_kl(algo_case *c, grpo_algo *algo, const char *type);
/* rollout_rs_threshold, a number or "lower_upper,..."; text is used for numbers. */
const char *verl_thresholds(algo_case *c, json_t *value, char *text, size_t size);

#endif
