//! Stop strings: text that might become one is held back, so nothing is sent that is cut later.

use zeroize::Zeroizing;

/// Holds back what could be the start of a stop string.
pub(crate) struct StopHolder {
    stops: Vec<Zeroizing<String>>,
    held: Zeroizing<String>,
}

/// What a piece of text led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// This much can be sent.
    Text(String),
    /// A stop string was reached; this stood before it.
    Stopped(String),
}

impl StopHolder {
    /// Stop strings; an empty one never occurs.
    pub(crate) fn new(stops: Vec<Zeroizing<String>>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: Zeroizing::default(),
        }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, text: &str) -> Held {
        let mut all = Zeroizing::new(String::with_capacity(
            self.held.len().saturating_add(text.len()),
        ));
        all.push_str(&self.held);
        all.push_str(text);
        let first = self
            .stops
            .iter()
            .filter_map(|stop| all.find(stop.as_str()))
            .min();
        if let Some((before, _)) = first.and_then(|at| all.split_at_checked(at)) {
            return Held::Stopped(before.to_owned());
        }
        let keep = self
            .stops
            .iter()
            .map(|stop| overlap(&all, stop))
            .max()
            .unwrap_or(0);
        let (send, keep) = all
            .split_at_checked(all.len().saturating_sub(keep))
            .unwrap_or((&all, ""));
        let send = send.to_owned();
        self.held = Zeroizing::new(keep.to_owned());
        Held::Text(send)
    }

    /// What is held at the end of the answer.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut *self.held)
    }
}

/// Bytes of the longest end of `text` with which `stop` begins, `stop` itself excepted.
fn overlap(text: &str, stop: &str) -> usize {
    let lengths = stop.char_indices().map(|(at, _)| at).rev();
    let mut ends = lengths.filter(|length| {
        stop.get(..*length)
            .is_some_and(|start| text.ends_with(start))
    });
    ends.next().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holder(stops: &[&str]) -> StopHolder {
        StopHolder::new(
            stops
                .iter()
                .map(|stop| Zeroizing::new((*stop).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_stop_string_across_pieces_is_cut_and_nothing_of_it_is_sent() {
        let mut holder = holder(&["END."]);
        assert_eq!(holder.push("The E"), Held::Text("The ".into()));
        assert_eq!(holder.push("N"), Held::Text(String::new()));
        assert_eq!(holder.push("D. more"), Held::Stopped(String::new()));
    }

    #[test]
    fn what_turned_out_to_be_no_stop_string_is_sent_after_all() {
        let mut holder = holder(&["aab", "é!"]);
        assert_eq!(holder.push("xaa"), Held::Text("x".into()));
        assert_eq!(holder.push("aé"), Held::Text("aaa".into()));
        assert_eq!(holder.push("?a"), Held::Text("é?".into()));
        assert_eq!(holder.finish(), "a");
    }

    #[test]
    fn the_earliest_of_several_stop_strings_counts() {
        assert_eq!(
            holder(&["later", "soon"]).push("a soon later"),
            Held::Stopped("a ".into())
        );
        assert_eq!(holder(&[""]).push("text"), Held::Text("text".into()));
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_text_gives(
            pieces in prop::collection::vec("[abé]{0,4}", 0..12),
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
        ) {
            let whole = pieces.concat();
            let cut = stops.iter().filter_map(|stop| whole.find(stop.as_str())).min();
            let mut holder = StopHolder::new(stops.into_iter().map(Zeroizing::new).collect());
            let mut sent = String::new();
            let mut stopped = false;
            for piece in pieces {
                match holder.push(&piece) {
                    Held::Text(text) => sent.push_str(&text),
                    Held::Stopped(text) => {
                        sent.push_str(&text);
                        stopped = true;
                        break;
                    }
                }
            }
            if !stopped {
                sent.push_str(&holder.finish());
            }
            prop_assert_eq!(stopped, cut.is_some());
            // Pieces can complete a later stop string before an earlier-starting, longer one.
            prop_assert!(whole.starts_with(&sent));
            if let Some(cut) = cut {
                prop_assert!(sent.len() >= cut);
            } else {
                prop_assert_eq!(sent, whole);
            }
        }
    }
}
