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

# Free the caller from `cd`: everything below works from any directory.
cd "$ROOT"
