# shellcheck shell=bash
# What the scripts share. Sourced, not run.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
clients=$repository/tests/clients
# Scripts change directory, so a relative one would change its meaning.
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-$repository/target}")
export CARGO_TARGET_DIR

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

has() {
  command -v "$1" >/dev/null 2>&1
}

# install_missing WHAT...: installs the Debian packages that WHAT lacks, if that is allowed without asking.
# Otherwise it ends the script with the line to run.
install_missing() {
  local missing as_root=() what
  mapfile -t missing < <(for what in "$@"; do "missing_for_$what"; done)
  ((${#missing[@]})) || return 0
  has apt-get || fail "missing: ${missing[*]} (Debian's package names). Install them with your package manager."
  ((EUID == 0)) || as_root=(sudo)
  if ((EUID != 0)) && ! sudo -n true 2>/dev/null; then
    fail "missing: ${missing[*]}. Run this, then try again:
  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
  fi
  printf 'Installing %s\n' "${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The C parts of the dependencies: ring and mimalloc need a compiler, zlib-ng needs cmake.
missing_for_build() {
  # gcc without the headers is no compiler.
  if ! echo '#include <stdlib.h>' | cc -fsyntax-only -x c - 2>/dev/null; then echo gcc; echo libc6-dev; fi
  has make || echo make
  has cmake || echo cmake
}

# The official SDKs, and typos, which comes with the Python ones.
missing_for_clients() {
  has python3 || echo python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  has node || echo nodejs
  has npm || echo npm
}

# tests/abuse: load and attacks from Debian's own tools, and a certificate to meet them with.
missing_for_abuse() {
  has python3 || echo python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  has slowhttptest || echo slowhttptest
  has h2load || echo nghttp2-client
  has varnishtest || echo varnish
  has openssl || echo openssl
}

# The tests of scripts/azure: they bring an az of their own.
missing_for_azure() {
  has python3 || echo python3
}

# scripts/package: what packs.
missing_for_package() {
  has python3 || echo python3
  has dpkg-shlibdeps || echo dpkg-dev
  has strip || echo binutils
}

# scripts/package --check: what judges units, scripts and packages.
missing_for_check() {
  has systemd-analyze || echo systemd
  has shellcheck || echo shellcheck
  has lintian || echo lintian
}

# A Debian to boot, and what boots it. Debian's keys prove that it is one.
missing_for_service() {
  has systemd-nspawn || echo systemd-container
  has debootstrap || echo debootstrap
  [[ -f /usr/share/keyrings/debian-archive-keyring.gpg ]] || echo debian-archive-keyring
  has setpriv && has nsenter || echo util-linux
  has python3 || echo python3
}

need_rust() {
  has cargo || fail "cargo is missing. Install Rust with rustup (rust-toolchain.toml says which), then try again."
  # Where rustup is, this also fetches the toolchain that rust-toolchain.toml pins.
  (cd "$repository" && cargo --version >/dev/null) || fail "cargo does not start in $repository; see above."
}

# need_component COMMAND COMPONENT: a part of the toolchain that minimal installations lack.
need_component() {
  (cd "$repository" && cargo "$1" --version >/dev/null 2>&1) && return
  has rustup || fail "cargo $1 is missing. Install the component $2 of your Rust toolchain, then try again."
  (cd "$repository" && rustup component add "$2") || fail "could not add $2. Run: rustup component add $2"
}

# Installs the pinned SDKs, unless they are there and their pins have not changed since.
prepare_clients() {
  local venv=$clients/.venv modules=$clients/node_modules
  if ! cmp -s "$clients/requirements.txt" "$venv/installed.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$clients/requirements.txt" ||
      fail "pip could not install $clients/requirements.txt; see above."
    cp "$clients/requirements.txt" "$venv/installed.txt"
  fi
  (($(node -p 'process.versions.node.split(".")[0]') >= 18)) ||
    fail "node $(node --version) is too old: install version 18 or newer."
  if ! cmp -s "$clients/package-lock.json" "$modules/installed.json"; then
    (cd "$clients" && npm ci --silent --no-fund --no-audit) ||
      fail "npm could not install $clients/package-lock.json; run 'npm ci' there to see why."
    cp "$clients/package-lock.json" "$modules/installed.json"
  fi
}

# What a script could not do on this machine, with the reason; told at its end, where it is seen.
skipped=()

# test_service: the tests under a real systemd, where this machine can boot one. The executable is built already.
test_service() {
  local why
  why=$("$repository/tests/service/run" --why-not)
  if [[ -n $why ]]; then
    skipped+=("the service under systemd (tests/service/run): $why")
    printf 'SKIPPED: %s\n' "${skipped[-1]}" >&2
  else
    "$repository/tests/service/run" --binary "$CARGO_TARGET_DIR/debug/firstlight"
  fi
}

# tell_skipped: the last thing that a script says, if it left something out.
tell_skipped() {
  ((${#skipped[@]})) || return 0
  printf '\n!!!! NOT TESTED on this machine:\n' >&2
  printf '!!!!   %s\n' "${skipped[@]}" >&2
}
