# Models without a tokenizer, by token ids: no old result beside a new one; what is no list of ids and no loss is refused.
set -u
fail() { echo "FAILED: $1"; exit 1; }
shared=${GRPO_SHARED:-$GRPO_SOURCE_DIR/../shared}
[ -d "$shared/models" ] || { echo "SKIPPED: there is no $shared/models"; exit 77; }
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
m=$shared/models/qwen3-moe

# an answer is ids alone: no text of another answer beside them
echo '{"ids":[1,2],"completion":"old","completion_ids":[0]}' | "$GRPO_BINARY" generate --model "$m" --greedy \
    --max-new-tokens 2 >"$d/out" || fail "generate from ids"
grep -q old "$d/out" && fail "an old completion was kept: $(cat "$d/out")"
grep -q '"completion_ids":\[[0-9]*,[0-9]*\]' "$d/out" || fail "no ids: $(cat "$d/out")"

echo '{"ids":[1,2,3],"logprobs":"old","prompt":"a","completion":"b","temperature":5}' | "$GRPO_BINARY" logprob --model "$m" >"$d/out" || fail "logprob"
echo '{"ids":[1,2,3]}' | "$GRPO_BINARY" logprob --model "$m" >"$d/plain"
[ "$(grep -o '"logprobs":[^]]*' "$d/out")" = "$(grep -o '"logprobs":[^]]*' "$d/plain")" ] || fail "other fields count: $(cat "$d/out")"
for command in logprob generate; do
    for bad in '"a"' 3 '{}' '[1.5]' '[-1]' '["1"]'; do
        echo "{\"ids\":$bad}" | "$GRPO_BINARY" $command --model "$m" >"$d/out" 2>"$d/err"
        [ $? = 1 ] && grep -q 'stdin:1: "ids" must be' "$d/err" || fail "$command of $bad: $(cat "$d/err")"
    done
done

"$GRPO_BINARY" grad --model "$m" --case "$m/golden/golden.json" --loss nosuch >"$d/out" 2>"$d/err"
[ $? = 2 ] && grep -q "no loss 'nosuch'" "$d/err" || fail "an unknown loss: $(cat "$d/err")"

# lists of a case that are no ids, or no numbers, or too short: the file and the field
faulty() { # MODEL PATCH EXPECTED
    python3 -c 'import json, sys; case = json.load(open(sys.argv[1])); exec(sys.argv[2]); json.dump(case, open(sys.argv[3], "w"))' \
        "$shared/models/$1/golden/golden.json" "$2" "$d/case.json" || { echo "SKIPPED: python3 is absent"; exit 77; }
    "$GRPO_BINARY" grad --model "$shared/models/$1" --case "$d/case.json" >"$d/out" 2>"$d/err" && fail "$2 was accepted"
    [ "$(cat "$d/err")" = "grpo grad: $d/case.json: $3" ] || fail "$2: $(cat "$d/err")"
}
faulty qwen3-moe 'case["grpo"]["completions"][0][0] = -1' "grpo.completions: token ids must be integers inside the vocabulary"
faulty qwen3-moe 'case["grpo"]["old_logprobs"][1][0] = "x"' "grpo.old_logprobs: numbers are needed"
faulty qwen3-moe 'case["grpo"]["loss_mask"][0].pop()' "grpo.loss_mask: a row has another length than its completion"
faulty llama-value 'case["sequences"][0]["prompt"][0] = 1.5' "prompt: token ids must be integers inside the vocabulary"
faulty llama-value 'case["sequences"][0]["returns"].pop()' "returns: one number for each token of the completion is needed"
echo "all fine"
