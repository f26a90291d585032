/* The create functions of all kinds of rewards; the kinds stand in reward_kinds.def. */
#ifndef REWARD_REWARD_KINDS_H
#define REWARD_REWARD_KINDS_H

#include "reward/reward.h"

#define X(name, create, summary) reward_create_fn create;
#include "reward/reward_kinds.def"
#undef X

#endif
