/* Records and rewards as JSON: what programs (`command`) and servers (`http`) are sent, and how their
 * answers are read.
 *
 * A record is the data set's own record with "prompt" (where it is known as text), "completion" and
 * "answer" (the reference) set to what is being scored. An answer is a number, true or false, null (could
 * not be scored), or an object with "reward", one of these, and, where it is null, "problem". */
#ifndef REWARD_EXCHANGE_H
#define REWARD_EXCHANGE_H

#include "reward/reward.h"

/* A new object; NULL when out of memory. */
json_t *reward_record_json(const grpo_reward_record *record);

/* Reads one answer into a score; whatever is no reward becomes a problem. With REWARD_EXPLAIN an answer
 * that is an object is kept as details. */
void reward_read_answer(reward_score *score, json_t *answer, reward_detail detail);

typedef enum reward_reply {
    REWARD_REPLY,         /* an answer, if perhaps no reward */
    REWARD_NO_REPLY,      /* not an answer at all: whoever wrote it may be out of step */
    REWARD_REPLY_TO_OTHER /* an object whose "request" is not the number given: it is out of step */
} reward_reply;

/* The same from a text. (NaN and Infinity, which JSON lacks and Python writes, are answers that are no reward.) */
reward_reply reward_read_answer_text(reward_score *score, const char *text, size_t length, json_int_t request,
                                     reward_detail detail);

#endif
