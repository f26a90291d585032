/* The one place that includes FLINT and Arb: FLINT 2 with Arb beside it, or FLINT 3 that contains it. */
#ifndef REWARD_FLINT_H
#define REWARD_FLINT_H

#include <flint/flint.h>
#include <flint/fmpq.h>
#include <flint/fmpz.h>
#include <flint/fmpz_mpoly.h>
#include <flint/nmod_vec.h>
#include <flint/ulong_extras.h>
#if __FLINT_VERSION >= 3
#include <flint/acb.h>
#include <flint/arb.h>
#else
#include <acb.h>
#include <arb.h>
#endif

#endif
