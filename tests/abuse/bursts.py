"""Bursts of good requests over HTTP/2 (h2load), in clear and with TLS: each is answered."""

import re
import subprocess

from service import CHAT, KEY, QUESTION

REQUESTS = 1000


def run(service, directory, failures):
    body = directory / "question.json"
    body.write_bytes(QUESTION)
    for name, address in {"h2c": f"http://{service.plain}", "TLS": f"https://{service.tls}"}.items():
        command = ["h2load", "-n", str(REQUESTS), "-c", "20", "-m", "10", "-d", str(body)]
        command += [
            "-H",
            f"api-key: {KEY}",
            "-H",
            "content-type: application/json",
            "--connection-inactivity-timeout=30",
        ]
        said = subprocess.run(
            [*command, address + CHAT],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            stdin=subprocess.DEVNULL,
        ).stdout
        codes = re.search(r"status codes: (\d+) 2xx.*", said)
        finished = re.search(r"finished in .*", said)
        print(
            f"  {name}: {finished[0] if finished else said[-300:]}; {codes[0] if codes else 'no answer'}", flush=True
        )
        failures.check(
            codes and int(codes[1]) == REQUESTS, f"h2load, {name}: not each of {REQUESTS} was answered with 200"
        )
        failures.check("Application protocol: h2" in said, f"h2load, {name}: it was not HTTP/2")
        failures.check(service.alive(), f"h2load, {name}: the process has died")
