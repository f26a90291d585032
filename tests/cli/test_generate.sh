# grpo generate: texts and records, several answers, what is no prompt, output that cannot be written.
set -u
fail() { echo "FAILED: $1"; exit 1; }
m=${GRPO_SMOLLM2:-${XDG_CACHE_HOME:-$HOME/.cache}/grpo/SmolLM2-135M-Instruct.Q4_1.gguf}
[ -f "$m" ] || { echo "SKIPPED: there is no $m"; exit 77; }
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
generate() { "$GRPO_BINARY" generate --model "$m" --max-new-tokens 4 --seed 3 "$@" >"$d/out" 2>"$d/err"; }

# a text with several answers is the record {"prompt": text}
echo '{"prompt":"hi there"}' >"$d/record.jsonl"
generate --n 3 "hi there" || fail "--n 3 TEXT: $(cat "$d/err")"
cp "$d/out" "$d/text"
generate --n 3 "$d/record.jsonl" || fail "--n 3 FILE: $(cat "$d/err")"
cmp -s "$d/text" "$d/out" || fail "a text and its record are answered otherwise: $(cat "$d/text" "$d/out")"
[ "$(grep -o '"finish"' "$d/out" | wc -l)" = 3 ] || fail "not three answers: $(cat "$d/out")"

# a text is shown while it is drawn: the completion, cut at a stop string wherever its tokens begin and end
long="Name the days of the week."
for stop in "" "day, " esda; do
    generate --max-new-tokens 16 --greedy ${stop:+--stop "$stop"} "$long" || fail "stop '$stop': $(cat "$d/err")"
    head -c -1 "$d/out" >"$d/text"
    generate --max-new-tokens 16 --greedy ${stop:+--stop "$stop"} --logprobs "$long" || fail "stop '$stop' as a line"
    python3 -c 'import json, sys; sys.stdout.write(json.load(open(sys.argv[1]))["completion"])' "$d/out" >"$d/completion" || fail "python3"
    cmp -s "$d/text" "$d/completion" || fail "stop '$stop' shows '$(cat "$d/text")' for '$(cat "$d/completion")'"
done

# byte order mark, carriage returns, blank lines, null, fields of an earlier answer
printf '\357\273\277{"prompt":"hi there"}\r\n  \r\n{"prompt":"hi there","ids":null,"completion":"old","finish":"old","note":1}\r\n' >"$d/dos.jsonl"
generate "$d/dos.jsonl" || fail "a file of another system: $(cat "$d/err")"
[ "$(wc -l <"$d/out")" = 2 ] || fail "two records expected: $(cat "$d/out")"
grep -q old "$d/out" && fail "an old field was kept"
grep -q '"note":1' "$d/out" || fail "another field was lost"

generate mistyped.jsonl; [ $? = 1 ] || fail "the name of a file that is not there was answered"
grep -q "cannot open mistyped.jsonl: No such file" "$d/err" || fail "mistyped: $(cat "$d/err")"
for bad in '{"ids":[]}' '{"ids":"x","prompt":"a"}' '{"ids":[999999]}' '{}' '[]' '{'; do
    printf '{"prompt":"a"}\n%s\n' "$bad" >"$d/bad.jsonl"
    generate "$d/bad.jsonl"; [ $? = 1 ] || fail "$bad was accepted"
    [ "$(wc -l <"$d/err")" = 1 ] && grep -q "bad.jsonl:2: " "$d/err" || fail "$bad: $(cat "$d/err")"
done
{ printf '{"ids":[1'; for i in $(seq 9000); do printf ',1'; done; echo ']}'; } >"$d/long.jsonl"
generate "$d/long.jsonl" && fail "a prompt longer than the context was accepted"
grep -q "long.jsonl:1: the prompt has 9001 tokens.*context of 8192" "$d/err" || fail "long: $(cat "$d/err")"

if [ -w /dev/full ]; then
    for input in hi "$d/record.jsonl"; do
        "$GRPO_BINARY" generate --model "$m" --max-new-tokens 2 "$input" >/dev/full 2>"$d/err"
        [ $? = 1 ] && grep -q "cannot write the output" "$d/err" || fail "a full disk is not noticed: $(cat "$d/err")"
    done
fi
echo "all fine"
