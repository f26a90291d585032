/* The variable `loop` of a for loop. */
#ifndef TEXT_JINJA_LOOP_H
#define TEXT_JINJA_LOOP_H

#include "text/jinja_ops.h"

typedef struct jinja_loop {
    jinja_value iterable; /* what is iterated, for its length */
    jinja_iterator *items;
    int64_t index0, length; /* length -1: not asked for yet */
    jinja_value after, current, before, changed; /* missing: none */
    const jinja_node *node; /* of a recursive loop, else NULL */
    jinja_frame *outer;     /* what the recursive loop runs in */
    int64_t depth0;
} jinja_loop;

/* The next item, for the loop itself; false at the end. */
bool jinja_loop_next(jinja_run *r, jinja_loop *loop, jinja_value *item);
int64_t jinja_loop_length(jinja_run *r, jinja_loop *loop);

#endif
