/* Inputs of targets that read folders: one input is several files, put one after another with the line
 * "=====" between them; the last gets the rest, whatever stands in it. */
#ifndef TESTS_FUZZ_SCRATCH_H
#define TESTS_FUZZ_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

/* Path of a file or ("" or NULL) of this process's scratch folder, in memory where the system has /dev/shm.
 * The folder goes when the process ends normally. Valid until the fourth next call. */
const char *scratch_path(const char *name);

/* Writes (or overwrites) a file of the scratch folder. */
void scratch_write(const char *name, const void *bytes, size_t size);

/* Writes the parts of an input under the names, in order; files that have no part are removed. */
void scratch_split(const char *const *names, size_t count, const uint8_t *data, size_t size);

/* The first part of an input; *rest is what follows the separator (NULL when there is none). */
size_t scratch_cut(const uint8_t *data, size_t size, const uint8_t **rest, size_t *rest_size);

#endif
