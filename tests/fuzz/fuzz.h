/* Each tests/fuzz/fuzz_NAME.c is a libFuzzer target. CTest runs it as fuzz.NAME over the files of
 * tests/fuzz/corpus/NAME, cut short and with bytes changed, without libFuzzer (replay.c). For real fuzzing:
 *
 *     cmake -S . -B build-fuzz -G Ninja -DCMAKE_C_COMPILER=clang -DGRPO_FUZZ=ON -DGRPO_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug
 *     build-fuzz/tests/fuzz_gguf -rss_limit_mb=1500 -timeout=10 NEW_FOLDER tests/fuzz/corpus/gguf
 *
 * make-seeds.py wrote the first inputs; what crashed once stays in the corpus.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
