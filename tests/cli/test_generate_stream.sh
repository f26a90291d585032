# grpo generate prints an answer as soon as it and those before it are complete, in the order of the input and whatever
# the batch; what was printed before an interruption are whole lines; a text shown while it is drawn is the completion.
set -u
fail() { echo "FAILED: $1"; exit 1; }
shared=${GRPO_SHARED:-$GRPO_SOURCE_DIR/../shared}
[ -d "$shared/models" ] || { echo "SKIPPED: there is no $shared/models"; exit 77; }
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
for i in $(seq 60); do echo "{\"ids\":[$((i % 50 + 5)),$((i % 31 + 40))],\"number\":$i}"; done >"$d/in.jsonl"
command=("$GRPO_BINARY" generate --model "$shared/models/llama-tied" --seed 4 --max-new-tokens 400 "$d/in.jsonl")
generate() { "${command[@]}" "$@"; }

# answers end at uneven lengths and come in order: alone, and in batches that are refilled
generate --slots 1 >"$d/alone" || fail "slots 1"
grep -q '"finish":"eos"' "$d/alone" || fail "no answer ends early, so that none can overtake another"
for slots in 7 32; do
    generate --slots $slots >"$d/batch" || fail "slots $slots"
    cmp -s "$d/alone" "$d/batch" || fail "--slots $slots gives other lines"
done
[ "$(grep -o '"number":[0-9]*' "$d/alone")" = "$(seq 60 | sed 's/^/"number":/')" ] || fail "not the order of the input"

# interrupted after the first line: the lines so far, whole
mkfifo "$d/pipe"
"${command[@]}" --slots 1 --ignore-eos >"$d/pipe" 2>"$d/err" &
pid=$!
exec 3<"$d/pipe"
IFS= read -r first <&3
kill -INT $pid
{ printf '%s\n' "$first"; cat <&3; } >"$d/part"
wait $pid; [ $? = 1 ] || fail "an interrupted command succeeds"
grep -q interrupted "$d/err" || fail "no word of the interruption: $(cat "$d/err")"
n=$(wc -l <"$d/part")
[ "$n" -ge 1 ] && [ "$n" -lt 60 ] || fail "$n lines of 60 before the interruption: nothing is printed early"
generate --slots 1 --ignore-eos | head -n "$n" | cmp -s - "$d/part" || fail "the lines before the interruption are others"

# output that nobody takes ends the work: 60 answers of 400 tokens are not drawn in vain
if [ -w /dev/full ]; then
    generate --slots 1 --ignore-eos >/dev/full 2>"$d/err"
    [ $? = 1 ] && [ "$(cat "$d/err")" = "grpo generate: cannot write the output: No space left on device" ] ||
        fail "a full disk: $(cat "$d/err")"
fi
echo "all fine"
