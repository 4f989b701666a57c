# Sourced: what a fresh Debian 12 or 13 lacks, said before it is installed.
# Nothing installed here reaches measured bytes: those are made in the pinned tools tree of image/.

# Debian packages that building and testing on the host needs, each with the file that proves it.
HOST_PACKAGES=(
  "build-essential:/usr/bin/cc"
  "ca-certificates:/etc/ssl/certs/ca-certificates.crt"
  "git:/usr/bin/git"
  "openssl:/usr/bin/openssl"
  "xz-utils:/usr/bin/xz"
  "python3:/usr/bin/python3"
  "python3-venv:/usr/share/doc/python3-venv"
  "unzip:/usr/bin/unzip"
)

install_host_packages() {
  local missing=() entry
  for entry in "${HOST_PACKAGES[@]}"; do
    [ -e "${entry#*:}" ] || missing+=("${entry%%:*}")
  done
  # Another distribution of Node.js than Debian's serves as well.
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  if [ ${#missing[@]} -eq 0 ]; then
    return 0
  fi
  [ "$(id -u)" = 0 ] || die "needs root to install: ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >&2
}

check_rust() {
  command -v cargo >/dev/null || die "cargo not found: install rustup's toolchain $(
    sed -n 's/^channel = "\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml"), then run this again"
}

set_up_host() {
  install_host_packages
  check_rust
}
