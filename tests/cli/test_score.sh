# grpo score: fields added and kept, order, explanations, messages and exit codes.
set -u
fail() { echo "FAILED: $1"; exit 1; }
score() { "$GRPO_BINARY" score "$@"; }

got=$(printf '%s\n' '{"completion":"so it is 5","answer":"2+3\n#### 5","id":7,"reward":9}' '' '{"completion":"6","answer":5}' | score --reward math)
want='{"completion":"so it is 5","answer":"2+3\n#### 5","id":7,"reward":1.0,"parts":{"math":1.0}}
{"completion":"6","answer":5,"reward":0.0,"parts":{"math":0.0}}'
[ "$got" = "$want" ] || fail "math: $got"

got=$(printf '%s\n' '{"gold":"3","answer":"\\boxed{3}","correct":false}' '{"gold":"3","answer":"\\boxed{4}"}' '{"gold":"3","answer":"\\boxed{9^{9^{9^9}}}"}' | score --reward math)
want='{"gold":"3","answer":"\\boxed{3}","reward":1.0,"parts":{"math":1.0},"correct":true}
{"gold":"3","answer":"\\boxed{4}","reward":0.0,"parts":{"math":0.0},"correct":false}
{"gold":"3","answer":"\\boxed{9^{9^{9^9}}}","reward":0.0,"parts":{"math":0.0},"correct":null}'
[ "$got" = "$want" ] || fail "gold: $got"

# labels in the input never matter
a=$(printf '%s\n' '{"gold":"3","answer":"4","expected":true,"parts":{"math":1},"explain":1}' | score --reward math)
b=$(printf '%s\n' '{"gold":"3","answer":"4","expected":true}' | score --reward math)
[ "$a" = "$b" ] || fail "labels: $a"

got=$(printf '%s\n' '{"text":"ab","kind":"x"}' '{"text":"b","kind":"y"}' |
      score --field text --reward 'format:^a' --weight 2 --name start --reward 'format:b$' --when kind=x --gate 1)
want='{"text":"ab","kind":"x","reward":3.0,"parts":{"start":1.0,"format":1.0}}
{"text":"b","kind":"y","reward":0.0,"parts":{"start":0.0,"format":null}}'
[ "$got" = "$want" ] || fail "composition: $got"

printf '%s\n' '{"completion":"\\boxed{\\frac12}","answer":"0.5"}' | score --reward math --explain |
    grep -q '"explain":{"math":{"verdict":"right","source":"box","extracted":"\\\\frac12"' || fail "explain"
printf '%s\n' '{"completion":"x"}' | score --reward math | grep -q '"reward":null.*"unscored":{"math":"the record has no reference answer"}' ||
    fail "no reference"

message=$(printf '%s\n' '{"completion":"1","answer":"1"}' '{"a":' | score --reward math 2>&1 >/dev/null)
[ $? = 1 ] || fail "exit code of a bad line"
case "$message" in *stdin:2:*) ;; *) fail "bad line: $message" ;; esac
# without the model's text there is nothing to score: no 0 that looks like a wrong answer
refused() { # LINE REASON arguments
    local line=$1 reason=$2 out; shift 2
    out=$(printf '{"completion":"1","answer":"1"}\n%s\n' "$line" | score --batch 1 "$@" 2>&1 >/dev/null) && fail "$line was scored"
    [ "$out" = "grpo score: stdin:2: $reason" ] || fail "$line: $out"
}
text="must be the model's text, or messages of which the last is: it is"
for reward in math format:.* length:max=5; do
    refused '{"answer":"4"}' "\"completion\" $text missing (--field names another)" --reward "$reward"
    refused '{"completion":null,"answer":"4"}' "\"completion\" $text null" --reward "$reward"
    refused '{"completion":true,"answer":"4"}' "\"completion\" $text true" --reward "$reward"
    refused '{"completion":{"a":"4"},"answer":"4"}' "\"completion\" $text an object" --reward "$reward"
    refused '{"completion":[],"answer":"4"}' "\"completion\" $text an empty list" --reward "$reward"
    refused '{"completion":["4"],"answer":"4"}' "\"completion\" $text a list whose last item has no text as its \"content\"" --reward "$reward"
done
refused '{"answer":["4"],"gold":"4"}' "\"answer\" $text a list whose last item has no text as its \"content\"" --reward math
got=$(printf '%s\n' '{"completion":[{"role":"assistant","content":"4"}],"answer":"4"}' '{"completion":4,"answer":4}' | score --reward math | grep -c '"reward":1.0')
[ "$got" = 2 ] || fail "messages and numbers as completions: $got"

score --reward mathe </dev/null 2>/dev/null; [ $? = 2 ] || fail "unknown reward"
score </dev/null 2>/dev/null; [ $? = 2 ] || fail "no reward"
score --weight 1 --reward math </dev/null 2>/dev/null; [ $? = 2 ] || fail "weight before a reward"
score --help | grep -q 'overlong' || fail "help"
echo "all fine"
