# grpo doctor: says what is there; and what is missing when it is taken away.
set -eu
grpo=$GRPO_BINARY
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$grpo" doctor >"$dir/text" || [ $? = 1 ]
for word in 'processor' 'kernels' 'main memory' 'Jansson' 'FLINT' 'bubblewrap' 'missing,'; do
    grep -q "$word" "$dir/text" || { echo "the report lacks $word"; exit 1; }
done
"$grpo" doctor --json >"$dir/json" || [ $? = 1 ]
[ "$(wc -l <"$dir/json")" = 1 ]
grep -q '{"section":"processor","name":"cores","state":"[a-z]*","value":"[0-9]* of [0-9]* can be used"' "$dir/json"

# Without any program on the path: the sandbox is missing, exit code 1, and the remedy is named.
set +e
PATH=$dir XDG_CACHE_HOME=$dir "$grpo" doctor >"$dir/bare"
code=$?
set -e
[ $code = 1 ] || { echo "exit code $code without bwrap"; exit 1; }
grep -A 1 'bubblewrap .*not found' "$dir/bare" | grep -q 'apt-get install bubblewrap'
grep -A 1 'cached .*nothing in' "$dir/bare" | grep -q 'fetch-model'

# The model cache is seen.
mkdir -p "$dir/grpo"
: >"$dir/grpo/SmolLM2-135M-Instruct.Q4_1.gguf"
XDG_CACHE_HOME=$dir "$grpo" doctor >"$dir/text" || true
grep -q 'cached .*Q4_1.gguf' "$dir/text"

set +e
"$grpo" doctor --wrong 2>/dev/null
[ $? = 2 ] || { echo 'a wrong option is not refused'; exit 1; }
