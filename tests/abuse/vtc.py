"""The same framing as varnishtest scripts: Varnish's own client and server on both sides of Firstlight."""

import socket
import subprocess
from pathlib import Path

from service import KEY, WAIT_SECONDS

SCRIPTS = Path(__file__).resolve().parent / "vtc"

# Set by abuse.py: where the scripts' servers listen.
upstream = None


def free_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return "127.0.0.1:%d" % server.getsockname()[1]


def run(service, directory, failures):
    scripts = sorted(SCRIPTS.glob("*.vtc"))
    failures.check(scripts, f"vtc: no script in {SCRIPTS}")
    for script in scripts:
        macros = {"firstlight": service.plain.replace(":", " "), "upstream": upstream.replace(":", " "), "key": KEY}
        command = ["varnishtest", *(f"-D{name}={value}" for name, value in macros.items())]
        command += [f"-t{WAIT_SECONDS}", str(script)]
        said = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=2 * WAIT_SECONDS, check=False
        )
        failures.check(said.returncode == 0, f"vtc: {script.name} fails; see below")
        if said.returncode:
            lines = [line for line in said.stdout.splitlines() if line.startswith("----")]
            print("\n".join(lines[-6:]), flush=True)
    print(f"  {len(scripts)} scripts", flush=True)
