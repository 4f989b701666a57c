# Sourced after say.sh, key.sh, store.sh, crates.sh and toolchain.sh by ci/repro and ci/release: another
# machine to build on, as far as one machine can be another. What differs from the caller's:
#   root      Debian 13, unpacked from image/lock/tools.lock, whatever the caller runs
#   place     the checkout lies elsewhere, on a tmpfs, its files made in random order, one year older
#   user      uid 0 has another name and home; umask 077; time zone, locale and host name differ
#   clock     one year on, in every dynamically linked program, inside the tools tree as well
#   jobs      one processor, so -j1
#   cache     its own, empty at first; only the store of locked inputs is shared, read-only, and the
#             Rust toolchain is the one of the store, not the installed one
#   network   none
# Callers set ELSEWHERE (a directory on disk, kept so that an interrupted run goes on).

ELSEWHERE_HOME=/srv/auditor
ELSEWHERE_SOURCE=/srv/auditor/src/elsewhere

make_elsewhere() {
  local tree=$1
  [ ! -e "$ELSEWHERE/system/etc/ld.so.preload" ] || return 0
  say "another machine: a Debian 13 root from the locks, in $ELSEWHERE"
  rm -rf "$ELSEWHERE/system" "$ELSEWHERE/clock"
  mkdir -p "$ELSEWHERE/system" "$ELSEWHERE/clock/out" "$ELSEWHERE/cache"
  cp ci/lib/later.c "$ELSEWHERE/clock/"
  image/inside --read "$ELSEWHERE/clock:/in" --write "$ELSEWHERE/clock/out:/out" -- \
    gcc -O1 -shared -fPIC -o /out/later.so /in/later.c
  cp -a "$tree/." "$ELSEWHERE/system/"
  mkdir -p "$ELSEWHERE/system"/{srv/auditor,opt/{store,toolchain,crates,cargo},proc,dev,tmp,run}
  printf 'auditor:x:0:0:an auditor:%s:/bin/bash\n' "$ELSEWHERE_HOME" >"$ELSEWHERE/system/etc/passwd"
  # Programs that the build runs outside the tools tree are compiled there too, from the store.
  printf '[source.crates-io]\nreplace-with = "store"\n[source.store]\ndirectory = "/opt/crates"\n' \
    >"$ELSEWHERE/system/opt/cargo/config.toml"
  later "$ELSEWHERE/system"
}

# later TREE: programs in it see a clock that is one year on.
later() {
  cp "$ELSEWHERE/clock/out/later.so" "$1/usr/lib/later.so"
  echo /usr/lib/later.so >"$1/etc/ld.so.preload"
}

# Runs in the new namespaces. Positional: root, store, toolchain, cache, source list, command.
# shellcheck disable=SC2016
ENTER_ELSEWHERE='
  set -eu
  root=$1 source=$2 store=$3 toolchain=$4 cache=$5 crates=$6
  shift 6
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
  for place in tmp run srv/auditor; do mount -t tmpfs -o mode=0755 scratch "$root/$place"; done
  chmod 1777 "$root/tmp"
  mount -t tmpfs -o mode=0755 dev "$root/dev"
  for node in null zero full random urandom; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
  done
  ln -s /proc/self/fd "$root/dev/fd"
  mkdir -p "$root/srv/auditor/.cache" "$root/srv/auditor/src/elsewhere"
  mount --bind "$cache" "$root/srv/auditor/.cache"
  mount --bind "$toolchain" "$root/opt/toolchain"
  mount --bind "$store" "$root/opt/store"
  mount --bind "$crates" "$root/opt/crates"
  for place in opt/toolchain opt/store opt/crates; do mount -o remount,bind,ro "$root/$place"; done
  cd "$source"
  shuf "$cache/files" | while IFS= read -r file; do
    mkdir -p "$root/srv/auditor/src/elsewhere/$(dirname "$file")"
    cp -p "$file" "$root/srv/auditor/src/elsewhere/$file"
    touch -h -d "-1 year" "$root/srv/auditor/src/elsewhere/$file"
  done
  hostname elsewhere.example 2>/dev/null || :
  cd "$root"
  umask 077
  exec chroot . /usr/bin/env -i "$@"
'

# elsewhere COMMAND...: runs a command of the checkout on the other machine. Its standard output is
# the command's, with paths as they are there.
elsewhere() {
  local toolchain crates
  toolchain=$(toolchain_directory)
  crates=$(crates_directory)
  mkdir -p "$ELSEWHERE/cache"
  { git ls-files --cached --others --exclude-standard 2>/dev/null || find . -type f -printf '%P\n'; } |
    while IFS= read -r file; do [ ! -f "$file" ] || echo "$file"; done >"$ELSEWHERE/cache/files"
  taskset -c 0 unshare --mount --uts --ipc --net --propagation private -- \
    bash -c "$ENTER_ELSEWHERE" elsewhere "$ELSEWHERE/system" "$ROOT" "$(readlink -f "$STORE")" \
    "$toolchain" "$ELSEWHERE/cache" "$crates" CARGO_HOME=/opt/cargo CARGO_NET_OFFLINE=true \
    HOME="$ELSEWHERE_HOME" USER=auditor LOGNAME=auditor TZ=Pacific/Kiritimati LC_ALL=POSIX \
    LANG=tr_TR.UTF-8 COCOON_STORE=/opt/store XDG_CACHE_HOME="$ELSEWHERE_HOME/.cache" \
    PATH=/opt/toolchain/bin:/usr/sbin:/usr/bin \
    bash -c "cd $ELSEWHERE_SOURCE && exec \"\$@\"" elsewhere "$@"
}

# there PATH: where a path of the other machine's cache lies on this one.
there() { printf '%s' "$ELSEWHERE/cache${1#"$ELSEWHERE_HOME/.cache"}"; }
