# Sourced after say.sh: what was made from which inputs.

# key_of FILE|DIR|=TEXT...: 16 hex digits that change when any input changes: its name as given
# (relative to the repository), its content, or a text. Modes and times do not count.
key_of() {
  local input
  for input in "$@"; do
    case "$input" in
      =*) printf 'text %s\n' "${input#=}" ;;
      *)
        [ -e "$input" ] || die "no such input: $input"
        find "$input" -type d -name target -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
        ;;
    esac
  done | sha256sum | cut -c1-16
}

# exclusively NAME COMMAND...: one at a time on this machine; the others wait.
exclusively() {
  local name=$1
  shift
  exec {guard}>"$CACHE/$name.guard"
  flock "$guard"
  "$@"
  exec {guard}>&-
}

# publish DIR FINAL: puts a finished directory in place at once; an interrupted run leaves nothing.
publish() {
  rm -rf "$2"
  mv -T "$1" "$2"
}
