#!/usr/bin/env python3
"""A reward as a server: it takes a batch of records and answers with as many rewards.

    python3 examples/rewards/http_reward.py 8000 &
    grpo score --reward http://127.0.0.1:8000/score answers.jsonl

POST {"records": [{"completion": …, "answer": …, …}, …]}; the answer is [reward, …] or {"rewards": [reward, …]}, in the
records' order, each a number, null (could not be scored), or {"reward": …, "problem": …}. A status of 429 or 5xx makes
the trainer try again after a while.

This one rewards short answers that contain the reference. Port 0 takes a free one; the first line says which.
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def judge(record):
    if "answer" not in record:
        return {"reward": None, "problem": "the record has no answer"}
    text = record["completion"]
    return 1 / (1 + len(text.split()) / 100) if record["answer"] in text else 0.0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["records"]
        body = json.dumps({"rewards": [judge(r) for r in records]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000), Handler)
    print(f"listening on port {server.server_address[1]}", flush=True)
    server.serve_forever()
