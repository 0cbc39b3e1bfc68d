//! Which torrents a verb is about: some by what they are called, or all that a filter lets through.

use api::operator::types::{TorrentFilter, TorrentPage, TorrentRef, TorrentState};
use clap::builder::PossibleValue;
use url::form_urlencoded;

use super::client::{Client, Refusal};
use crate::failure::Failure;

/// Which torrents are listed.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Filter {
    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    state: Option<State>,

    /// Only those of this group
    #[arg(long, value_name = "GROUP")]
    in_group: Option<String>,

    /// Only those that came so: added, publish:LABEL or subscribe:NAME
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,

    /// Only those with this in their names, in whatever case
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,

    /// Only those that send or receive at the moment
    #[arg(long)]
    active: bool,
}

/// Some torrents, or all.
#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// The torrents: numbers, info-hashes or their first six or more digits, or exact names
    #[arg(value_name = "TORRENT", required_unless_present = "all", conflicts_with = "all")]
    torrents: Vec<String>,

    /// All of them, or all that the other options let through
    #[arg(long)]
    pub(super) all: bool,

    #[command(flatten)]
    filter: Filter,
}

/// A state as it is typed.
#[derive(Debug, Clone, Copy)]
struct State(TorrentState);

impl clap::ValueEnum for State {
    fn value_variants<'a>() -> &'a [State] {
        const ALL: [State; 11] = [
            State(TorrentState::Stopped),
            State(TorrentState::Resolving),
            State(TorrentState::Checking),
            State(TorrentState::Fetching),
            State(TorrentState::Paused),
            State(TorrentState::Finishing),
            State(TorrentState::Partial),
            State(TorrentState::Seeding),
            State(TorrentState::Resting),
            State(TorrentState::Moving),
            State(TorrentState::Failed),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(word(self.0)))
    }
}

/// The state as it is in JSON.
pub(super) fn word(state: TorrentState) -> &'static str {
    match state {
        TorrentState::Stopped => "stopped",
        TorrentState::Resolving => "resolving",
        TorrentState::Checking => "checking",
        TorrentState::Fetching => "fetching",
        TorrentState::Paused => "paused",
        TorrentState::Finishing => "finishing",
        TorrentState::Partial => "partial",
        TorrentState::Seeding => "seeding",
        TorrentState::Resting => "resting",
        TorrentState::Moving => "moving",
        TorrentState::Failed => "failed",
    }
}

impl Filter {
    /// All that it lets through.
    pub(super) fn fetch(&self, client: &mut Client) -> Result<TorrentPage, Refusal> {
        client.get(&self.target())
    }

    fn target(&self) -> String {
        let TorrentFilter { state, group, origin, name, active } = TorrentFilter {
            state: self.state.map(|State(state)| state),
            group: self.in_group.clone(),
            origin: self.origin.clone(),
            name: self.name.clone(),
            active: self.active.then_some(true),
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        let given = [
            ("state", state.map(|state| word(state).to_owned())),
            ("group", group),
            ("origin", origin),
            ("name", name),
            ("active", active.map(|active| active.to_string())),
        ];
        for (key, value) in given.iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value))) {
            query.append_pair(key, value);
        }
        let query = query.finish();
        if query.is_empty() { "/v1/torrents".to_owned() } else { format!("/v1/torrents?{query}") }
    }

    fn is_empty(&self) -> bool {
        self.target() == Filter::default().target()
    }
}

impl Selection {
    /// What the torrents are called.
    pub(super) fn resolve(&self, client: &mut Client) -> Result<Vec<TorrentRef>, Failure> {
        if self.all {
            let page = self.filter.fetch(client)?;
            return Ok(page.torrents.iter().map(|row| TorrentRef(row.id.to_string())).collect());
        }
        if !self.filter.is_empty() {
            return Err(Failure::new("--state, --in-group, --origin, --name and --active go with --all"));
        }
        Ok(self.torrents.iter().cloned().map(TorrentRef).collect())
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn states_are_typed_as_json_has_them() {
        for State(state) in State::value_variants() {
            assert_eq!(serde_json::to_value(state).unwrap(), word(*state));
        }
    }

    #[test]
    fn a_filter_is_a_query_that_says_what_was_typed() {
        assert_eq!(Filter::default().target(), "/v1/torrents");
        let filter = Filter {
            state: Some(State(TorrentState::Failed)),
            name: Some("a&b=c é".to_owned()),
            active: true,
            ..Filter::default()
        };
        assert_eq!(filter.target(), "/v1/torrents?state=failed&name=a%26b%3Dc+%C3%A9&active=true");
    }
}
