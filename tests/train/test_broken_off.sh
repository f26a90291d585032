#!/usr/bin/env bash
# Runs that break off: a disk that is full at a checkpoint, a limit on file sizes, a loss that is NaN, a gradient that is
# infinite. Each ends with one line and exit code 1, leaves the checkpoints before it intact and nothing half-written, and
# goes on with the bits of a run that never broke off.
source "$(dirname "$0")/tiny.sh"

sums 9
small_run <<YAML
train: {steps: 4, learning_rate: 0.001}
checkpoint: {every: 1, keep_last: 9}
log: {plot: false}
YAML
train() { "$grpo" train "$dir/run.yaml" --quiet "$@" 2>"$dir/said"; }
broken_off() { # RUN EXPECTED arguments: ends with one line, after step 2, with nothing half-written
    local run=$1 expected=$2 code=0; shift 2
    train output_dir="$run" "$@" || code=$?
    [ $code = 1 ] || fail "$*: exit code $code: $(cat "$dir/said")"
    grep -q "^grpo train: .*$expected" "$dir/said" && [ "$(wc -l <"$dir/said")" = 1 ] || fail "$*: $(cat "$dir/said")"
    [ "$(ls "$run/checkpoints")" = "$(printf 'step-%08d\n' 1 2)" ] || fail "$*: $(ls "$run/checkpoints")"
}
goes_on() { # RUN
    train output_dir="$1" --resume || fail "$(cat "$dir/said")"
    [ "$(weights "$1" 4)" = "$whole" ] || fail "$1 went on with other bits"
    [ "$(grep -c '"loss"' "$1/metrics.jsonl")" = 4 ] || fail "$1: not four steps in metrics.jsonl"
}
train output_dir="$dir/whole" || fail "$(cat "$dir/said")"
whole=$(weights "$dir/whole" 4)
train output_dir="$dir/two" train.steps=2 || fail "$(cat "$dir/said")"

# a limit on file sizes, as a quota is: metrics fit, the moments do not
cp -r "$dir/two" "$dir/limit"
(
    trap '' XFSZ
    ulimit -f 100
    broken_off "$dir/limit" "cannot write .*checkpoints/.*: File too large" --resume
)
goes_on "$dir/limit"

# a loss that is NaN, a gradient that is infinite; the answers of that step are there to be looked at
cat >"$dir/bad.c" <<'C'
#include <math.h>
#include "grpo/algo_plugin.h"
static void same(double *a, const double *r, const size_t *length, size_t n) { (void)length; for (size_t i = 0; i < n; i++) a[i] = r[i]; }
static grpo_plugin_term loss(const grpo_plugin_point *p) { (void)p; return (grpo_plugin_term){LOSS, SLOPE, 0}; }
const grpo_algo_plugin *grpo_algo_plugin_entry(void)
{
    static const grpo_algo_plugin plugin = {GRPO_ALGO_PLUGIN_VERSION, sizeof(grpo_algo_plugin), "bad", same, loss};
    return &plugin;
}
C
library() { ${CC:-cc} -shared -fPIC -I "$GRPO_SOURCE_DIR/include" "-DLOSS=$1" "-DSLOPE=$2" -o "$3" "$dir/bad.c" 2>/dev/null; }
if library NAN 1 "$dir/loss.so" && library 1 1e300 "$dir/gradient.so"; then
    for what in "loss:the loss of step 3 is -\?nan; the weights were left" \
                "gradient:the gradient holds NaN or infinity before optimiser step 3; the weights were left"; do
        name=${what%%:*}
        cp -r "$dir/two" "$dir/$name"
        broken_off "$dir/$name" "${what#*:}" --resume algorithm_library="$dir/$name.so"
        grep -q '"step":3' "$dir/$name/samples.jsonl" || fail "$name: the answers of the step are not in samples.jsonl"
        goes_on "$dir/$name"
    done
else
    echo "SKIPPED in part: no C compiler to build a library with" >&2
fi

# a disk that is full at the third checkpoint: a file system of three checkpoints' size that holds something else as well
full_disk() {
    mkdir "$dir/disk"
    mount -t tmpfs -o size=2m none "$dir/disk"
    cp -r "$dir/two" "$dir/disk/run"
    head -c "$(($(df --output=avail -B1 "$dir/disk" | tail -n 1) - 200000))" /dev/zero >"$dir/disk/else"
    broken_off "$dir/disk/run" "cannot write .*checkpoints/.*: No space left on device (free some space" --resume
    rm "$dir/disk/else"
    goes_on "$dir/disk/run"
}
export -f full_disk broken_off goes_on train weights fail
export dir grpo whole
if unshare -rm true 2>/dev/null; then
    unshare -rm bash -euo pipefail -c full_disk
else
    echo "SKIPPED in part: no file system can be mounted here to be filled" >&2
fi
echo "runs that break off go on"
