"""What an operator sets up beside the package, and the fake Azure that stands behind it."""

import json
import shutil
from pathlib import Path
from typing import Any

from container import Container
from texts import CERTIFICATE, KEY

PLAIN_PORT = 8080
TLS_PORT = 8443
# What the load proves itself with, and its SHA-256.
API_KEY = "firstlight-demo"
API_KEY_HASH = "4d787d81347b65c0545c9960a7822b6ae8d866d21e21ca93247cbd31f36dc8ff"
REGIONS = {"eastus2": 9101, "westus3": 9102, "swedencentral": 9103}

# Quick first tokens, then two a second: a stream of 120 tokens takes a minute.
STREAM_TOKENS, STREAM_SECONDS = 120, 60.0
BEHAVIOUR = "ttft_median_ms=30,header_ms=5,gap_ms=500,tokens=1000"

# Longer than a stream.
DRAIN_SECONDS = 90

CA = "/opt/judge/ca.pem"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]

SLOW_DNS_UNIT = """[Unit]
Description=A DNS server that takes its time

[Service]
ExecStart=/usr/bin/python3 -B /opt/judge/slow_dns.py
"""
FAKE_AZURE_UNIT = """[Unit]
Description=Fake Azure OpenAI
Requires=slow-dns.service
After=slow-dns.service

[Service]
ExecStart=/opt/judge/firstlight mock --control {control} {backends}
"""
# Busy machines write more than journald's default allows; a little is enough here.
JOURNALD = """[Journal]
RateLimitIntervalSec=30
RateLimitBurst=100
"""
FAKE_AZURE_CONTROL = "127.0.0.1:9100"


def configuration(**changes: Any) -> str:
    """A configuration file; `changes` replace whole keys of the first level. JSON is YAML."""
    # By a name that has to be looked up, as in production; see slow_dns.
    backends = {name: {"endpoint": f"http://localhost:{port}", "auth": "none"} for name, port in REGIONS.items()}
    fields = {
        "listen": [
            {"address": f"127.0.0.1:{PLAIN_PORT}"},
            {"address": f"127.0.0.1:{TLS_PORT}", "tls": {"certificate": CERTIFICATE, "key": KEY}},
        ],
        "admin": {"address": "127.0.0.1:9090"},
        "backends": backends,
        "models": {"gpt-4o": {}},
        "apps": {"load": {"api_keys": [{"sha256": API_KEY_HASH, "name": "load"}]}},
        "drain_seconds": DRAIN_SECONDS,
    }
    return json.dumps({**fields, **changes}, indent=2) + "\n"


def weighted(weight: int) -> str:
    """The configuration with another weight for one backend."""
    backends = json.loads(configuration())["backends"]
    backends["westus3"]["weight"] = weight
    return configuration(backends=backends)


def put_tools(root: Path, binary: Path) -> None:
    """Puts what runs in the container into its tree, before it boots."""
    tools = root / "opt/judge"
    tools.mkdir(parents=True)
    shutil.copy(binary, tools / "firstlight")
    for module in ["load.py", "traffic.py", "chat.py", "http1.py", "ledger.py", "slow_dns.py"]:
        shutil.copy(Path(__file__).with_name(module), tools)
    backends = " ".join(f"--backend {name}=127.0.0.1:{port},{BEHAVIOUR}" for name, port in REGIONS.items())
    unit = root / "etc/systemd/system/fake-azure.service"
    journald = root / "etc/systemd/journald.conf.d/busy.conf"
    journald.parent.mkdir(exist_ok=True)
    journald.write_text(JOURNALD)
    # No name is known without a look-up.
    (root / "etc/hosts").write_text("")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    unit.with_name("slow-dns.service").write_text(SLOW_DNS_UNIT)
    unit.write_text(FAKE_AZURE_UNIT.format(control=FAKE_AZURE_CONTROL, backends=backends))


def make_authority(container: Container) -> None:
    request = ["-x509", "-subj", "/CN=Test authority", "-keyout", "/opt/judge/ca.key", "-out", CA]
    container.must("openssl", "req", *CURVE, *request)


def make_certificate(container: Container) -> str:
    """Puts a fresh certificate and key in their place, one after the other. Returns the serial number."""
    container.must(
        *["openssl", "req", *CURVE, "-x509", "-CA", CA, "-CAkey", "/opt/judge/ca.key", "-subj", "/CN=localhost"],
        *["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"],
        *["-keyout", "/opt/judge/new.key", "-out", "/opt/judge/new.crt"],
    )
    # The service's group, which the package makes, may read the key; nobody else may.
    place = 'install -D -m 0644 /opt/judge/new.crt "$1" && install -m 0640 -g firstlight /opt/judge/new.key "$2"'
    container.must("sh", "-c", place, "sh", CERTIFICATE, KEY)
    return container.must("openssl", "x509", "-noout", "-serial", "-in", CERTIFICATE)


def served_certificate(container: Container) -> str:
    """The serial number of the certificate that a new connection is shown."""
    show = f"openssl s_client -connect 127.0.0.1:{TLS_PORT} -servername localhost </dev/null 2>/dev/null"
    return container.output("sh", "-c", f"{show} | openssl x509 -noout -serial")


def load_settings() -> dict[str, Any]:
    """What the load is told; see traffic.Settings."""
    ports = {"plain": PLAIN_PORT, "tls": TLS_PORT, "ca": CA}
    return {**ports, "key": API_KEY, "stream_tokens": STREAM_TOKENS, "stream_seconds": STREAM_SECONDS}
