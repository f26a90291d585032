/* What the commands that run a model share: opening it with threads and an engine. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "rollout/language_model.h"
#include "model/engine.h"

typedef struct session {
    pool *threads;
    language_model lm;
    engine e;
} session;

typedef struct session_options {
    const char *model;
    const char *adapter; /* a PEFT folder beside the model, or NULL */
    int threads;     /* 0: all cores */
    int max_context; /* 0: the model's own */
    int slots;       /* sequences decoded at once */
    int positions;   /* kept in the key/value store; 0: slots * max context, at most a quarter of free memory */
} session_options;

grpo_status session_open(session *s, const session_options *options, grpo_error *err);
void session_close(session *s);

#endif
