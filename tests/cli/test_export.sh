# grpo export: folder -> GGUF -> folder gives the same weights; what is there is kept; wrong use is said.
set -u
fail() { echo "FAILED: $1"; exit 1; }
shared=${GRPO_SHARED:-$GRPO_SOURCE_DIR/../shared}
[ -d "$shared/models" ] || { echo "SKIPPED: there is no $shared/models"; exit 77; }
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
export_() { "$GRPO_BINARY" export "$@" >"$d/out" 2>"$d/err"; }

for m in llama-tied llama3-rope qwen2 qwen3 qwen3-moe qwen2-sharded; do
    export_ --model "$shared/models/$m" --out "$d/$m" || fail "$m: $(cat "$d/err")"
    [ "$(cat "$d/out")" = "$d/$m" ] || fail "$m: the path is not printed"
    export_ --model "$shared/models/$m" --out "$d/$m.gguf" || fail "$m to GGUF: $(cat "$d/err")"
    export_ --model "$d/$m.gguf" --out "$d/$m-back" || fail "$m back: $(cat "$d/err")"
    cmp -s "$d/$m/model.safetensors" "$d/$m-back/model.safetensors" || fail "$m: other weights on the way back"
done
for m in llama-reward llama-value; do
    export_ --model "$shared/models/$m" --out "$d/$m" || fail "$m: $(cat "$d/err")"
    export_ --model "$d/$m" --out "$d/$m-2" || fail "$m again: $(cat "$d/err")"
    cmp -s "$d/$m/model.safetensors" "$d/$m-2/model.safetensors" || fail "$m: other weights"
    export_ --model "$shared/models/$m" --out "$d/x.gguf" && fail "$m became a GGUF file"
    grep -q "reward and value heads" "$d/err" || fail "$m to GGUF: $(cat "$d/err")"
done
[ ! -e "$d/x.gguf" ] || fail "a refused export left a file"

# rows of 36 are no multiple of 32: those matrices become F16, and that is said
export_ --model "$shared/models/llama-tied" --out "$d/q.gguf" --dtype q8_0 || fail "q8_0"
grep -q "written as F16" "$d/err" || fail "nothing is said of F16: $(cat "$d/err")"

export_ --model "$shared/models/qwen2" --out "$d/q.gguf"; [ $? = 2 ] || fail "a file was overwritten"
export_ --model "$shared/models/qwen2" --out "$d/q.gguf" --overwrite || fail "--overwrite"
export_ --model "$shared/models/qwen2" --out "$d/q2" --dtype q8_0; [ $? = 2 ] || fail "q8_0 folder"
export_ --model "$shared/models/qwen2" --out "$d/q2" --dtype int4; [ $? = 2 ] || fail "unknown dtype"
grep -q "float32" "$d/err" || fail "unknown dtype: $(cat "$d/err")"
export_ --model "$d/nothing" --out "$d/q2"; [ $? = 1 ] || fail "a model that is not there"

# --overwrite replaces models, and nothing else that was named by mistake
export_ --model "$shared/models/qwen2" --out "$d/qwen3"; [ $? = 2 ] || fail "a folder was overwritten"
export_ --model "$shared/models/qwen2" --out "$d/qwen3" --overwrite || fail "--overwrite of a folder"
cmp -s "$d/qwen3/model.safetensors" "$d/qwen2/model.safetensors" || fail "the folder was not replaced"
mkdir -p "$d/home/papers"; touch "$d/home/config.json" "$d/home/papers/thesis"
export_ --model "$shared/models/qwen2" --out "$d/home/" --overwrite; [ $? = 2 ] || fail "a folder with folders was replaced"
[ -e "$d/home/papers/thesis" ] || fail "files are lost"
export_ --model "$shared/models/qwen2" --out "$d/home/papers" --overwrite; [ $? = 2 ] || fail "a folder of other things was replaced"
[ -e "$d/home/papers/thesis" ] || fail "files are lost"
export_ --model "$shared/models/qwen2" --out ""; [ $? = 2 ] || fail "an empty --out"
export_ --model "$shared/models/qwen2" --out "$d/new folder/q.gguf" || fail "a GGUF file in a new folder: $(cat "$d/err")"

# an adapter alone finds its base from where it stands now
a=$shared/models/lora/llama-tied-r4
mkdir "$d/deep"
export_ --model "$a" --out "$d/deep/adapter" --adapter-only || fail "--adapter-only: $(cat "$d/err")"
echo '{"ids":[1,2,3,4]}' >"$d/ids"
"$GRPO_BINARY" logprob --model "$a" "$d/ids" >"$d/before" || fail "logprob of the adapter"
"$GRPO_BINARY" logprob --model "$d/deep/adapter" "$d/ids" >"$d/after" || fail "logprob of the exported adapter"
cmp -s "$d/before" "$d/after" || fail "the exported adapter answers otherwise"
export_ --model "$a" --out "$d/a" --adapter-only --dtype bf16; [ $? = 2 ] || fail "--adapter-only with --dtype"
export_ --model "$a" --out "$d/a.gguf" --adapter-only; [ $? = 2 ] || fail "--adapter-only into a GGUF file"

# reward models have one label
cp -r "$d/llama-reward" "$d/two"
sed 's/"0": "LABEL_0"/"0": "a", "1": "b"/' "$shared/models/llama-reward/config.json" >"$d/two/config.json"
export_ --model "$d/two" --out "$d/x" && fail "two labels were accepted"
grep -q "id2label must have one label" "$d/err" || fail "two labels: $(cat "$d/err")"
echo "all fine"
