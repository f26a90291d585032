#!/usr/bin/env bash
# Cross-compiles grpo for ARM64 and runs it under qemu-user: every kernel test, then a short training run whose answers,
# weights and moments must be those of AVX-512, AVX2 and portable C on this machine, bit for bit.
#   scripts/check-arm64.sh [FOLDER]     FOLDER keeps the ARM64 libraries and the build (default: build-arm64)
#   ARM64_SLOW=1                        every model of the test of sampling's exactness, not one of each kind
# Needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user and mmdebstrap, on x86-64. Nothing of the system is changed:
# libraries of Debian 12 for ARM64 are unpacked into FOLDER (350 MB, from the network, once). Exit status 77: skipped.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$here/build-arm64}
packages=libc6-dev,libjansson-dev,libyaml-dev,libpcre2-dev,libcurl4-openssl-dev,libxxhash-dev,zlib1g-dev,libzstd-dev
packages=$packages,libseccomp-dev,libutf8proc-dev,libgmp-dev,libflint-dev,libflint-arb-dev,libcmocka-dev

for tool in aarch64-linux-gnu-gcc qemu-aarch64 mmdebstrap cmake ninja; do
    command -v $tool >/dev/null || {
        echo "SKIPPED: $tool is absent (apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user mmdebstrap)" >&2
        exit 77
    }
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
root=$folder/sysroot
if [ ! -e "$root/complete" ]; then
    rm -rf "$root"
    mmdebstrap --quiet --variant=extract --architectures=arm64 --include="$packages" bookworm "$root" \
        http://deb.debian.org/debian
    touch "$root/complete"
fi

cat >"$folder/toolchain.cmake" <<CMAKE
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_SYSROOT $root)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;$root)
set(ENV{PKG_CONFIG_SYSROOT_DIR} $root)
set(ENV{PKG_CONFIG_LIBDIR} $root/usr/lib/aarch64-linux-gnu/pkgconfig:$root/usr/share/pkgconfig)
CMAKE
launcher=
command -v ccache >/dev/null && launcher=-DCMAKE_C_COMPILER_LAUNCHER=ccache
cmake -S "$here" -B "$folder/arm64" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$folder/toolchain.cmake" $launcher >/dev/null
cmake -S "$here" -B "$folder/native" -G Ninja -DGRPO_TESTS=OFF $launcher >/dev/null
tests=
for source in "$here"/tests/backend/test_*.c "$here"/tests/rollout/test_exactness.c; do
    layer=$(basename "$(dirname "$source")") name=$(basename "$source" .c)
    tests="$tests ${layer}_${name#test_}"
done
# shellcheck disable=SC2086
ninja -C "$folder/arm64" grpo $(printf 'test_%s ' $tests) >"$folder/build.log" || { tail -n 20 "$folder/build.log"; exit 1; }
ninja -C "$folder/native" grpo >"$folder/build.log" || { tail -n 20 "$folder/build.log"; exit 1; }

export QEMU_LD_PREFIX=$root GRPO_SOURCE_DIR=$here GRPO_BINARY=$folder/native/grpo
[ "${ARM64_SLOW:-0}" = 1 ] || export GRPO_TEST_SIZE=small
for name in $tests; do
    SECONDS=0
    qemu-aarch64 "$folder/arm64/tests/test_$name" >"$folder/test.log" 2>&1 && status=0 || status=$?
    case $status in
    0) echo "$name: passed ($SECONDS s)" ;;
    77) echo "$name: SKIPPED" ;;
    *) tail -n 20 "$folder/test.log"; echo "$name: FAILED"; exit 1 ;;
    esac
done

source "$here/tests/train/tiny.sh"
for i in 1 2 3 4 5 6 7 8 9; do echo "{\"prompt\": \"$i + $i =\", \"answer\": \"$((i + i))\"}"; done >"$dir/data.jsonl"
cat >"$dir/run.yaml" <<YAML
model: $dir/model
reward_type: 'format:^[^aeiou]*$'
data: {path: $dir/data.jsonl, held_out: 2, chat: never}
group_size: 4
kl_coef: 0.05
rollout: {prompts_per_step: 4, max_new_tokens: 12, top_p: 0.9}
train: {steps: 4, learning_rate: 0.001, updates_per_rollout: 2, mini_batches: 2}
YAML
qemu-aarch64 "$folder/arm64/grpo" train "$dir/run.yaml" output_dir="$dir/arm64" --quiet threads=2
for isa in avx512 avx2 portable; do
    if ! GRPO_ISA=$isa "$grpo" train "$dir/run.yaml" output_dir="$dir/$isa" --quiet 2>"$dir/said"; then
        grep -q GRPO_ISA "$dir/said" || { cat "$dir/said"; exit 1; }
        echo "run on $isa: SKIPPED, this processor does not have it"
        continue
    fi
    [ "$(weights "$dir/$isa" 4)" = "$(weights "$dir/arm64" 4)" ] || fail "weights differ between neon and $isa"
    cmp "$dir/$isa/samples.jsonl" "$dir/arm64/samples.jsonl" || fail "answers differ between neon and $isa"
    echo "run on $isa: answers, weights and moments are those of neon"
done
