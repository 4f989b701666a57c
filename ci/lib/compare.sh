# Sourced after say.sh by ci/repro and ci/release: artifacts of two builds, byte by byte; on a
# difference, where it is.

EQUAL=0 DIFFERENT=0

# compare_directories TITLE HERE THERE: the same files with the same bytes in both.
compare_directories() {
  local title=$1 name
  [ "$(cd "$2" && find . -type f | LC_ALL=C sort)" = "$(cd "$3" && find . -type f | LC_ALL=C sort)" ] ||
    { say "different: $title: not the same names: $2 $3"; DIFFERENT=$((DIFFERENT + 1)); }
  while IFS= read -r name; do
    [ -e "$3/$name" ] || continue
    if cmp -s "$2/$name" "$3/$name"; then
      EQUAL=$((EQUAL + 1))
      say "equal      $(sha256sum <"$2/$name" | cut -c1-16) $(stat -c %s "$2/$name") $title: $name"
    else
      DIFFERENT=$((DIFFERENT + 1))
      say "DIFFERENT  $title: $name"
      explain "$2/$name" "$3/$name"
    fi
  done < <(cd "$2" && find . -type f -printf '%P\n' | LC_ALL=C sort)
}

# tree_list DIR: kind, mode, owner, target and hash of everything in a tree. Not: places that builds
# are bound to, and ldconfig's note of inode numbers and times, which only ldconfig reads.
tree_list() {
  (
    cd "$1" || exit
    listed() { find . \( -path './out/*' -o -path './in/*' -o -path ./var/cache/ldconfig/aux-cache \) \
      -prune -o "$@"; }
    listed ! -type f -printf '%y %m %U:%G %p %l\n'
    listed -type f -printf '%p\0' | LC_ALL=C sort -z | xargs -0 sha256sum
    listed -type f -printf '%m %U:%G %p\n'
  ) | LC_ALL=C sort
}

# compare_trees TITLE HERE THERE: as one artifact.
compare_trees() {
  if cmp -s <(tree_list "$2") <(tree_list "$3"); then
    EQUAL=$((EQUAL + 1))
    say "equal      $1: $(find "$2" -type f | wc -l) files"
  else
    DIFFERENT=$((DIFFERENT + 1))
    say "DIFFERENT  $1"
    diff <(tree_list "$2") <(tree_list "$3") | head -n 20 >&2 || :
  fi
}

# explain A B: the first difference, and what it lies in.
explain() {
  local at
  at=$(cmp "$1" "$2" 2>&1 | sed -n 's/.* byte \([0-9]*\),.*/\1/p') || :
  say "  sizes $(stat -c %s "$1") and $(stat -c %s "$2"), first difference at byte ${at:-of the end}," \
    "$(cmp -l "$1" "$2" 2>/dev/null | wc -l) bytes differ"
  case "$1" in
    *.json | */cmdline | */config | *.crates | *.lock)
      diff "$1" "$2" | head -n 20 | sed 's/^/  /' >&2 || :
      ;;
    *.cpio.zst | */root.img) explain_contents "$1" "$2" ;;
    *) [ -z "$at" ] || explain_section "$1" "$at" ;;
  esac
}

# The ELF section that a byte lies in; a bzImage or an EFI program has none.
explain_section() {
  readelf -SW "$1" 2>/dev/null | sed -n 's/^ *\[ *[0-9]*\] //p' | while read -r name _ _ offset size _; do
    [[ $offset =~ ^[0-9a-f]+$ && $size =~ ^[0-9a-f]+$ ]] || continue
    if [ $((16#$offset)) -ge "$2" ] || [ "$2" -gt $((16#$offset + 16#$size)) ]; then continue; fi
    say "  in section $name, at its byte $(($2 - 16#$offset))"
  done || :
  cmp -l "$1" "$2" 2>/dev/null | head -n 8 | sed 's/^/  byte, octal here, octal there: /' >&2 || :
}

# The files in a container that differ, by unpacking both in the tools tree.
explain_contents() {
  local work
  work=$(mktemp -d "$CACHE/explain.XXXXXX")
  mkdir "$work/in" "$work/out"
  cp "$1" "$work/in/here"
  cp "$2" "$work/in/there"
  # shellcheck disable=SC2016
  image/inside --read "$work/in:/in" --write "$work/out:/out" -- sh -c '
    for side in here there; do
      mkdir "/out/$side"
      cd "/out/$side"
      case "$1" in
        *.zst) zstd -qdc "/in/$side" | cpio --extract --quiet --make-directories ;;
        *) fsck.erofs --extract="/out/$side" --force --preserve "/in/$side" >/dev/null ;;
      esac
    done' explain "$1" >&2 || say "  does not unpack"
  diff <(tree_list "$work/out/here") <(tree_list "$work/out/there") | head -n 20 | sed 's/^/  /' >&2 || :
  rm -rf "$work"
}
