"""What Firstlight says and promises, as it is looked for here: one place to change when the words change."""

UNIT = "firstlight.service"
BINARY = "/usr/bin/firstlight"
CONFIGURATION = "/etc/firstlight/firstlight.yaml"
CERTIFICATE = "/etc/firstlight/tls.crt"
SECRETS = "/etc/firstlight/secrets"
KEY = f"{SECRETS}/tls.key"
ADMIN = "http://127.0.0.1:9090"

# The `message` of a line of the service log.
RELOADED = "configuration reloaded"
REFUSED = "configuration refused, the old one keeps serving"
UPGRADED = "upgrade: the new process serves, this one drains"
UPGRADE_FAILED = "upgrade failed, this process keeps serving"
UPGRADE_REFUSED = "upgrade refused, another is under way"
RECALLED = "starting with what was learned before"
DRAINED_BACKEND = "backend drained by an operator"
ENABLED_BACKEND = "backend enabled by an operator"
SERVING = "serving"
DRAINING = "draining"
STOPPED = "stopped"

# Exit codes of `firstlight run`.
EXIT_PROBLEMS = 1
EXIT_CANNOT_START = 3

# What a line that tells why the service does not start has to contain.
PORT_TAKEN = "127.0.0.1:8080"
KEY_UNREADABLE = KEY
CERTIFICATE_BAD = CERTIFICATE

# What `firstlight` answers that is asked for an upgrade, or for a drain, during another upgrade.
UNDER_WAY = "an upgrade is under way"

# `systemd-analyze security` counts in tenths.
SECURITY_THRESHOLD = 20
