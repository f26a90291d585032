/* Jobs of the element by element kernels (body_elementwise.h). */
#ifndef BACKEND_CPU_JOB_ELEMENTWISE_H
#define BACKEND_CPU_JOB_ELEMENTWISE_H

#include <stddef.h>

enum { ELEMENTS_PER_ITEM = 4096 };

typedef struct adamw_job {
    float grad_scale, keep, beta1_rest, beta2, beta2_rest, root_bias2, eps, step; /* see ops_adamw_step */
    float *param, *m, *v;
    const float *grad;
    size_t n;
} adamw_job;

typedef struct squares_job {
    const float *x;
    size_t n;
    double *sums; /* one for each item */
} squares_job;

/* An item is a row. */
typedef struct add_job {
    float *y;
    const float *x;
    int ldy, ldx, n;
} add_job;

#endif
