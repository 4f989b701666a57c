# Sourced after say.sh, key.sh, store.sh and crates.sh: programs of others that are built from their
# crate, with the crate's own Cargo.lock, from the store. A lock `image/lock/NAME.lock` has one line
# "program NAME VERSION SHA256", and one line "crate NAME VERSION SHA256" for each crate of that
# Cargo.lock, so that what belongs in the store is known without the store.

# The channel's own cargo, in directories where no rust-toolchain.toml says so.
RUST_CHANNEL=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")

# program_of LOCK: "NAME VERSION SHA256".
program_of() { lock_lines "$1" | awk '$1 == "program" { print $2, $3, $4 }'; }

# program_crates LOCK: "NAME VERSION SHA256" for each crate that it needs.
program_crates() { lock_lines "$1" | awk '$1 == "crate" { print $2, $3, $4 }'; }

# cached_crate NAME VERSION: the path of a crate's package as cargo keeps it; nothing when it does not.
cached_crate() {
  find "${CARGO_HOME:-$HOME/.cargo}/registry/cache" -name "$1-$2.crate" -print -quit 2>/dev/null || :
}

# download_crate NAME VERSION: the same, after cargo was asked for it.
download_crate() {
  # `cargo info` brings one package; elsewhere than here, where it would look into Cargo.lock first.
  [ -n "$(cached_crate "$1" "$2")" ] ||
    (cd / && RUSTUP_TOOLCHAIN=$RUST_CHANNEL cargo info --quiet "$1@$2" >/dev/null 2>&1) || :
  cached_crate "$1" "$2"
}

# unpack_program LOCK DIR: the program's own package, its Cargo.lock compared with the lock.
unpack_program() {
  local lock=$1 into=$2 name version hash file
  read -r name version hash < <(program_of "$lock")
  mkdir -p "$STORE"
  if [ ! -e "$(stored "$hash")" ]; then
    say "fetching the crate $name $version, into $STORE"
    file=$(download_crate "$name" "$version")
    [ -n "$file" ] || die "the crate $name $version cannot be fetched: no network, or the registry" \
      "has no such version. Take it from a filled store (COCOON_STORE, see image/README.md)."
    cp "$file" "$STORE/part.$$"
    store_file "$STORE/part.$$" "$hash"
  fi
  check_stored "$hash" "the crate $name $version"
  mkdir -p "$into"
  tar -xzf "$(stored "$hash")" -C "$into" --strip-components=1 --no-same-owner --no-same-permissions
  compare_program_lock "$lock" "$into"
}

# What the program's Cargo.lock names and the lock does not, or the reverse, stops the build.
compare_program_lock() {
  local differing
  differing=$(diff <(program_crates "$1" | LC_ALL=C sort) \
    <(cd "$2" && locked_crates | LC_ALL=C sort) | sed -n 's/^[<>] //p' | head -n 1) || :
  [ -z "$differing" ] || die "${differing% *}: $(basename "$1") and the program's own Cargo.lock" \
    "do not name the same crates"
}

# program_source LOCK DIR: fills DIR with `source`, the program's own package, and `crates`, the
# directory that cargo takes in the place of a registry.
program_source() {
  unpack_program "$1" "$2/source"
  (
    export RUSTUP_TOOLCHAIN=$RUST_CHANNEL
    cd "$2/source"
    fetch_crates
    unpack_crates "$2/crates"
  )
}

# fetch_program LOCK: brings all of it into the store.
fetch_program() {
  local work
  work=$(mktemp -d "$CACHE/program.XXXXXX")
  unpack_program "$1" "$work/source"
  (cd "$work/source" && RUSTUP_TOOLCHAIN=$RUST_CHANNEL fetch_crates)
  rm -rf "$work"
}
