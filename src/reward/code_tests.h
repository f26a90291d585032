/* The tests of a record, in any of the forms that code_record.h lists. */
#ifndef REWARD_CODE_TESTS_H
#define REWARD_CODE_TESTS_H

#include <jansson.h>

#include "grpo/reward.h"

/* {"kind": "calls" or "script", "setup", "entry", "tests"}, as code_run.h has them; NULL with a problem. */
json_t *code_tests(const grpo_reward_record *record, char problem[256]);

#endif
