# The reward that each procedural task names accepts its answer in a sentence and in a box, and
# refuses another one.
set -eu
grpo=$GRPO_BINARY
count=40
share() { # completion (\1 stands for the answer) -> number of records with reward 1
    sed "s/\"answer\":\"\([^\"]*\)\"/\"answer\":\"\1\",\"completion\":\"$1\"/" | "$grpo" score --reward math | grep -c '"reward":1\(\.0\)\?[,}]' || true
}
status=0
for task in $("$grpo" data list | sed -n 's/^\([a-z_]*\): .*reward: math.*/\1/p') base.base=16; do
    parameters=
    case $task in *=*) parameters=$task task=${task%%.*} ;; esac
    records=$("$grpo" data make "$task" $parameters --count $count --seed 5 --phrasing mixed)
    sentence=$(echo "$records" | share 'The answer is \1.')
    box=$(echo "$records" | share 'So it is \\\\boxed{\1}.')
    wrong=$(echo "$records" | share 'The answer is \17.')
    if [ "$sentence $box $wrong" != "$count $count 0" ]; then
        echo "$task: $sentence and $box of $count right answers accepted, $wrong wrong ones"
        status=1
    fi
done
exit $status
