# Sourced after say.sh and store.sh: the locked npm packages of contracts/ and tests/ton-testnode, by
# the SHA-512 that package-lock.json gives, and the tree that npm makes of them without a registry.

# locked_npm: one line "NAME VERSION SHA512" for each package that x86-64 Linux takes; "- NAME REASON"
# for one that is not pinned by a hash.
locked_npm() {
  python3 - contracts/package-lock.json <<'PYTHON'
import base64
import json
import sys


def is_taken(wanted, here):
    named = [name for name in wanted if not name.startswith("!")]
    return "!" + here not in wanted and (not named or here in named)


for place, package in json.load(open(sys.argv[1]))["packages"].items():
    # The first entry is the project itself.
    if not place:
        continue
    name = package.get("name", place.rsplit("node_modules/", 1)[-1])
    kind, _, digest = package.get("integrity", "").partition("-")
    if not (is_taken(package.get("os", []), "linux") and is_taken(package.get("cpu", []), "x64")):
        continue
    if "resolved" in package or package.get("link"):
        print("-", name, "does not come from the npm registry")
    elif kind != "sha512" or " " in digest:
        print("-", name, "has no SHA-512")
    else:
        print(name, package["version"], base64.b64decode(digest, validate=True).hex())
PYTHON
}

# check_npm_lock: a package that is not pinned by a hash stops everything.
check_npm_lock() {
  local list name version reason
  list=$(locked_npm) && [ -n "$list" ] || die "contracts/package-lock.json is not of npm's form"
  while read -r name version reason; do
    [ "$name" != - ] || die "$version in contracts/package-lock.json $reason"
  done <<<"$list"
}

# Where npm keeps what it downloaded, by its SHA-512.
npm_cached() { printf '%s/_cacache/content-v2/sha512/%s/%s/%s' "$1" "${2:0:2}" "${2:2:2}" "${2:4}"; }

# fetch_npm: brings every locked package into the store.
fetch_npm() {
  local name version hash missing=() wanted=() cache package
  check_npm_lock
  mkdir -p "$STORE"
  while read -r name version hash; do
    [ -e "$(stored "$hash")" ] || missing+=("$name $version $hash")
  done < <(locked_npm)
  [ ${#missing[@]} -gt 0 ] || return 0
  say "fetching ${#missing[@]} npm packages of contracts/package-lock.json, into $STORE"
  cache=$(npm config get cache)
  for package in "${missing[@]}"; do
    read -r name version hash <<<"$package"
    [ -e "$(npm_cached "$cache" "$hash")" ] || wanted+=("$name@$version")
  done
  [ ${#wanted[@]} = 0 ] || npm cache add --loglevel=error -- "${wanted[@]}" >&2 ||
    die "npm packages cannot be fetched, the first is ${wanted[0]}: no network, or the registry has" \
      "no such version. Take them from a filled store (COCOON_STORE, see image/README.md)."
  for package in "${missing[@]}"; do
    read -r name version hash <<<"$package"
    [ -e "$(npm_cached "$cache" "$hash")" ] ||
      die "npm did not bring $name $version as contracts/package-lock.json pins it"
    cp "$(npm_cached "$cache" "$hash")" "$STORE/part.$$"
    store_file "$STORE/part.$$" "$hash"
  done
}

# npm takes a package from a file when the lock says so: a lock that names the store's files, under
# names that end as npm expects.
name_stored_packages() {
  local into=$1 name version hash
  mkdir "$into/packages"
  while read -r name version hash; do
    check_stored "$hash" "the npm package $name $version"
    ln -s "$(readlink -f "$(stored "$hash")")" "$into/packages/$hash.tgz"
  done < <(locked_npm)
  python3 - "$into/package-lock.json" <<'PYTHON'
import base64
import json
import sys

lock = json.load(open(sys.argv[1]))
for place, package in lock["packages"].items():
    if place:
        digest = base64.b64decode(package["integrity"].partition("-")[2]).hex()
        package["resolved"] = f"file:packages/{digest}.tgz"
json.dump(lock, open(sys.argv[1], "w"))
PYTHON
}

# install_npm TREE: the tree that package-lock.json names, at TREE/node_modules.
install_npm() {
  local tree=$1 fresh
  fetch_npm
  fresh=$(mktemp -d "$CACHE/npm-install.XXXXXX")
  cp contracts/package.json contracts/package-lock.json contracts/.npmrc "$fresh/"
  name_stored_packages "$fresh"
  # No package may run code at install time; none of the locked ones needs to.
  (cd "$fresh" && npm ci --offline --ignore-scripts --no-fund --no-audit --loglevel=error >&2) ||
    { rm -rf "$fresh"; die "npm does not make the tree that contracts/package-lock.json names"; }
  rm -rf "$fresh/packages" "$tree"
  cp contracts/package-lock.json "$fresh/"
  chmod 0755 "$fresh"
  mv -T "$fresh" "$tree"
}
