# Sourced after say.sh: locked inputs, and a store of files named by their hash: SHA-256, or SHA-512
# where the lock gives that (npm).
# Nothing is used whose hash does not stand in a committed lock; where it came from does not matter.

STORE="${COCOON_STORE:-$CACHE/store}"

# stored HASH: the path of that file in the store, whether it is there or not.
stored() { printf '%s/%s' "$STORE" "$1"; }

# hash_like HASH FILE: the file's hash by the function that HASH is one of.
hash_like() {
  case ${#1} in
    64) sha256sum <"$2" ;;
    128) sha512sum <"$2" ;;
    *) die "neither SHA-256 nor SHA-512: $1" ;;
  esac | cut -d' ' -f1
}

# store_file FILE HASH: moves a downloaded file into the store, or stops when it is another file.
store_file() {
  local found
  # apt leaves a link when the mirror is a directory of this machine.
  [ ! -L "$1" ] || cp --remove-destination "$(readlink -f "$1")" "$1"
  found=$(hash_like "$2" "$1")
  [ "$found" = "$2" ] || die "$1: its hash is $found, the lock says $2"
  chmod 0644 "$1"
  mv -f "$1" "$(stored "$2")"
}

# check_stored HASH NAME: a store may come from anyone, so a file is hashed before it is used.
check_stored() {
  [ "$(hash_like "$1" "$(stored "$1")")" = "$1" ] ||
    die "the store's file for $2 is not what its name says: $(stored "$1")"
}

# host_archive main|security: the mirror that this machine's own apt uses for that archive. Debian's
# main archive is known by its -updates suite: other repositories on the machine have none.
host_archive() {
  local suites base
  suites=$(apt-get update --print-uris 2>/dev/null |
    sed -n "s/^'\([^']*\)\/dists\/\([^/]*\)\/InRelease'.*/\2 \1/p")
  case "$1" in
    main) base=$(awk '$1 ~ /-updates$/ { print $2; exit }' <<<"$suites") ;;
    security) base=$(awk '$1 ~ /-security$/ { print $2; exit }' <<<"$suites") ;;
    *) die "no archive is called $1" ;;
  esac
  [ -n "$base" ] ||
    die "apt on this machine names no Debian $1 archive (see apt-get update --print-uris)"
  printf '%s' "$base"
}

# A lock has one line per Debian package: set, archive, name, version, size, SHA-256, path.
lock_lines() { grep -v '^#' "$1"; }

# fetch_debian LOCK: brings every package of the lock into the store.
fetch_debian() {
  local lock=$1 archive name version size hash path missing=0 bytes=0 part
  mkdir -p "$STORE"
  while read -r archive name version size hash path; do
    [ -e "$(stored "$hash")" ] && continue
    missing=$((missing + 1)) bytes=$((bytes + size))
  done < <(lock_lines "$lock")
  [ "$missing" -gt 0 ] || return 0
  say "fetching $missing Debian packages of $(basename "$lock"): $((bytes / 1000000)) MB, into $STORE"
  local -A base=()
  while read -r archive name version size hash path; do
    [ -e "$(stored "$hash")" ] && continue
    [ -n "${base[$archive]:-}" ] || base[$archive]=$(host_archive "$archive")
    part=$(mktemp "$STORE/part.XXXXXX")
    # The path of a pool file is percent-encoded in its URI as apt does it.
    /usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root download-file \
      "${base[$archive]}/$(sed 's/+/%2b/g; s/~/%7e/g' <<<"$path")" "$part" "SHA256:$hash" >&2 ||
      { rm -f "$part"; die "$name $version of $(basename "$lock") cannot be fetched: no network, or" \
        "the mirror has moved on. Take it from a filled store (COCOON_STORE, see image/README.md)" \
        "or renew the locks with ci/relock."; }
    store_file "$part" "$hash"
  done < <(lock_lines "$lock")
}

# unpack_debian LOCK DIR: unpacks every package; no maintainer script ever runs.
unpack_debian() {
  local lock=$1 into=$2 archive name version size hash path
  mkdir -p "$into"
  while read -r archive name version size hash path; do
    check_stored "$hash" "$name $version"
    dpkg-deb -x "$(stored "$hash")" "$into" || die "cannot unpack $name $version"
  done < <(lock_lines "$lock")
}

# toolchain_digest SYSROOT: one hash over the parts of a Rust toolchain that make bytes.
toolchain_digest() {
  local target=x86_64-unknown-linux-gnu
  (
    cd "$1" || exit
    find bin/rustc bin/cargo lib/*.so "lib/rustlib/$target/lib" "lib/rustlib/$target/bin" -type f |
      LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1
  )
}
