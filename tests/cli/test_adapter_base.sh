# An adapter beside a model of another name than the one it was made for: one warning where the shapes fit, and the same
# result; both names in the refusal where they do not; silence where the names agree.
set -u
fail() { echo "FAILED: $1"; exit 1; }
shared=${GRPO_SHARED:-$GRPO_SOURCE_DIR/../shared}
[ -d "$shared/models" ] || { echo "SKIPPED: there is no $shared/models"; exit 77; }
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
adapter=$shared/models/lora/llama-tied-r4 own=$shared/models/llama-tied
cp -r "$own" "$d/stranger"
mkdir -p "$d/elsewhere" && cp -r "$own" "$d/elsewhere/llama-tied"

logprobs() { echo '{"ids":[5,9,40,33]}' | "$GRPO_BINARY" logprob --model "$1" --adapter "$adapter" 2>"$d/err"; }
gradient() { "$GRPO_BINARY" grad --model "$1" --adapter "$adapter" --case "$own/golden/golden.json" --loss seq 2>"$d/err"; }
export_adapter() {
    "$GRPO_BINARY" export --model "$1" --adapter "$adapter" --out "$d/merged" >/dev/null 2>"$d/said"; local code=$?
    grep -v "no tokenizer" "$d/said" >"$d/err"
    [ $code = 0 ] && cat "$d/merged/model.safetensors" && rm -r "$d/merged"
}
for command in logprobs gradient export_adapter; do
    $command "$own" >"$d/own" || fail "$command: $(cat "$d/err")"
    [ ! -s "$d/err" ] || fail "$command beside its own base: $(cat "$d/err")"
    $command "$d/elsewhere/llama-tied" >"$d/out" || fail "$command: $(cat "$d/err")"
    [ ! -s "$d/err" ] || fail "$command beside a base of the same name: $(cat "$d/err")"
    $command "$d/stranger" >"$d/out" || fail "$command: $(cat "$d/err")"
    [ "$(cat "$d/err")" = "grpo: WARNING: the adapter was made for \"../../llama-tied\", and the model is $d/stranger" ] ||
        fail "$command beside a stranger: $(cat "$d/err")"
    cmp -s "$d/own" "$d/out" || fail "$command: another name gives another result"
    $command "$shared/models/qwen2" >"$d/out" && fail "$command: an adapter that does not fit was taken"
    grep -q "must be .*made for \"../../llama-tied\", the model is $shared/models/qwen2$" "$d/err" || fail "$command: $(cat "$d/err")"
done
echo "all fine"
