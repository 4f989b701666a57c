# Sourced after say.sh by ci/stack and ci/demo: processes that end with the script, a local chain,
# a provider, and a client. Every function leaves its results in variables named beside it.

NETWORK=-7357
PRICES=20,2,160
MODEL_NAME=smollm2-135m-instruct
REGISTRY_DELAY=3600

# Coins of the test chain, in nano units.
PROVIDER_FUNDS=5000000000
CLIENT_FUNDS=5000000000
DEPOSIT=2000000000

STARTED=()

. "$ROOT/ci/lib/build.sh"

# start NAME PATTERN COMMAND...: runs a command in the background, its output in $WORK/NAME.log, and
# waits until a line of it matches PATTERN.
start() {
  local name=$1 pattern=$2 log="$WORK/$1.log"
  shift 2
  "$@" >"$log" 2>&1 &
  STARTED+=("$!")
  await "$name" "$pattern" "$!"
}

# await NAME PATTERN PID [SECONDS]: waits for a line in a log, and stops when its process ends first.
await() {
  local name=$1 pattern=$2 pid=$3 log="$WORK/$1.log" left=$((${4:-120} * 10))
  until grep -qE -e "$pattern" "$log" 2>/dev/null; do
    if ! kill -0 "$pid" 2>/dev/null; then
      tail -n 20 "$log" >&2
      die "$name ended before it was ready"
    fi
    left=$((left - 1))
    if [ "$left" -le 0 ]; then
      tail -n 20 "$log" >&2
      die "$name was not ready in time"
    fi
    sleep 0.1
  done
}

# stop PID: ends a process that this script started, and waits for it.
stop() {
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

stop_all() {
  local at
  for ((at = ${#STARTED[@]} - 1; at >= 0; at--)); do
    stop "${STARTED[$at]}"
  done
  STARTED=()
}

# json MEMBER FILE-or-: one top-level member of a JSON object.
json() {
  python3 -c 'import json, sys
value = json.load(sys.stdin if sys.argv[2] == "-" else open(sys.argv[2]))
for name in sys.argv[1].split("."):
    value = value[int(name)] if isinstance(value, list) else value[name]
print(value)' "$1" "${2:--}"
}

# post PATH BODY: one request to the test chain's own interface.
post() {
  python3 -c 'import sys, urllib.request as u
request = u.Request(sys.argv[1], sys.argv[2].encode(), {"content-type": "application/json"})
print(u.build_opener(u.ProxyHandler({})).open(request, timeout=30).read().decode())' \
    "$CHAIN$1" "$2" >/dev/null
}

# -> CHAIN, which takes messages and shows transactions, and READ_BY, the options by which client and
# host agent read accounts: by proof, through two lite-servers before the chain.
start_chain() {
  # The TypeScript loader leaves a cache in the temporary directory.
  TMPDIR="$WORK" start chain '^ready ' tests/ton-testnode/start --port 0
  CHAIN=$(sed -n 's/^ready //p' "$WORK/chain.log")
  start lite-server '^ready ' "$PROGRAMS/lite-server" "$CHAIN"
  local first second block
  read -r first second block < <(sed -n 's/^ready //p' "$WORK/lite-server.log")
  READ_BY=(--chain "$CHAIN" --lite-server "$first" --lite-server "$second" --trusted-block "$block")
}

# in_purse COMMAND...: a command of the host agent about the provider's wallet.
in_purse() {
  "$PROGRAMS/host-agent" "$@" --wallet-seed "$WORK/provider.seed" --network "$NETWORK" \
    "${READ_BY[@]}"
}

fund() { post /testnode/faucet "{\"address\": \"$1\", \"amount\": \"$2\"}"; }

new_wallet() {
  "$PROGRAMS/host-agent" --json wallet new --seed "$1" --network "$NETWORK" | json address -
}

# -> PAYEE, REGISTRY
make_provider() {
  PAYEE=$(new_wallet "$WORK/provider.seed")
  local revoker
  revoker=$(new_wallet "$WORK/revoker.seed")
  fund "$PAYEE" "$PROVIDER_FUNDS"
  REGISTRY=$(in_purse --json publish deploy --revoker "$revoker" --delay "$REGISTRY_DELAY" |
    json registry -)
}

# configure MODEL_JSON [OPTIONS...] -> $WORK/launch-config.json
configure() {
  local model_json=$1
  shift
  "$PROGRAMS/host-agent" configure --payee "$PAYEE" --network "$NETWORK" \
    --model "$MODEL_NAME=$model_json" --prices "$PRICES" "$@" \
    --out "$WORK/launch-config.json" >/dev/null
}

# Lists $WORK/reference-values.json; what is listed counts when the delay is over.
list_in_registry() {
  in_purse publish --reference-values "$WORK/reference-values.json" --registry "$REGISTRY" >&2
}

# advance SECONDS: moves the chain's clock.
advance() { post /testnode/advance "{\"seconds\": $1}"; }

# list_and_wait: lists $WORK/reference-values.json and moves the chain's clock past the delay.
list_and_wait() {
  list_in_registry
  advance $((REGISTRY_DELAY + 1))
}

# cocoon ARGUMENTS...: the research client with its state and chain.
cocoon() {
  "$PROGRAMS/cocoon-research" --state "$WORK/client" "${READ_BY[@]}" "$@"
}

# -> CLIENT
make_client() {
  CLIENT=$(cocoon --json wallet new | json address -)
  fund "$CLIENT" "$CLIENT_FUNDS"
  cocoon wallet open --payee "$PAYEE" --deposit "$DEPOSIT" >&2
}
