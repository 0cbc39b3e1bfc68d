//! What is seen of a fetch: a bar on a terminal, log lines elsewhere, JSON for programs. The JSON is a contract.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use seedbox::{FetchStatus, TorrentState, TorrentStatus};
use serde::Serialize;

use crate::failure::Failure;
use crate::serving::plural;
use crate::{logging, output};

/// How often the bar is drawn again.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// How often a line of JSON is written while nothing but numbers changes.
const JSON_INTERVAL: Duration = Duration::from_millis(250);

/// How often the log tells how it goes where there is no terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Shows a fetch.
pub(crate) struct Reporter {
    form: Form,
    started: Instant,
    shown: Option<(Instant, &'static str)>,
    /// What the last line of JSON repeats.
    latest: Line,
    was_interrupted: bool,
}

enum Form {
    Bar(ProgressBar),
    Log,
    Json,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// All that was wanted is verified on disk.
    Complete,
    /// A signal came before.
    Interrupted,
    /// It cannot be had.
    Failed,
}

/// One line of JSON. Bytes and pieces are those of the wanted files, unless they say otherwise.
#[derive(Debug, Clone, Default, Serialize)]
struct Line {
    /// `resolving`, `preparing`, `fetching`, `paused`, `finishing`, `seeding` or, in the last line, `ended`.
    state: &'static str,
    name: String,
    /// Since the program began.
    elapsed_ms: u64,
    /// Why it is paused.
    reason: Option<String>,
    /// Pieces of the whole torrent.
    total_pieces: u64,
    wanted_pieces: u64,
    verified_pieces: u64,
    wanted_bytes: u64,
    verified_bytes: u64,
    left_bytes: u64,
    /// What was there when this run began.
    resumed_bytes: u64,
    /// Payload of this run, of use or not.
    received_bytes: u64,
    wasted_bytes: u64,
    sent_bytes: u64,
    failed_pieces: u64,
    download_bytes_per_s: u64,
    upload_bytes_per_s: u64,
    /// Null as long as nothing comes.
    eta_s: Option<u64>,
    peers: u64,
    known_peers: u64,
    /// While files are checked: how many bytes of how many.
    checked_bytes: Option<u64>,
    to_check_bytes: Option<u64>,
    /// In the last line only.
    outcome: Option<Outcome>,
    error: Option<String>,
}

impl Reporter {
    /// JSON on stdout, or a bar or log lines on stderr.
    pub(crate) fn new(is_json: bool) -> Reporter {
        let form = match (is_json, io::stderr().is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Bar(bar()),
            (false, false) => Form::Log,
        };
        Reporter { form, started: Instant::now(), shown: None, latest: Line::default(), was_interrupted: false }
    }

    /// Shows how it is, if it is time to.
    pub(crate) fn show(&mut self, torrent: &TorrentStatus, is_complete: bool) -> Result<(), Failure> {
        let state = state(torrent, is_complete);
        let interval = match self.form {
            Form::Bar(_) => DRAW_INTERVAL,
            Form::Json => JSON_INTERVAL,
            Form::Log => LOG_INTERVAL,
        };
        self.latest = Line { elapsed_ms: self.elapsed_ms(), ..Line::new(state, torrent) };
        if self.shown.is_some_and(|(at, shown)| at.elapsed() < interval && shown == state) {
            return Ok(());
        }
        let is_news = self.shown.is_none_or(|(_, shown)| shown != state);
        self.shown = Some((Instant::now(), state));
        match &self.form {
            Form::Json => output::json_line(&self.latest)?,
            Form::Bar(bar) => self.latest.draw(bar),
            Form::Log if is_news => {}
            Form::Log => tracing::info!("{}", self.latest.sentence()),
        }
        Ok(())
    }

    /// A signal came before all was there.
    pub(crate) fn interrupt(&mut self, torrent: &TorrentStatus) -> Failure {
        self.was_interrupted = true;
        let line = Line::new("ended", torrent);
        let there = format!("{} of {}", DecimalBytes(line.verified_bytes), DecimalBytes(line.wanted_bytes));
        Failure::new(format!("{}: stopped with {there} there; the next run goes on from that", line.name))
    }

    pub(crate) fn was_interrupted(&self) -> bool {
        self.was_interrupted
    }

    /// Says how it ended.
    pub(crate) fn end(&mut self, outcome: Outcome, error: Option<&str>) -> Result<(), Failure> {
        match &self.form {
            Form::Json => {
                let error = error.map(str::to_owned);
                let elapsed_ms = self.elapsed_ms();
                let latest = std::mem::take(&mut self.latest);
                output::json_line(&Line { state: "ended", elapsed_ms, outcome: Some(outcome), error, ..latest })
            }
            Form::Bar(bar) => {
                bar.finish_and_clear();
                logging::screen().remove(bar);
                self.conclude(outcome)
            }
            Form::Log => self.conclude(outcome),
        }
    }

    fn elapsed_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// The one line that is left of a fetch that went well; any other is told by its error.
    fn conclude(&self, outcome: Outcome) -> Result<(), Failure> {
        let line = &self.latest;
        match outcome {
            Outcome::Complete if line.wanted_pieces == line.total_pieces => {
                output::line(&format!("{}: all {} pieces are there", line.name, HumanCount(line.total_pieces)))
            }
            Outcome::Complete => {
                let (wanted, total) = (HumanCount(line.wanted_pieces), HumanCount(line.total_pieces));
                output::line(&format!("{}: all that is wanted is there, {wanted} of {total} pieces", line.name))
            }
            Outcome::Interrupted | Outcome::Failed => Ok(()),
        }
    }
}

fn state(torrent: &TorrentStatus, is_complete: bool) -> &'static str {
    match &torrent.state {
        TorrentState::Resolving { .. } => "resolving",
        TorrentState::Preparing { .. } | TorrentState::Checking { .. } => "preparing",
        TorrentState::Paused { .. } => "paused",
        TorrentState::Complete | TorrentState::HasWanted | TorrentState::AtRest | TorrentState::Loading => "seeding",
        _ if is_complete => "seeding",
        TorrentState::Fetching => "fetching",
        TorrentState::Finishing => "finishing",
    }
}

impl Line {
    fn new(state: &'static str, torrent: &TorrentStatus) -> Line {
        let fetch = torrent.fetch.clone().unwrap_or_default();
        let (checked_bytes, to_check_bytes) = match &torrent.state {
            TorrentState::Preparing { progress } => (Some(progress.hashed_bytes), Some(progress.total_bytes)),
            _ => (None, None),
        };
        let reason = match &torrent.state {
            TorrentState::Paused { reason } => Some(reason.clone()),
            _ => None,
        };
        let (peers, known_peers) = match &torrent.state {
            TorrentState::Resolving { progress } => (progress.connected_count as u64, progress.known_count as u64),
            _ => (torrent.peers, fetch.known_peers),
        };
        let eta_s = eta_s(&fetch);
        Line {
            state,
            name: torrent.name.clone(),
            elapsed_ms: 0,
            reason,
            total_pieces: fetch.total_pieces,
            wanted_pieces: fetch.wanted_pieces,
            verified_pieces: fetch.verified_pieces,
            wanted_bytes: fetch.wanted_bytes,
            verified_bytes: fetch.wanted_bytes.saturating_sub(fetch.left_bytes),
            left_bytes: fetch.left_bytes,
            resumed_bytes: fetch.resumed_bytes,
            received_bytes: fetch.received_bytes,
            wasted_bytes: fetch.wasted_bytes,
            sent_bytes: torrent.payload_sent_bytes,
            failed_pieces: fetch.failed_pieces,
            download_bytes_per_s: fetch.download_bytes_per_s,
            upload_bytes_per_s: fetch.upload_bytes_per_s,
            eta_s,
            peers,
            known_peers,
            checked_bytes,
            to_check_bytes,
            outcome: None,
            error: None,
        }
    }

    fn draw(&self, bar: &ProgressBar) {
        let (done, all) = match (self.checked_bytes, self.to_check_bytes) {
            (Some(checked), Some(all)) => (checked, all),
            _ => (self.verified_bytes, self.wanted_bytes),
        };
        bar.set_length(all.max(1));
        bar.set_position(done);
        bar.set_message(self.sentence());
    }

    /// The numbers for people.
    fn sentence(&self) -> String {
        let peers = format!("{} peer{}", self.peers, plural(self.peers as usize));
        match self.state {
            "resolving" => format!("{}: asking what the link stands for, {peers}", self.name),
            "preparing" => {
                let (checked, all) = (self.checked_bytes.unwrap_or(0), self.to_check_bytes.unwrap_or(0));
                format!("{}: checking what is there, {} of {}", self.name, DecimalBytes(checked), DecimalBytes(all))
            }
            "paused" => format!("{}: paused: {}", self.name, self.reason.as_deref().unwrap_or_default()),
            "seeding" => {
                let (rate, sent) = (DecimalBytes(self.upload_bytes_per_s), DecimalBytes(self.sent_bytes));
                format!("{}: seeding, {rate}/s up, {sent} sent, {peers}", self.name)
            }
            _ => {
                let (done, all) = (DecimalBytes(self.verified_bytes), DecimalBytes(self.wanted_bytes));
                let (down, up) = (DecimalBytes(self.download_bytes_per_s), DecimalBytes(self.upload_bytes_per_s));
                let eta = self.eta_s.map(|eta_s| format!(", {} left", HumanDuration(Duration::from_secs(eta_s))));
                let pieces = format!("{} of {}", HumanCount(self.verified_pieces), HumanCount(self.wanted_pieces));
                let eta = eta.unwrap_or_default();
                format!("{}: {done} of {all}, {pieces} pieces, {down}/s down, {up}/s up, {peers}{eta}", self.name)
            }
        }
    }
}

/// Seconds to the end at the rate of the last seconds.
fn eta_s(fetch: &FetchStatus) -> Option<u64> {
    (fetch.left_bytes > 0).then(|| fetch.left_bytes.checked_div(fetch.download_bytes_per_s)).flatten()
}

fn bar() -> ProgressBar {
    let bar = logging::screen().add(ProgressBar::new(0));
    if let Ok(style) = ProgressStyle::with_template("{percent:>3} % [{bar:25}] {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torrent(state: TorrentState, fetch: FetchStatus) -> TorrentStatus {
        TorrentStatus {
            id: seedbox::TorrentId(0),
            name: "image.iso".to_owned(),
            state,
            error: None,
            size_bytes: None,
            embargo: None,
            is_stopped: false,
            payload_received_bytes: 0,
            upload_bytes_per_s: 0,
            fetch: Some(fetch),
            peers: 1,
            payload_sent_bytes: 0,
        }
    }

    #[test]
    fn programs_find_the_numbers_under_the_names_that_they_know() {
        let fetch =
            FetchStatus { wanted_bytes: 100, left_bytes: 60, download_bytes_per_s: 20, ..FetchStatus::default() };
        let line = Line::new("fetching", &torrent(TorrentState::Fetching, fetch));
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!(
            (&json["state"], &json["verified_bytes"], &json["eta_s"]),
            (&"fetching".into(), &40.into(), &3.into())
        );
        for null in ["reason", "outcome", "error", "checked_bytes"] {
            assert!(json[null].is_null(), "{null}");
        }
        let ended = serde_json::to_value(Line { outcome: Some(Outcome::Interrupted), ..line }).unwrap();
        assert_eq!(ended["outcome"], "interrupted");
    }

    #[test]
    fn a_fetch_to_which_nothing_comes_has_no_end_in_sight() {
        let fetch = FetchStatus { wanted_bytes: 100, left_bytes: 60, ..FetchStatus::default() };
        assert_eq!(eta_s(&fetch), None);
        assert_eq!(eta_s(&FetchStatus { download_bytes_per_s: 100, ..FetchStatus::default() }), None, "nor is a wait");
    }

    #[test]
    fn people_read_why_it_is_paused() {
        let paused = TorrentState::Paused { reason: "/srv/image.iso: no space left".to_owned() };
        let line = Line::new("paused", &torrent(paused, FetchStatus::default()));
        assert!(line.sentence().contains("/srv/image.iso: no space left"), "{}", line.sentence());
    }
}
