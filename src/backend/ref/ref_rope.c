/* Rotary embedding, plainly. */
#include <math.h>

#include "backend/ref/ref.h"

void ref_rope(float *x, int ldx, int heads, int head_dim, int rot, const float *cos_table,
              const float *sin_table, const int32_t *pos, int inverse, int m)
{
    int half = rot / 2;
    for (int r = 0; r < m; r++)
        for (int h = 0; h < heads; h++) {
            float *lo = x + (size_t)r * ldx + (size_t)h * head_dim, *hi = lo + half;
            for (int i = 0; i < half; i++) {
                float c = cos_table[(size_t)pos[r] * half + i];
                float s = sin_table[(size_t)pos[r] * half + i];
                float a = lo[i], b = hi[i];
                s = inverse ? -s : s;
                lo[i] = fmaf(a, c, -(b * s));
                hi[i] = fmaf(b, c, a * s);
            }
        }
}
