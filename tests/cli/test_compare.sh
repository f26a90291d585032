# grpo compare: the table, the examples that changed first, files that do not belong together.
set -eu
grpo=$GRPO_BINARY
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/a" <<'END'
{"prompt":"1+1?","answer":"2","completion":"I think it is\n3","reward":0}
{"prompt":[{"role":"user","content":"2+2?"}],"answer":"4","completion":"4","correct":true}
{"prompt":"3+3?","answer":"6","completion":"6","reward":1,"correct":null}
END
cat >"$dir/b" <<'END'
{"prompt":"1+1?","answer":"2","completion":"The result of the addition of one and one, which is what was asked, is 2.","reward":1}
{"prompt":[{"role":"user","content":"2+2?"}],"answer":"4","completion":"5","correct":false}
{"prompt":"3+3?","answer":"6","completion":"6","reward":1}
END
[ "$("$grpo" compare --brief "$dir/a" "$dir/b")" = '3 2 2' ]
"$grpo" compare "$dir/a" "$dir/b" --show 1 >"$dir/out"
grep -q '^accuracy       66.7%    66.7%$' "$dir/out"
grep -q 'wrong before, right after: 1; right before, wrong after: 1' "$dir/out"
grep -q '^> 1+1?   expected: 2$' "$dir/out"
grep -q '^  before (wrong)  *| after (right)$' "$dir/out"
grep -q '^  3  *| which is what was asked, is 2.$' "$dir/out"
[ "$(grep -c '^>' "$dir/out")" = 1 ]

# what got worse is shown before what stayed
{ sed -n 3p "$dir/a"; sed -n 2p "$dir/a"; } >"$dir/before"
{ sed -n 3p "$dir/b"; sed -n 2p "$dir/b"; } >"$dir/after"
"$grpo" compare --show 1 "$dir/before" "$dir/after" >"$dir/out"
grep -q '^> 2+2?' "$dir/out" || { echo "an answer that became wrong is not shown first"; cat "$dir/out"; exit 1; }
[ "$("$grpo" compare "$dir/before" "$dir/after" --show 0 | grep -c '^>')" = 0 ]

expect() { # message, files
    message=$1
    shift
    if "$grpo" compare "$@" >/dev/null 2>"$dir/err"; then echo "$*: accepted"; exit 1; fi
    grep -qF "$message" "$dir/err" || { cat "$dir/err"; exit 1; }
}
head -n 2 "$dir/b" >"$dir/short"
expect "$dir/a has more records than $dir/short" "$dir/a" "$dir/short"
sed 's/1+1/1+2/' "$dir/b" >"$dir/other"
expect 'line 1: the prompts differ' "$dir/a" "$dir/other"
echo '{"x":1}' >"$dir/none"
expect 'no "completion"' "$dir/a" "$dir/none"
expect 'cannot open' "$dir/a" "$dir/absent"
expect 'grpo compare: two files are needed' "$dir/a"
expect 'grpo compare: --show must be a whole number from 0' "$dir/a" "$dir/b" --show many
