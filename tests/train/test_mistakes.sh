#!/usr/bin/env bash
# Mistakes that a run's user makes: one line that says what to change, exit code 1 or 2, and no run folder begun.
source "$(dirname "$0")/tiny.sh"

sums 4
cat >"$dir/run.yaml" <<YAML
model: $dir/model
output_dir: $dir/run
reward_type: math_verifier
data: {path: $dir/data.jsonl, chat: never}
group_size: 4
rollout: {prompts_per_step: 2, max_new_tokens: 8}
train: {steps: 1}
YAML
refused() { # CODE EXPECTED overrides
    local code=$1 expected=$2 got=0; shift 2
    "$grpo" train "$dir/run.yaml" --quiet "$@" >"$dir/out" 2>"$dir/said" || got=$?
    [ $got = "$code" ] || fail "$*: exit code $got: $(cat "$dir/said")"
    grep -q "^grpo train: .*$expected" "$dir/said" && [ "$(wc -l <"$dir/said")" = 1 ] || fail "$*: $(cat "$dir/said")"
    [ ! -e "$dir/run" ] || fail "$*: a run folder was begun"
}
refused 2 "max_new_tokens=512 leaves no room for a prompt in the model's context of 512" rollout.max_new_tokens=512
refused 2 "max_new_tokens=600 leaves no room" rollout.max_new_tokens=600
refused 2 "every training prompt is longer than 2 tokens" rollout.max_new_tokens=510
cp -r "$dir/model" "$dir/mute"; rm "$dir/mute/tokenizer.json"
refused 1 "no text without a tokenizer: .*mute/tokenizer.json" model="$dir/mute"
cp -r "$dir/model" "$dir/judge"
cp "$shared/models/llama-reward/config.json" "$shared/models/llama-reward/model.safetensors" "$dir/judge/"
refused 2 "has no language-model head" model="$dir/judge"
cp -r "$dir/model" "$dir/cut"; truncate -s 3000 "$dir/cut/model.safetensors"
refused 1 "cut/model.safetensors.*truncated or damaged" model="$dir/cut"
refused 1 "matrices of .* must be" lora.path="$shared/models/lora/qwen2-rslora-r4"
refused 2 "did you mean 'train.steps'" train.stepz=3

# a tokenizer of another model, which sampling would show only by answers without text
foreign() { # EXPECTED, PYTHON that changes config c or the vocabulary v
    rm -rf "$dir/foreign"; cp -r "$dir/model" "$dir/foreign"
    python3 - "$dir/foreign" "$2" <<'PY'
import json, sys
paths = [sys.argv[1] + "/config.json", sys.argv[1] + "/tokenizer.json"]
c, t = [json.load(open(p)) for p in paths]
v = t["model"]["vocab"]
exec(sys.argv[2])
for p, x in zip(paths, (c, t)): json.dump(x, open(p, "w"))
PY
    "$grpo" train "$dir/run.yaml" --plan model="$dir/foreign" >"$dir/out" 2>"$dir/said" || fail "$2: $(cat "$dir/said")"
    [ "$(grep -o "WARNING: .*" "$dir/said")" = "${1:+WARNING: $1}" ] || fail "$2: $(cat "$dir/said")"
    "$grpo" generate --model "$dir/foreign" --raw --max-new-tokens 1 "1 + 1 =" 2>"$dir/said" >"$dir/out" || fail "$2: $(cat "$dir/said")"
    [ "$(cat "$dir/said")" = "${1:+grpo: WARNING: $1}" ] || fail "$2: $(cat "$dir/said")"
}
foreign "" "pass"
foreign "" "[v.pop(k) for k in list(v) if v[k] >= 91]"
foreign "the tokenizer has 85 tokens, the model's vocabulary 101: is it another model's? Ids without a token are no text" \
    "[v.pop(k) for k in list(v) if v[k] >= 85]"
foreign "the model's end token 100 is none of the tokenizer's: is that another model's?" \
    "c['eos_token_id'] = 100; [v.pop(k) for k in list(v) if v[k] == 100]"
echo "all fine"
