# Sourced after say.sh: the programs that run on the host and in tests.

# The same packages for every script: cargo unifies features over what is built together, so another
# choice would compile its own dependencies. This one agrees with the whole workspace.
build_programs() {
  cargo build --locked --release --quiet -p measurements -p host-agent -p mock-tee -p engine \
    -p serve-research -p stack-guest -p cocoon-research -p contracts -p lite-server
  contracts/npm-tree >/dev/null
}
