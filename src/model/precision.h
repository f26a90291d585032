/* How weights are stored and multiplied.
 *
 *   f32           stored as f32, computed in f32
 *   bf16_weights  matrices stored as bf16, computed in f32: the bits that f32 weights of the rounded numbers
 *                 give, at half the bytes. Training keeps an f32 master that the optimiser works on.
 *   bf16          stored as bf16_weights, and every product with a matrix rounds its other operand to bf16 too
 *                 (OPS_BF16_DOT of backend/ops.h), in the forward and the backward pass; sums, attention,
 *                 norms and the optimiser stay f32. An adapter's products stay f32. The bits are the same on every
 *                 machine; it is faster than bf16_weights only on AMD processors with AVX512-BF16.
 *   bf16_amx      bf16 with the terms of a sum in the order of AMX (OPS_BF16_TILE): other bits, again the same on
 *                 every machine; fast where the processor has AMX, a quarter slower than f32 elsewhere.
 *   auto          bf16_weights where the model's file stores every matrix as BF16, f32 elsewhere. So auto
 *                 never changes a number of the model that it is given; a BF16 model is trained the way it
 *                 was made, and its export as BF16 is exactly the policy that was trained. */
#ifndef MODEL_PRECISION_H
#define MODEL_PRECISION_H

#include "backend/ops.h"
#include "model/files.h"

typedef enum model_precision { MODEL_AUTO, MODEL_F32, MODEL_BF16_WEIGHTS, MODEL_BF16, MODEL_BF16_AMX } model_precision;

/* What auto means for these files; other values come back as they are. */
model_precision model_precision_choose(model_precision wanted, const model_files *files);

/* The type of the matrices that forward and backward passes read. */
ops_type model_precision_type(model_precision p);

/* "auto", "f32", "bf16_weights", "bf16", "bf16_amx"; -1 for an unknown name. */
const char *model_precision_name(model_precision p);
int model_precision_parse(model_precision *p, const char *name);

#endif
