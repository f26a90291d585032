/* Records of data sets: which program is to be judged, and by which tests. */
#ifndef REWARD_CODE_RECORD_H
#define REWARD_CODE_RECORD_H

#include <jansson.h>

#include "reward/code_extract.h"
#include "reward/reward.h"

typedef struct code_settings {
    const char *base;       /* folder of `file` fields; NULL: the current one */
    int programs_in_records; /* `file` and `program` are honoured, and a completion without a fenced block continues its prompt */
    int continues;          /* the completion continues the prompt, even so */
    char compare[16];       /* lines, tokens, numbers */
    code_language language; /* CODE_UNKNOWN: as the record or the fence says, else Python */
} code_settings;

/* A job for code_run; NULL with a problem when the record has no tests or no program, or when these cannot be read.
 * Forms of tests, in this order:
 *   inputs + outputs            lists; with fn_name: arguments and results of a function
 *   tests                       list of Python snippets, or of {"input", "output"}
 *   test_list, test_setup_code  MBPP
 *   check or test               a function check(candidate), for entry_point (HumanEval)
 *   input_output                APPS: an object, or JSON text, with inputs, outputs, fn_name
 *   test_cases, public_test_cases, unit_tests, ground_truth, reward_model.ground_truth (verl), answer
 *                               any of the forms above, as a value or as JSON text */
json_t *code_job(const grpo_reward_record *record, const code_settings *settings, char problem[256]);

#endif
