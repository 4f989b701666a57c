# Sourced after say.sh and store.sh: locked Python packages, brought into the store.

# fetch_wheel REQUIREMENT HASH: by pip from the registry that this machine is set up for; the lock's
# hash decides what is taken.
fetch_wheel() {
  local requirement=$1 hash=$2 work pip=(python3 -m pip)
  mkdir -p "$STORE"
  [ ! -e "$(stored "$hash")" ] || return 0
  say "fetching the Python package $requirement, into $STORE"
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
