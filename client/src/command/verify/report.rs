//! A verdict for people: what was decided, about what, and every check with what was found.

use verifier::{Binding, Decision, Machine, Outcome, Verdict};

pub(super) fn readable(verdict: &Verdict) -> String {
    let mut lines = vec![match (verdict.decision(), verdict.rejection()) {
        (Decision::Accepted, _) => "accepted".to_owned(),
        (Decision::Rejected, Some(why)) => format!("rejected: {}: {why}", why.code()),
        (Decision::Rejected, None) => "rejected".to_owned(),
    }];
    lines.push(match verdict.channel_binding() {
        Binding::Checked => "channel binding checked".to_owned(),
        Binding::NotChecked => "channel binding not checked".to_owned(),
    });
    if let Some(machine) = verdict.machine() {
        let provider = machine.provider.map(|key| key.to_string());
        let models: Vec<_> = machine.models.iter().map(ToString::to_string).collect();
        for (name, value) in [
            ("image", machine.image.to_string()),
            ("shape", machine.shape.clone()),
            ("measurement", machine.measurement.to_string()),
            ("chip", chip(machine)),
            ("provider", provider.unwrap_or_else(|| "any".to_owned())),
            ("models", models.join(" ")),
            ("boot", machine.boot_id.to_string()),
            ("statement", machine.statement.to_string()),
            ("valid until", machine.not_after.to_string()),
        ] {
            lines.push(format!("  {name:12} {value}"));
        }
    }
    for check in verdict.checks() {
        let outcome = match check.outcome {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Tolerated(weakness) => format!("tolerated ({weakness})"),
            Outcome::Failed => "FAILED".to_owned(),
            Outcome::NotNeeded => "not needed".to_owned(),
            Outcome::NotReached => "not reached".to_owned(),
        };
        let (code, of) = (check.check.code(), check.of);
        let mut line = format!("{outcome:12} {code} of {of}");
        if !check.found.is_empty() {
            line.push_str(": ");
            line.push_str(&check.found);
        }
        lines.push(line);
    }
    lines.join("\n")
}

fn chip(machine: &Machine) -> String {
    match machine.chip_certified {
        true => machine.chip.clone(),
        false => format!("{} (no certificate names it)", machine.chip),
    }
}
