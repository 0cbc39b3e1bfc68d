//! `[[publish]]`, `[[feed]]`, `[[subscribe]]`, `[[webhook]]`: each entry by itself, and the names by which they know each other.

use super::{DAY, Findings, MINUTE, SECOND, YEAR, key};
use crate::document::KeyPath;
use crate::sections::{Feed, Publish, Rule, Settings, Subscribe, Webhook};
use crate::{Period, Size};

/// Keys shorter than this can be guessed.
const MIN_KEY_BYTES: usize = 16;
const MAX_KEY_BYTES: usize = 128;

/// The longest note in a torrent, and the longest text about a feed.
const MAX_TEXT_BYTES: usize = 4096;

/// Items of one feed at most: as many as are written.
pub const FEED_ITEMS_MAX: u32 = 1000;

/// What clients take: 16 KiB is the block, above 128 MiB several give up.
const MIN_PIECE: u64 = 16 << 10;
const MAX_PIECE: u64 = 128 << 20;

const ZERO: Period = Period::from_secs(0);

impl Settings {
    pub(super) fn check_lists(&self, findings: &mut Findings) {
        findings.unique_names("publish", self.publish.iter().map(|publish| publish.name.as_str()));
        for (at, publish) in findings.entries(&key("publish"), &self.publish) {
            self.check_publish(&at, publish, findings);
        }
        findings.unique_names("feed", self.feed.iter().map(|feed| feed.name.as_str()));
        for (at, feed) in findings.entries(&key("feed"), &self.feed) {
            self.check_feed(&at, feed, findings);
        }
        findings.unique_names("subscribe", self.subscribe.iter().map(|subscribe| subscribe.name.as_str()));
        for (at, subscribe) in findings.entries(&key("subscribe"), &self.subscribe) {
            check_subscribe(&at, subscribe, findings);
            self.check_group(at.name("group"), subscribe.group.as_deref(), findings);
        }
        for (at, webhook) in findings.entries(&key("webhook"), &self.webhook) {
            check_webhook(&at, webhook, findings);
            if self.webhook.iter().filter(|other| other.url == webhook.url).count() > 1 {
                findings.add(at.name("url"), "there are two webhooks of this URL");
            }
        }
    }

    fn check_publish(&self, at: &KeyPath, publish: &Publish, findings: &mut Findings) {
        findings.required_path(at.name("root"), &publish.root);
        findings.absolute(at.name("output"), publish.output.as_deref());
        let releases = publish.releases.iter().any(|rule| !matches!(rule, Rule::Ignore(_)));
        if !releases {
            findings.add(at.name("releases"), "no rule makes a release; add { file = \"*\" } or { directory = \"*\" }");
        }
        findings.entries(&at.name("releases"), &publish.releases);
        findings.entries(&at.name("include"), &publish.include);
        findings.entries(&at.name("exclude"), &publish.exclude);
        if let Some(Size(bytes)) = publish.piece_length
            && !(bytes.is_power_of_two() && (MIN_PIECE..=MAX_PIECE).contains(&bytes))
        {
            let (least, most) = (Size(MIN_PIECE), Size(MAX_PIECE));
            findings.add(at.name("piece_length"), format!("{} is no power of two from {least} to {most}", Size(bytes)));
        }
        for (tier, urls) in publish.trackers.iter().enumerate() {
            for (index, url) in urls.iter().enumerate() {
                findings.announce_url(at.name("trackers").index(tier).index(index), url);
            }
        }
        self.check_publish_times(at, publish, findings);
        self.check_group(at.name("group"), publish.group.as_deref(), findings);
        let own_tracker = publish.own_tracker && !self.tracker.listen.is_empty();
        if publish.private && !own_tracker && publish.trackers.iter().all(Vec::is_empty) {
            findings.add(at.name("private"), "private torrents are found through trackers only, and there is none");
        }
        findings.text(at, "comment", publish.comment.as_deref());
        findings.text(at, "source", publish.source.as_deref());
    }

    fn check_publish_times(&self, at: &KeyPath, publish: &Publish, findings: &mut Findings) {
        findings.within(at, "settle", Some(publish.settle), ZERO..=DAY);
        findings.within(at, "grace", Some(publish.grace), ZERO..=YEAR);
        findings.within(at, "rescan", Some(publish.rescan), SECOND..=YEAR);
        findings.within(at, "poll", Some(publish.poll), SECOND..=DAY);
        findings.within(at, "max_withdraw_percent", Some(publish.max_withdraw_percent), 1..=100);
        if let Some(early_key) = &publish.early_key {
            let early_key = early_key.expose();
            let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if !(MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&early_key.len()) || !early_key.bytes().all(fit) {
                let what = format!("a key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} letters, digits, `-` and `_`");
                findings.add(at.name("early_key"), what);
            }
        }
    }

    fn check_feed(&self, at: &KeyPath, feed: &Feed, findings: &mut Findings) {
        findings.within(at, "max_items", Some(feed.max_items), 1..=FEED_ITEMS_MAX);
        findings.unique(&at.name("publish"), &feed.publish);
        let known = |name: &&String| self.publish.iter().any(|publish| publish.name == **name);
        for (index, name) in feed.publish.iter().enumerate().filter(|(_, name)| !known(name)) {
            findings.add(at.name("publish").index(index), format!("there is no [[publish]] of the name {name:?}"));
        }
        let subtag =
            |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if let Some(language) = feed.language.as_ref().filter(|language| !language.split('-').all(subtag)) {
            findings.add(at.name("language"), format!("{language:?} is no language such as \"en\" or \"pt-BR\""));
        }
        findings.text(at, "title", feed.title.as_deref());
        findings.text(at, "description", feed.description.as_deref());
    }
}

fn check_subscribe(at: &KeyPath, subscribe: &Subscribe, findings: &mut Findings) {
    findings.required_path(at.name("output"), &subscribe.output);
    findings.absolute(at.name("ca_file"), subscribe.ca_file.as_deref());
    findings.within(at, "interval", Some(subscribe.interval), SECOND..=YEAR);
    findings.within(at, "max_items", subscribe.max_items, 1..=1_000_000);
    findings.within(at, "max_item_size", subscribe.max_item_size, Size(1)..=Size(u64::MAX));
    findings.within(at, "max_total_size", subscribe.max_total_size, Size(1)..=Size(u64::MAX));
    findings.entries(&at.name("accept"), &subscribe.accept);
    findings.entries(&at.name("reject"), &subscribe.reject);
    findings.entries(&at.name("files"), &subscribe.files);
}

fn check_webhook(at: &KeyPath, webhook: &Webhook, findings: &mut Findings) {
    findings.within(at, "timeout", Some(webhook.timeout), SECOND..=Period::from_secs(5 * MINUTE.duration().as_secs()));
    findings.within(at, "attempts", Some(webhook.attempts), 1..=100);
    findings.unique(&at.name("events"), &webhook.events);
    findings.absolute(at.name("secret_file"), webhook.secret_file.as_deref());
    if webhook.events.is_empty() {
        findings.add(at.name("events"), "is empty, so that nothing would be told; leave it out for all");
    }
    if webhook.secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
        findings.add(at.name("secret"), "is empty; leave it out to send unsigned");
    }
}

impl Findings {
    fn text(&mut self, at: &KeyPath, name: &str, text: Option<&str>) {
        if text.is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
            self.add(at.name(name), format!("has more than {MAX_TEXT_BYTES} bytes"));
        }
    }
}
