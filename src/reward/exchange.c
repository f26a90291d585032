/* Records and rewards as JSON. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "reward/exchange.h"

static int set_text(json_t *object, const char *key, const char *text, size_t length)
{
    return text ? json_object_set_new(object, key, json_string_lossy(text, length)) : 0;
}

json_t *reward_record_json(const grpo_reward_record *r)
{
    json_t *object = r->fields ? json_copy((json_t *)r->fields) : json_object();
    if (object && (set_text(object, "prompt", r->prompt, r->prompt_length) != 0 ||
                   set_text(object, "completion", r->completion, r->completion_length) != 0 ||
                   set_text(object, "answer", r->answer, r->answer_length) != 0)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static int read_value(reward_score *score, const json_t *value)
{
    if (json_is_number(value))
        score->value = json_number_value(value);
    else if (json_is_boolean(value))
        score->value = json_is_true(value);
    else
        return 0;
    return 1;
}

static void quote(reward_score *score, const char *what, const char *text)
{
    reward_unscored(score, "%s: %.120s", what, text ? text : "");
}

void reward_read_answer(reward_score *score, json_t *answer, reward_detail detail)
{
    const json_t *reward = json_is_object(answer) ? json_object_get(answer, "reward") : answer;
    const char *problem = json_string_value(json_object_get(answer, "problem"));
    if (json_is_object(answer) && detail == REWARD_EXPLAIN)
        score->details = json_pack("{s:O}", "explain", answer);
    if (read_value(score, reward))
        return;
    if (json_is_null(reward) || problem) {
        reward_unscored(score, "%s", problem ? problem : "it answered null: no reward");
        return;
    }
    char *text = json_text(answer);
    quote(score, "the answer is neither a number nor an object with \"reward\"", text);
    mem_free(text);
}

reward_reply reward_read_answer_text(reward_score *score, const char *text, size_t length, json_int_t request,
                                     reward_detail detail)
{
    json_t *answer = NULL;
    if (json_parse(&answer, text, length, "the answer", NULL) == GRPO_OK) {
        const json_t *number = json_object_get(answer, "request");
        int known = json_is_object(answer) || json_is_number(answer) || json_is_boolean(answer) || json_is_null(answer);
        reward_read_answer(score, answer, detail);
        reward_reply reply = number && json_integer_value(number) != request ? REWARD_REPLY_TO_OTHER
                             : known                                         ? REWARD_REPLY
                                                                             : REWARD_NO_REPLY;
        json_decref(answer);
        return reply;
    }
    int no_number = strstr(text, "NaN") || strstr(text, "Infinity");
    quote(score, no_number ? "the reward is not a number" : "the answer is not JSON", text);
    return no_number ? REWARD_REPLY : REWARD_NO_REPLY;
}
