# Sourced after say.sh, key.sh and store.sh: the locked crates, from the store to a directory that
# cargo takes in the place of a registry. Cargo.lock's checksum is the SHA-256 of the package.

# locked_crates: one line "NAME VERSION SHA256" for each crate of others in Cargo.lock.
locked_crates() {
  awk -F'"' '
    function row() {
      if (source == "") return
      if (source !~ /^registry\+/) { print "- " name " " version; return }
      print name, version, sum == "" ? "-" : sum
    }
    /^\[\[package\]\]/ { row(); name = version = source = sum = "" }
    /^name = / { name = $2 } /^version = / { version = $2 }
    /^source = / { source = $2 } /^checksum = / { sum = $2 }
    END { row() }' Cargo.lock
}

# check_crate_locks: a crate that is not pinned by a hash stops everything.
check_crate_locks() {
  local name version hash
  while read -r name version hash; do
    [ "$name" != - ] || die "$version $hash in Cargo.lock does not come from the crate registry"
    [ "$hash" != - ] || die "$name $version in Cargo.lock has no checksum"
  done < <(locked_crates)
}

# fetch_crates: brings every locked crate into the store.
fetch_crates() {
  local name version hash home missing=() file
  check_crate_locks
  mkdir -p "$STORE"
  while read -r name version hash; do
    [ -e "$(stored "$hash")" ] || missing+=("$name $version $hash")
  done < <(locked_crates)
  [ ${#missing[@]} -gt 0 ] || return 0
  home=${CARGO_HOME:-$HOME/.cargo}
  say "fetching ${#missing[@]} crates of Cargo.lock, into $STORE"
  cargo fetch --quiet --locked >&2 ||
    die "crates cannot be fetched, the first is ${missing[0]% *}: no network, or Cargo.lock is not" \
      "what the manifests ask for. Take them from a filled store (COCOON_STORE, see image/README.md)."
  for file in "${missing[@]}"; do
    read -r name version hash <<<"$file"
    file=$(find "$home/registry/cache" -name "$name-$version.crate" -print -quit)
    [ -n "$file" ] || die "cargo did not bring $name $version"
    cp "$file" "$STORE/part.$$"
    store_file "$STORE/part.$$" "$hash"
  done
}

unpack_crates() {
  local into=$1 name version hash stray
  [ ! -e "$into" ] || return 0
  rm -rf "$into.part"
  mkdir -p "$into.part"
  while read -r name version hash; do
    check_stored "$hash" "the crate $name $version"
    # As cargo does it: no crate may write into another one, which may be a guest's.
    stray=$(tar -tzf "$(stored "$hash")" |
      awk -v own="$name-$version/" 'index($0, own) != 1 { print; exit }') || :
    [ -z "$stray" ] || die "the crate $name $version has a file outside of its directory: $stray"
    tar -xzf "$(stored "$hash")" -C "$into.part" --no-same-owner --no-same-permissions ||
      die "cannot unpack the crate $name $version"
    # What cargo asks of such a directory: the package's hash, as in Cargo.lock.
    printf '{"files":{},"package":"%s"}' "$hash" \
      >"$into.part/$name-$version/.cargo-checksum.json" ||
      die "the crate $name $version does not unpack to a directory of its name"
  done < <(locked_crates)
  publish "$into.part" "$into"
}

# crates_directory: the directory with the source of every locked crate, made when it is not there.
crates_directory() {
  local into
  check_crate_locks
  into="$CACHE/crates-$(key_of Cargo.lock ci/lib/crates.sh)"
  if [ ! -e "$into" ]; then
    fetch_crates
    exclusively crates unpack_crates "$into"
  fi
  printf '%s' "$into"
}
