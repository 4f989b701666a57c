# Sourced after system.sh by ci/stack and tests/e2e/refusals: the provider as processes, without a
# virtual machine around them. Callers set WORK, and `model`, the file with the weights.
# shellcheck disable=SC2034,SC2154

# What stands for a launch measurement here: SHA-384 over a domain and the programs' SHA-256.
processes_digest() {
  {
    printf 'cocoon/research-processes/v1\0'
    sha256sum "$@" | cut -d' ' -f1 | from_hex
  } | sha384sum | cut -d' ' -f1
}

from_hex() { python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))'; }

# -> $WORK/model.json
describe_model() {
  "$PROGRAMS/measure" describe "$model" --name "$MODEL_NAME" >"$WORK/model.json"
}

# -> $WORK/reference-values.json
reference_values() {
  local digest
  digest=$("$PROGRAMS/measure" model-digest "$WORK/model.json" | json digest -)
  cat >"$WORK/reference-values.json" <<JSON
{ "version": 1, "image": "0.1.0", "profile": "research",
  "shapes": [ { "shape": "processes", "vcpus": 1, "memory_mib": 1,
    "registers": { "tee": "sev-snp", "vcpu_type": "EPYC-v4", "guest_features": 1,
      "launch_digest": "$(processes_digest "$PROGRAMS/serve-research" "$PROGRAMS/engine")" } } ],
  "models": [ { "name": "$MODEL_NAME", "digest": "$digest" } ] }
JSON
}

launch_record() {
  cat >"$WORK/launch.json" <<JSON
{ "pid": null, "tee": "sev-snp",
  "shape": { "vcpus": 1, "memory_mib": 1, "vcpu_type": "EPYC-v4", "guest_features": 1 },
  "host_data": "$(sha256sum <"$WORK/launch-config.json" | cut -d' ' -f1)",
  "digest_of": ["$PROGRAMS/serve-research", "$PROGRAMS/engine"] }
JSON
}

# -> RELAY; the provider's state in $WORK/provider
start_guest() {
  launch_record
  start mock-tee '^ready' "$PROGRAMS/mock-tee" serve --tee sev-snp \
    --listen "$WORK/mock-tee.socket" --launch "$WORK/launch.json"
  "$PROGRAMS/mock-tee" endorsements --tee sev-snp --out "$WORK/endorsements" \
    >/dev/null 2>&1
  start host-agent 'listening|127\.0\.0\.1:' "$PROGRAMS/host-agent" --json relay \
    --guest "unix:$WORK/guest.socket" --control "$WORK/control.socket" --listen 127.0.0.1:0 \
    --launch-config "$WORK/launch-config.json" --state "$WORK/provider" \
    --endorsements "$WORK/endorsements" "${READ_BY[@]}" --minimum-validity 60
  RELAY=$(grep -oE '127\.0\.0\.1:[0-9]+' "$WORK/host-agent.log" | head -n 1)
  start guest '^guest ready' "$PROGRAMS/stack-guest" --launch-config "$WORK/launch-config.json" \
    --mock-tee "$WORK/mock-tee.socket" --guest-socket "$WORK/guest.socket" \
    --control-socket "$WORK/control.socket" --model "$model" \
    --serve "$PROGRAMS/serve-research" --engine "$PROGRAMS/engine"
}
