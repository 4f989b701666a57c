# Sourced after say.sh, key.sh and store.sh: programs of locked Debian packages that run beside what
# is tested, each with the loader and the libraries that it was built for.

# beside SET PROGRAM [FOLDER]: unpacks image/lock/SET.lock, unless it is there, and prints the path of
# a program that starts PROGRAM. FOLDER: where in the library folder its own libraries lie.
beside() {
  local final
  final="$CACHE/$1-$(key_of "image/lock/$1.lock" "image/$1" ci/lib/beside.sh)"
  exclusively "$1" unpack_beside "$final" "$@"
  echo "$final/bin/$2"
}

unpack_beside() {
  local final=$1 set=$2 program=$3 folder=${4:-} lock
  lock="$ROOT/image/lock/$set.lock"
  [ ! -e "$final" ] || return 0
  fetch_debian "$lock"
  say "unpacking $program $(lock_lines "$lock" |
    awk -v name="$program" '$2 == name { print $3 }'), into $final"
  rm -rf "$final.part"
  unpack_debian "$lock" "$final.part"
  rm -rf "$final.part"/usr/share/{doc,man,info,locale}
  mkdir -p "$final.part/bin"
  sed "s|@program@|$program|g; s|@folder@|${folder:+\$libraries/$folder:}|" \
    >"$final.part/bin/$program" <<'PROGRAM'
#!/bin/sh
# Starts @program@ beside this file with the loader and libraries that it was built for.
here=$(dirname "$(dirname "$(readlink -f "$0")")")
libraries=$here/usr/lib/x86_64-linux-gnu
exec "$here/usr/lib64/ld-linux-x86-64.so.2" --inhibit-cache \
  --library-path "@folder@$libraries" --argv0 @program@ "$here/usr/bin/@program@" "$@"
PROGRAM
  chmod 0755 "$final.part/bin/$program"
  publish "$final.part" "$final"
}
