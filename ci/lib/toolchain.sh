# Sourced after say.sh, key.sh and store.sh: the Rust toolchain as a locked input.
#
# image/lock/toolchain.lock has two kinds of lines. `dist`: upstream's own files, by the SHA-256 of the
# channel manifest that rustup checked them against and keeps beside what it installed. `tar`: the
# installed files of those components, packed here so that the same files give the same bytes (order,
# owner, mode and time are fixed; documentation is left out). The store holds the `tar`: rustup keeps
# no dist file, and one cannot be made again from what it installed.

RUST_TARGET=x86_64-unknown-linux-gnu
RUST_COMPONENTS=(rustc cargo rust-std clippy-preview rustfmt-preview)

# locked_toolchain: "VERSION SHA256" of the packed toolchain.
locked_toolchain() {
  lock_lines "$ROOT/image/lock/toolchain.lock" | awk '$1 == "tar" { print $3, $4 }'
}

# toolchain_files SYSROOT: what rustup's lists of the components name.
toolchain_files() {
  local component
  for component in "${RUST_COMPONENTS[@]}"; do
    sed -n 's/^file://p' "$1/lib/rustlib/manifest-$component-$RUST_TARGET" ||
      die "$1 is not a toolchain that rustup installed with $component"
  done | grep -v '^share/' | LC_ALL=C sort
}

# pack_toolchain SYSROOT FILE
pack_toolchain() {
  toolchain_files "$1" |
    tar --create --file "$2" --format gnu --no-recursion --hard-dereference --mtime @0 --owner 0 \
      --group 0 --numeric-owner --mode 'u=rwX,go=rX' --directory "$1" --files-from -
}

# dist_lines SYSROOT: upstream's files of an installed toolchain, by rustup's channel manifest.
dist_lines() {
  python3 - "$1/lib/rustlib/multirust-channel-manifest.toml" "$RUST_TARGET" \
    "${RUST_COMPONENTS[@]}" <<'PYTHON'
import sys
import tomllib

manifest, target, *components = sys.argv[1:]
packages = tomllib.load(open(manifest, "rb"))["pkg"]
for component in components:
    file = packages[component]["target"][target]
    path = file["xz_url"].split("/", 3)[3]
    print("dist", component, packages["rust"]["version"].split()[0], file["xz_hash"], path)
PYTHON
}

# check_installed SYSROOT: the installed toolchain came from the files that the lock names.
check_installed() {
  local differing
  differing=$(diff <(lock_lines "$ROOT/image/lock/toolchain.lock" | grep '^dist ') \
    <(dist_lines "$1") | sed -n 's/^[<>] dist //p' | head -n 1) || :
  [ -z "$differing" ] || die "the toolchain in $1 was not installed from the files of" \
    "image/lock/toolchain.lock; the first that differs: ${differing%% *}"
}

# fetch_toolchain: packs the installed toolchain into the store.
fetch_toolchain() {
  local version hash sysroot
  read -r version hash < <(locked_toolchain)
  [ ! -e "$(stored "$hash")" ] || return 0
  mkdir -p "$STORE"
  sysroot=$(rustc --print sysroot) ||
    die "no Rust toolchain is installed: install rustup's $version, or take it from a filled store"
  check_installed "$sysroot"
  say "packing the Rust toolchain $version, into $STORE"
  pack_toolchain "$sysroot" "$STORE/part.$$"
  store_file "$STORE/part.$$" "$hash"
}

unpack_toolchain() {
  [ ! -e "$1" ] || return 0
  check_stored "$2" "the Rust toolchain"
  rm -rf "$1.part"
  mkdir -p "$1.part"
  tar --extract --file "$(stored "$2")" --directory "$1.part" --no-same-owner
  publish "$1.part" "$1"
}

# toolchain_directory: the store's toolchain, unpacked; its `bin` belongs at the front of PATH.
toolchain_directory() {
  local version hash into
  read -r version hash < <(locked_toolchain)
  into="$CACHE/toolchain-$version-${hash:0:16}"
  fetch_toolchain
  exclusively toolchain unpack_toolchain "$into" "$hash"
  printf '%s' "$into"
}
