#!/bin/bash
# grpo generate --greedy on the reference models of ../shared/models, folders and GGUF files: the tokens of transformers.
# (They have no tokenizer: prompts are ids.)
set -eu
models=${GRPO_SHARED:-$GRPO_SOURCE_DIR/../shared}/models
[ -d "$models" ] || { echo "SKIPPED: $models is absent"; exit 77; }
checked=0

# The numbers of the list "key" in the object "greedy" of a golden file.
greedy() { tr -d ' \n' < "$1" | grep -o '"greedy":{[^}]*}' | grep -o "\"$2\":\[[0-9,]*\]" | grep -o '\[.*\]'; }

check() { # model, golden file
    local prompt tokens count got
    prompt=$(greedy "$2" prompt)
    tokens=$(greedy "$2" tokens)
    count=$(tr -cd , <<< "$tokens" | wc -c)
    got=$(echo "{\"ids\":$prompt}" | "$GRPO_BINARY" generate --model "$1" --greedy --ignore-eos --threads 1 \
          --max-new-tokens $((count + 1)) | grep -o '"completion_ids":\[[0-9,]*\]' | grep -o '\[.*\]')
    [ "$got" = "$tokens" ] || { echo "$1: $got, expected $tokens"; exit 1; }
    checked=$((checked + 1))
}

for golden in "$models"/*/golden/golden.json; do
    model=$(dirname "$(dirname "$golden")")
    grep -q '"greedy"' "$golden" && check "$model" "$golden"
done
for golden in "$models"/gguf/golden/*.json; do
    check "$models/gguf/$(basename "$golden" .json).gguf" "$golden"
done
echo "$checked models"
[ $checked -ge 12 ]
