#!/usr/bin/env python3
"""A reward in any language: read one JSON object a line, write one reward a line.

    grpo score --reward "command:python3 examples/rewards/command_reward.py" answers.jsonl
    rewards: [{spec: "command:python3 examples/rewards/command_reward.py", workers: 2, timeout: 10}]

The object is the record of the data set with "completion" and "answer" (the reference) added. An answer is a
number, null (could not be scored), or {"reward": …, "problem": …}. Only answers may go to stdout, one for
each line read, flushed at once; what goes to stderr is shown when the program fails.

This one gives 1 when the last number of the completion is the reference, and a tenth for any number.
"""
import json
import re
import sys

NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")


def judge(record):
    if "answer" not in record:
        return {"reward": None, "problem": "the record has no answer"}
    wanted = NUMBER.findall(record["answer"])
    found = NUMBER.findall(record["completion"])
    if not found:
        return {"reward": 0.0, "read": None}
    right = float(found[-1].replace(",", "")) == float(wanted[-1].replace(",", "")) if wanted else False
    return {"reward": 1.0 if right else 0.1, "read": found[-1]}


for line in sys.stdin:
    print(json.dumps(judge(json.loads(line))), flush=True)
