//! What a probe found, and how it is shown.

use std::fmt::Display;

use serde::Serialize;

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: &'static str,
    /// How it is.
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) found: String,
    /// What to change: commands where there are any.
    pub(super) change: Option<String>,
    /// Why.
    pub(super) why: Option<&'static str>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Advice,
    /// It does not work, or will not.
    Problem,
    /// It could not be seen.
    Unknown,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Display) -> Finding {
        Finding { check, verdict: Verdict::Ok, found: found.to_string(), change: None, why: None }
    }

    pub(super) fn unknown(check: &'static str, found: impl Display) -> Finding {
        Finding { verdict: Verdict::Unknown, ..Finding::ok(check, found) }
    }

    pub(super) fn advice(check: &'static str, found: impl Display, change: impl Display, why: &'static str) -> Finding {
        Finding {
            verdict: Verdict::Advice,
            change: Some(change.to_string()),
            why: Some(why),
            ..Finding::ok(check, found)
        }
    }

    pub(super) fn problem(
        check: &'static str,
        found: impl Display,
        change: impl Display,
        why: &'static str,
    ) -> Finding {
        Finding { verdict: Verdict::Problem, ..Finding::advice(check, found, change, why) }
    }

    /// A line, and one for what to change and why.
    pub(super) fn lines(&self, in_colour: bool) -> Vec<String> {
        let (word, colour) = match self.verdict {
            Verdict::Ok => ("ok", "\u{1b}[32m"),
            Verdict::Advice => ("advice", "\u{1b}[33m"),
            Verdict::Problem => ("problem", "\u{1b}[31m"),
            Verdict::Unknown => ("unknown", "\u{1b}[2m"),
        };
        let word = format!("{word:<8}");
        let word = if in_colour { format!("{colour}{word}\u{1b}[0m") } else { word };
        // What was found may quote names of files, which could steer the terminal.
        let mut lines = vec![format!("{word} {:<12} {}", self.check, output_safe(&self.found))];
        if let Some(change) = &self.change {
            let why = self.why.map(|why| format!(" ({why})")).unwrap_or_default();
            lines.push(format!("{:22}-> {}{why}", "", output_safe(change)));
        }
        lines
    }
}

fn output_safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_change_stands_below_what_was_found() {
        let finding = Finding::advice("qdisc", "pfifo_fast", "tc qdisc replace dev eth0 root fq", "it paces");
        assert_eq!(
            finding.lines(false),
            [
                "advice   qdisc        pfifo_fast",
                "                      -> tc qdisc replace dev eth0 root fq (it paces)"
            ]
        );
        assert!(finding.lines(true)[0].starts_with("\u{1b}[33madvice"));
    }

    #[test]
    fn a_file_name_cannot_steer_the_terminal() {
        assert!(!Finding::ok("tree", "a\u{1b}[2J").lines(false)[0].contains('\u{1b}'));
    }
}
