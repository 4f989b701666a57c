# Sourced by every script of ci/ and image/: places, progress, and steps with their times.
# Callers run with `set -euo pipefail`.

umask 022
export LC_ALL=C.UTF-8 TZ=UTC
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/cocoon"
mkdir -p "$CACHE"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$CACHE/target}"
PROGRAMS="$CARGO_TARGET_DIR/release"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# step TITLE COMMAND...: runs a command, says when it began and how long it took.
step() {
  local title=$1 began=$SECONDS
  shift
  say "── $title"
  "$@" || { local code=$?; say "── $title: FAILED after $((SECONDS - began)) s"; return "$code"; }
  say "── $title: $((SECONDS - began)) s"
}

# Cargo names what it builds by a package's place in the workspace, and tells fresh from stale by
# time: what another checkout built since would count as this one's. So whoever comes from another
# checkout builds the workspace's own packages anew; those of others stay. Who builds in a target
# holds it until its script ends, and who comes from another checkout waits for that.
own_target() {
  local owner="$CARGO_TARGET_DIR/checkout" held
  mkdir -p "$CARGO_TARGET_DIR"
  exec {held}>>"$CARGO_TARGET_DIR/checkout.lock"
  until flock --shared "$held" && [ "$(cat "$owner" 2>/dev/null)" = "$ROOT" ]; do
    [ "${COCOON_TARGET:-}" != "$CARGO_TARGET_DIR" ] ||
      die "$ROOT builds in the target of the checkout that started it: give it another CARGO_TARGET_DIR"
    flock --unlock "$held"
    flock --exclusive --nonblock "$held" || {
      say "waiting: another checkout builds in $CARGO_TARGET_DIR (another CARGO_TARGET_DIR does not wait)"
      flock --exclusive "$held"
    }
    forget_own "$owner"
    flock --unlock "$held"
  done
  export COCOON_TARGET="$CARGO_TARGET_DIR"
}

# forget_own OWNER: what the target holds of the workspace's own packages, and whose they are now.
forget_own() {
  local name
  if [ "$(cat "$1" 2>/dev/null)" = "$ROOT" ]; then return 0; fi
  for name in $(cat "$ROOT"/{*,*/*,*/*/*}/Cargo.toml 2>/dev/null | sed -n 's/^name = "\(.*\)"/\1/p'); do
    rm -rf "$CARGO_TARGET_DIR"/*/.fingerprint/"$name"-????????????????
  done
  printf '%s\n' "$ROOT" >"$1"
}
own_target

# Free the caller from `cd`: everything below works from any directory.
cd "$ROOT"
