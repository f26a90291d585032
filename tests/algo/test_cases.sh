# grpo algo: case files without ../shared - own values, comparison, and hostile files.
set -u
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
grpo=${GRPO_BINARY:-build/grpo}
failures=0

fail() { echo "FAILED: $1"; failures=$((failures + 1)); }

# check NAME FILE EXIT PATTERN [ARGS]: exit code and a pattern in stdout or stderr
check() {
    local name=$1 file=$2 code=$3 pattern=$4; shift 4
    "$grpo" algo "$file" "$@" >"$dir/out" 2>&1; local got=$?
    [ "$got" = "$code" ] || fail "$name: exit $got, expected $code: $(head -c 300 "$dir/out")"
    grep -q -- "$pattern" "$dir/out" || fail "$name: no '$pattern' in: $(head -c 400 "$dir/out")"
}

# one case: function, inputs, params, rest
case_file() { printf '{"source":"test","cases":[{"name":"c","function":"%s","inputs":%s,"params":%s%s}]}' \
    "$1" "$2" "$3" "${4:-}" >"$dir/case.json"; }

vanilla=verl.trainer.ppo.core_algos.compute_policy_loss_vanilla
mode='{"loss_agg_mode":"token-mean","clip_ratio":0.2}'
good='{"old_log_prob":[[-1,-2]],"log_prob":[[-1,-2]],"advantages":[[3,3]],"response_mask":[[1,1]]}'

case_file "seed: A = R - mean(R) over contiguous groups of G" '{"rewards":[1,0,3,5]}' '{"group_size":2}'
check "advantages" "$dir/case.json" 0 '"got":{"advantages":\[0.5,-0.5,-1.0,1.0\]}'
"$grpo" algo - <"$dir/case.json" | grep -q '"file":"-","name":"c"' || fail "standard input"
"$grpo" algo <"$dir/case.json" | grep -q '"advantages":\[0.5' || fail "standard input by default"

tolerance=',"tolerance":{"rtol":1e-7,"atol":1e-9}'
case_file $vanilla "$good" "$mode" ",\"expected\":{\"loss\":-3.0}$tolerance"
check "agreement" "$dir/case.json" 0 '^1 passed, 0 failed$' --compare
check "only the expected keys" "$dir/case.json" 0 '"got":{"loss":-3.0}}'
case_file $vanilla "$good" "$mode" ",\"expected\":{\"loss\":-3.000001}$tolerance"
check "out of tolerance" "$dir/case.json" 1 'loss: got -3, expected -3.000001' --compare
check "count" "$dir/case.json" 1 '^0 passed, 1 failed$' --compare
case_file $vanilla "$good" "$mode" ",\"expected\":{\"loss\":-3,\"nonsense\":1}$tolerance"
check "missing result" "$dir/case.json" 1 'nonsense: is missing' --compare
case_file $vanilla "$good" "$mode" ",\"expected\":{\"loss\":-3,\"grad_log_prob\":[[-1.5]]}$tolerance"
check "shape of a result" "$dir/case.json" 1 'has 2 entries, expected 1' --compare
case_file $vanilla "$good" "$mode" ",\"expected\":{\"loss\":\"NaN\"}$tolerance"
check "NaN expected" "$dir/case.json" 1 '^0 passed, 1 failed$' --compare
case_file $vanilla "$good" "$mode" ",\"quirk\":true,\"expected\":{\"loss\":\"NaN\"}$tolerance"
check "quirk without a number" "$dir/case.json" 0 '^quirk .*expected nan' --compare
case_file $vanilla "$good" "$mode" ",\"quirk\":true,\"expected\":{\"loss\":1}$tolerance"
check "quirk with a number" "$dir/case.json" 1 '^0 passed, 1 failed$' --compare
case_file $vanilla "$good" "$mode" ',"expected":{"raises":"ValueError"},"tolerance":null'
check "should have raised" "$dir/case.json" 1 'the reference raises ValueError' --compare

# What the reference refuses, and why we do.
case_file $vanilla "$good" '{"loss_agg_mode":"mean"}' ',"expected":{"raises":"ValueError"},"tolerance":null'
check "unknown mode raises" "$dir/case.json" 0 '"raises":"configuration error"'
check "unknown mode agrees" "$dir/case.json" 0 '^1 passed, 0 failed$' --compare
case_file $vanilla "$good" '{"loss_agg_mode":"token-mean","clip_ratio_c":1}'
check "dual clip" "$dir/case.json" 0 'clip_ratio_c must be above 1'

# Hostile cases: a message on stderr, exit 1, and the other cases still run.
hostile() {
    case_file $vanilla "$2" "$mode"
    check "$1" "$dir/case.json" 1 "$3"
}
hostile "ragged rows" '{"old_log_prob":[[-1,-2]],"log_prob":[[-1,-2]],"advantages":[[3,3]],"response_mask":[[1,1],[1]]}' 'response_mask is ragged'
hostile "wrong shape" '{"old_log_prob":[[-1,-2,-3]],"log_prob":[[-1,-2]],"advantages":[[3,3]],"response_mask":[[1,1]]}' 'old_log_prob is \[1\]\[3\] where \[1\]\[2\]'
hostile "wrong rank" '{"old_log_prob":[-1,-2],"log_prob":[[-1,-2]],"advantages":[[3,3]],"response_mask":[[1,1]]}' 'old_log_prob must be an array of rank 2'
hostile "missing input" '{"log_prob":[[-1,-2]],"advantages":[[3,3]],"response_mask":[[1,1]]}' 'inputs.old_log_prob is missing'
hostile "not a number" '{"old_log_prob":[[-1,"x"]],"log_prob":[[-1,-2]],"advantages":[[3,3]],"response_mask":[[1,1]]}' 'old_log_prob holds something that is not a number'
hostile "mask of 2" '{"old_log_prob":[[-1,-2]],"log_prob":[[-1,-2]],"advantages":[[3,3]],"response_mask":[[1,2]]}' 'mask holds 2'
hostile "scalar input" '{"old_log_prob":7,"log_prob":[[-1,-2]],"advantages":[[3,3]],"response_mask":[[1,1]]}' 'must be an array'
case_file $vanilla '{"old_log_prob":[[-1,"NaN"]],"log_prob":[[-1,-2]],"advantages":[[3,3]],"response_mask":[[1,1]]}' "$mode"
check "NaN under mask 1" "$dir/case.json" 0 'old_logp of row 0, token 1 is not a number'
case_file $vanilla '{"old_log_prob":[],"log_prob":[],"advantages":[],"response_mask":[]}' "$mode"
check "empty batch" "$dir/case.json" 0 '"loss":0.0'
case_file $vanilla "$good" '{"loss_agg_mode":3}'
check "param of the wrong type" "$dir/case.json" 1 'params.loss_agg_mode must be a string'
case_file "no.such.function" "$good" "$mode"
check "unknown function" "$dir/case.json" 1 "there is no function 'no.such.function'"
case_file "seed: A = R - mean(R) over contiguous groups of G" '{"rewards":[1,2,3]}' '{"group_size":2}'
check "group size" "$dir/case.json" 0 'do not divide into groups of 2'
case_file "seed: A = R - mean(R) over contiguous groups of G" '{"rewards":[1,2,3]}' '{}'
check "no group size" "$dir/case.json" 1 'group_size must be at least 1'
case_file verl.utils.torch_functional.logprobs_from_logits '{"logits":[[[1,2]]],"labels":[[2]]}' '{}'
check "token outside the vocabulary" "$dir/case.json" 1 'token id 2 is outside the vocabulary of 2'

printf '{"cases":[{"name":"a"},7,{"name":"b","function":"seed: GAE","inputs":{"rewards":[[1]],"values":[[0,0]]},"params":{}}]}' >"$dir/mixed.json"
check "later cases still run" "$dir/mixed.json" 1 '"name":"b","got":{"deltas":\[\[1.0\]\]'
for text in '' '{' '[]' '{"cases":3}' '{"cases":[1,2' 'null' '{"a":1,"a":2}'; do
    printf '%s' "$text" >"$dir/broken.json"
    check "broken file '$text'" "$dir/broken.json" 1 'grpo algo: .*broken.json'
done
head -c 200000 /dev/zero | tr '\0' '[' >"$dir/deep.json"
check "deep nesting" "$dir/deep.json" 1 'grpo algo:'
check "no such file" "$dir/absent.json" 1 'absent.json'
"$grpo" algo --nonsense >/dev/null 2>&1; [ $? = 2 ] || fail "unknown option must exit with 2"
"$grpo" algo --check --library "$dir/absent.so" >"$dir/out" 2>&1; [ $? = 2 ] || fail "absent library"
grep -q 'cannot load' "$dir/out" || fail "message for an absent library"
source_dir=${GRPO_SOURCE_DIR:-.}
if ${CC:-cc} -shared -fPIC -I "$source_dir/include" -o "$dir/median.so" "$source_dir/examples/algorithm_library.c" -lm 2>/dev/null; then
    "$grpo" config "$source_dir/configs/demo.yaml" algorithm_library="$dir/median.so" >"$dir/out" 2>&1
    grep -q '^advantage_estimator: library' "$dir/out" || fail "library in the configuration: $(head -c 300 "$dir/out")"
else
    echo "no C compiler: the library in the configuration is not tried"
fi
"$grpo" algo --help | grep -q 'usage: grpo algo' || fail "help"
"$grpo" algo --presets | grep -q '^dapo:' || fail "presets"
"$grpo" algo --methods | grep -q 'optimal_token_baseline' || fail "methods"

[ $failures = 0 ] && echo "all cases as expected"
exit $((failures > 0))
