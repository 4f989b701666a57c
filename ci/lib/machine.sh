# Sourced after system.sh by ci/demo and tests/e2e/tampered: virtual machines, what clients refuse,
# and who has which coin.
# Callers set QEMU, VSOCK, MODEL, WORK, tee and what system.sh sets.

declare -A AGENT=() TEE_OF=()

# start_agent NAME IMAGE [LIE]: the host agent of one machine, state in $WORK/NAME, until QEMU runs.
start_agent() {
  local name=$1 image=$2 lie=${3:-}
  "$PROGRAMS/mock-tee" endorsements --tee "$tee" --out "$WORK/$name.endorsements" \
    ${lie:+--lie "$lie"} >/dev/null 2>&1
  "$PROGRAMS/host-agent" --json up --image "$image" --model "$MODEL" --accelerator emulation \
    --tee "$tee" --serial --state "$WORK/$name" --launch-config "$WORK/launch-config.json" \
    --endorsements "$WORK/$name.endorsements" "${READ_BY[@]}" --listen 127.0.0.1:0 \
    --qemu "$QEMU" --vhost-device-vsock "$VSOCK" --minimum-validity 60 \
    >"$WORK/$name.log" 2>"$WORK/$name.err" &
  AGENT[$name]=$!
  STARTED+=("$!")
  local left=300
  # The record is written once QEMU runs; the simulated TEE reads that process's own arguments.
  until [ -e "$WORK/$name/launch.json" ]; do
    kill -0 "${AGENT[$name]}" 2>/dev/null || { cat "$WORK/$name".{log,err} >&2; die "no launch"; }
    left=$((left - 1))
    [ "$left" -gt 0 ] || die "no launch record within 30 s"
    sleep 0.1
  done
}

# start_tee NAME RECORD [LIE]: the simulated TEE beside it, which measures what RECORD points at.
start_tee() {
  local name=$1 record=$2 lie=${3:-}
  start "$name.mock-tee" '^ready' "$PROGRAMS/mock-tee" serve --tee "$tee" \
    --listen "$WORK/$name/vsock_7002" --launch "$record" ${lie:+--lie "$lie"}
  TEE_OF[$name]=${STARTED[-1]}
}

launch_begin() {
  start_agent "$@"
  start_tee "$1" "$WORK/$1/launch.json" "${3:-}"
}

# await_ready NAME -> RELAY
await_ready() {
  await "$1" '"event":"ready"' "${AGENT[$1]}" 180
  grep -E 'phase-passed' "$WORK/$1.log" >&2 || true
  RELAY=$(grep '"event":"ready"' "$WORK/$1.log" | grep -oE '127\.0\.0\.1:[0-9]+' | head -n 1)
}

# launch NAME IMAGE [LIE] -> RELAY
launch() {
  launch_begin "$@"
  await_ready "$1"
}

# launch_refused NAME IMAGE CODE: the guest must power itself off with that code.
launch_refused() {
  local code=0
  launch_begin "$1" "$2"
  wait "${AGENT[$1]}" || code=$?
  stop "${TEE_OF[$1]}"
  # The members of an event have no order.
  if [ "$code" != 3 ] ||
    ! grep '"event":"guest-ended"' "$WORK/$1.log" | grep -qF "\"code\":\"$3\""; then
    tail -n 5 "$WORK/$1.log" "$WORK/$1.err" >&2
    die "expected the guest to power off with $3, the agent ended with $code"
  fi
}

stop_machine() {
  stop "${AGENT[$1]}"
  stop "${TEE_OF[$1]}"
}

# phase_time NAME PHASE: milliseconds since init began.
phase_time() {
  grep '"event":"phase-passed"' "$WORK/$1.log" | grep "\"phase\":\"$2\"" |
    sed -n 's/.*"guest_ms":\([0-9]*\).*/\1/p' | tail -n 1
}

# tampered_image IMAGE OUT: a copy with one byte of the root changed, and a manifest that hides it, as
# a hostile host would.
tampered_image() {
  local good bad
  rm -rf "$2"
  cp -r "$1" "$2"
  chmod -R u+w "$2"
  good=$(sha256sum <"$2/root.img" | cut -d' ' -f1)
  python3 - "$2/root.img" <<'PYTHON'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(2 * 1024 * 1024)
    byte = file.read(1)[0]
    file.seek(2 * 1024 * 1024)
    file.write(bytes([byte ^ 1]))
PYTHON
  bad=$(sha256sum <"$2/root.img" | cut -d' ' -f1)
  sed -i "s/$good/$bad/" "$2/manifest.json"
}

# expect_refusal STATUS WORD OPTIONS...: the client must refuse, and say a code with WORD in it.
expect_refusal() {
  local status=$1 word=$2 code=0
  shift 2
  cocoon chat 'Is anybody there?' --max-tokens 4 --connect "$RELAY" "$@" \
    >"$WORK/refusal.out" 2>"$WORK/refusal.err" || code=$?
  cat "$WORK/refusal.err" >&2
  [ "$code" = "$status" ] || die "expected exit status $status, got $code"
  grep -q "$word" "$WORK/refusal.err" || die "the refusal names no code with \"$word\""
  [ ! -s "$WORK/refusal.out" ] || die "a refused machine answered"
}

refusal_code() {
  grep -oE '[a-z]+(-[a-z0-9]+)+' "$WORK/refusal.err" | grep -E 'registers|debug' | head -n 1
}

balance() {
  python3 -c 'import json, sys, urllib.request as u
url = sys.argv[1] + "/api/v2/getAddressInformation?address=" + sys.argv[2]
print(json.load(u.build_opener(u.ProxyHandler({})).open(url, timeout=30))["result"]["balance"])' \
    "$CHAIN" "$1"
}

# remember_balances WHEN -> BALANCE_<who>_<when>
remember_balances() {
  local channel
  channel=$(cocoon --json wallet show | grep -oE '"(channel|address)": ?"0:[0-9a-f]{64}"' |
    grep channel | grep -oE '0:[0-9a-f]{64}' | head -n 1)
  [ -n "$channel" ] || die "the client's wallet shows no channel"
  printf -v "BALANCE_client_$1" '%s' "$(balance "$CLIENT")"
  printf -v "BALANCE_provider_$1" '%s' "$(balance "$PAYEE")"
  printf -v "BALANCE_channel_$1" '%s' "$(balance "$channel")"
}

# -> RESULT; the three balances change by the named fees of the claim, to the nano unit.
account_for_every_nano() {
  local wallet_fees contract_fees increment change who
  wallet_fees=$(json wallet_fees "$WORK/claim.json")
  contract_fees=$(json contract_fees "$WORK/claim.json")
  increment=$(json increment "$WORK/claim.json")
  say "$(printf '%-34s %16s %16s' 'balances in nano units' before after)"
  for who in client channel provider; do
    local before=BALANCE_${who}_before after=BALANCE_${who}_after
    say "$(printf '%-34s %16s %16s' "$who" "${!before}" "${!after}")"
  done
  say "$(printf '%-34s %16s' 'paid by the channel' "$increment")"
  say "$(printf '%-34s %16s' "fees of the provider's wallet" "$wallet_fees")"
  say "$(printf '%-34s %16s' "fees of contract and forwarding" "$contract_fees")"
  change=$((BALANCE_client_after + BALANCE_channel_after + BALANCE_provider_after -
    BALANCE_client_before - BALANCE_channel_before - BALANCE_provider_before))
  [ $((change + wallet_fees + contract_fees)) = 0 ] ||
    die "the balances changed by $change nano, which is not what the fees say"
  [ $((BALANCE_channel_before - BALANCE_channel_after)) = "$increment" ] ||
    die "the channel paid another amount than was claimed"
  RESULT="$increment nano paid, fees $((wallet_fees + contract_fees)) nano; adds up to the nano unit"
}

# -> RESULT; the channel is empty, the provider has its increment less named fees, and the client has
# all the rest less the fee of the message that brought it.
account_for_close() {
  local wallet_fees contract_fees increment provider refund fee
  wallet_fees=$(json wallet_fees "$WORK/claim.json")
  contract_fees=$(json contract_fees "$WORK/claim.json")
  increment=$(json increment "$WORK/claim.json")
  provider=$((BALANCE_provider_after - BALANCE_provider_before))
  refund=$((BALANCE_client_after - BALANCE_client_before))
  fee=$((BALANCE_channel_before - increment - refund))
  [ "$BALANCE_channel_after" = 0 ] || die "the channel still holds $BALANCE_channel_after nano"
  [ "$provider" = $((increment - wallet_fees - contract_fees)) ] ||
    die "the provider's balance changed by $provider nano, which is not what the fees say"
  # One message's fee is below a hundredth of a coin.
  [ "$fee" -gt 0 ] && [ "$fee" -lt 10000000 ] || die "$fee nano are missing in the client's refund"
  RESULT="$refund nano back to the client, fees $((wallet_fees + contract_fees + fee)) nano; channel empty"
}
