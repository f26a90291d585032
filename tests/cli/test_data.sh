# grpo data make: files, splits, exit codes.
set -eu
grpo=$GRPO_BINARY
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$grpo" data list | grep -q '^addition: '
"$grpo" data make addition,largest --count 400 --seed 3 --split train --out "$dir/train.jsonl"
"$grpo" data make addition,largest --count 400 --seed 3 --split train | cmp - "$dir/train.jsonl"
"$grpo" data make addition,largest --count 200 --seed 4 --split test >"$dir/test.jsonl"
[ "$(cat "$dir"/*.jsonl | sort | uniq -d | wc -l)" = 0 ]
"$grpo" data make parity --count 3 --messages --system 'Be brief.' | head -n 1 |
    grep -q '^{"prompt":\[{"role":"system","content":"Be brief."},{"role":"user","content":"Is the number'
"$grpo" data make multiplication --count 10 max=3 2>"$dir/err" >/dev/null
grep -q 'only 4 different problems.*; 6 of the 10 records repeat them' "$dir/err"

expect() { # exit code, message, arguments
    code=$1 message=$2
    shift 2
    set +e
    "$grpo" data "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    set -e
    [ "$got" = "$code" ] || { echo "$*: exit code $got, wanted $code"; exit 1; }
    grep -qF -- "$message" "$dir/err" || { echo "$*: said"; cat "$dir/err"; echo "wanted $message"; exit 1; }
}
expect 2 "usage: grpo data" frobnicate
expect 2 "did you mean 'addition'?" make additon --count 1
expect 2 "how many records?" make addition
expect 2 "which task?" make --count 3
expect 2 "--count needs a value" make addition --count
expect 2 "--count must be a whole number, got '-3'" make addition --count -3
expect 2 "--split is train, test or all" make addition --count 3 --split dev
expect 2 "there is no option --wrong" make addition --count 3 --wrong
expect 1 "cannot write $dir/none/x.jsonl" make addition --count 3 --out "$dir/none/x.jsonl"
if [ -w /dev/full ]; then
    set +e
    "$grpo" data make addition --count 3 >/dev/full 2>"$dir/err"
    [ $? = 1 ] || { echo "a full disk went unnoticed"; exit 1; }
    set -e
fi
