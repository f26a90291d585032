/* Jobs of the kernels for mixtures of experts (body_experts.h). An item is a row everywhere. */
#ifndef BACKEND_CPU_JOB_EXPERTS_H
#define BACKEND_CPU_JOB_EXPERTS_H

#include "backend/ops.h"

typedef struct route_job {
    int32_t *expert;
    float *weight, *z;
    int ldz, experts, used, renormalise;
    const float *dweight; /* route_grad */
} route_job;

typedef struct combine_job {
    float *y;
    const float *x;
    int ldy, ldx;
    const int32_t *place;
    const float *weight;
    int used, first, count, n;
} combine_job;

typedef struct scale_job {
    float *dot, *d, *x;
    int ldd, ldx;
    const float *weight;
    int n;
} scale_job;

#endif
