# Sourced after say.sh by the scripts of image/: which images there are, and the committed lists
# behind each. An image is a flavour (cpu, gpu) in a profile (release, research).

is_flavour() { case "$1" in cpu | gpu) ;; *) return 1 ;; esac; }
is_profile() { case "$1" in release | research) ;; *) return 1 ;; esac; }

# variant_of FLAVOUR PROFILE: the name of that image; the flavour cpu is not named.
variant_of() { case "$1" in cpu) printf '%s' "$2" ;; *) printf '%s-%s' "$1" "$2" ;; esac; }

# Each of these prints paths relative to the repository, in the order in which they are read.
file_lists() {
  printf '%s\n' image/mkosi/files.list "image/flavours/$1.files" "image/flavours/$1-$2.files" \
    "image/profiles/$2.files"
}
kernel_fragments() {
  printf '%s\n' image/kernel/base.config "image/flavours/$1.kernel" "image/profiles/$2.kernel"
}
command_lines() {
  printf '%s\n' "image/flavours/$1.cmdline" image/kernel/cmdline "image/profiles/$2.cmdline"
}
