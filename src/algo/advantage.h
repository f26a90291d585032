/* Advantage estimators: what they share, and their table. Internal to algo/. */
#ifndef ALGO_ADVANTAGE_H
#define ALGO_ADVANTAGE_H

#include "algo/rows.h"

/* One call's view of the batch. Rows without a reward are not in any group. */
typedef struct advantage_work {
    const grpo_algo *algo;
    const grpo_advantage_batch *in;
    grpo_advantages *out;
    size_t *member;     /* [B] scored rows, group after group */
    size_t *group_end;  /* [groups] end of each group in member */
    size_t *group_size; /* [groups] rows of the group, unscored ones included */
    size_t *normalized; /* [B] scratch of normalize_advantages and libraries */
    size_t groups, scored;
    double *token_reward; /* [N] token estimators: given, or built from the row rewards */
    double *column;       /* [2 N + 2 B] scratch of the token baselines and gdpo */
    unsigned char *mask;  /* [N] in->tokens.mask without the unscored rows */
} advantage_work;

typedef grpo_status advantage_function(advantage_work *work, grpo_error *err);

advantage_function advantage_drgrpo, advantage_grpo, advantage_rloo, advantage_opo, advantage_gpg,
    advantage_passk, advantage_gdpo, advantage_reinforce_pp_baseline;
advantage_function advantage_reinforce_pp, advantage_remax, advantage_gae,
    advantage_token_baseline;
advantage_function advantage_library;

#define ADVANTAGE_NEEDS_LENGTHS 1 /* tokens must be given */
#define ADVANTAGE_NEEDS_TOKENS 2  /* and token rewards are built */
#define ADVANTAGE_NEEDS_LOGPS 4   /* old_logp and sum_pi_squared too */

typedef struct advantage_method {
    advantage_function *function;
    int needs;
    grpo_method about;
} advantage_method;
const advantage_method *advantage_method_of(grpo_estimator estimator);

/* Rows [first, end) of member are group g. */
static inline size_t group_first(const advantage_work *w, size_t g)
{
    return g ? w->group_end[g - 1] : 0;
}

/* Mean, standard deviation (algo->std_unbiased, variance_floor) and spread of x[member[..]]. */
typedef struct group_stats {
    size_t count;
    double mean, std;
    int flat; /* all equal, within `tolerance` of their size: deviations count as 0 */
} group_stats;
group_stats stats_of(const grpo_algo *algo, const double *x, const size_t *member, size_t count,
                     double tolerance);

#endif
