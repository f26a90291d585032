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
    model_precision precision; /* auto: of the run that wrote the model, else by the file */
    int positions;   /* kept in the key/value store; 0: slots * max context, at most a quarter of free memory */
} session_options;

/* Takes the value of --precision; says so on stderr and returns -1 when there is no such. */
int session_parse_precision(model_precision *p, const char *command, const char *name);

/* Says on a terminal how weights are stored. */
grpo_status session_open(session *s, const session_options *options, grpo_error *err);
void session_close(session *s);

/* An adapter beside a model that has another name than the one it was made for: possible, and rarely meant. */
void session_warn_other_base(const char *made_for, const char *path);

#endif
