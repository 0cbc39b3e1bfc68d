//! What is about the service and its published trees as a whole.

use api::operator::types::{ReleasePage, ReleaseState, Reloaded, Rescan, Rescanning, VersionInfo};
use serde_json::json;

use super::client::Client;
use super::table::{Align, lines, size};
use crate::date::utc;
use crate::failure::Failure;
use crate::output;

/// Look at published trees again, now
#[derive(Debug, clap::Args)]
pub(super) struct RescanArgs {
    /// The label of one [[publish]] entry [default: all]
    #[arg(value_name = "LABEL")]
    publish: Option<String>,
}

pub(super) fn reload(client: &mut Client, json: bool) -> Result<(), Failure> {
    let reloaded: Reloaded = client.post("/v1/reload", &json!({}))?;
    if json {
        output::json(&reloaded)?;
    } else {
        show_reloaded(&reloaded)?;
    }
    match reloaded.failed.len() {
        0 => Ok(()),
        count => Err(Failure::new(format!("not applied: {count} of the changes; put them right and reload again"))),
    }
}

fn show_reloaded(reloaded: &Reloaded) -> Result<(), Failure> {
    if reloaded.applied.is_empty() && reloaded.failed.is_empty() && reloaded.needs_restart.is_empty() {
        return output::line("nothing has changed");
    }
    let applied = reloaded.applied.iter().map(|key| format!("applied        {key}"));
    let failed = reloaded.failed.iter().map(|reason| format!("not applied    {reason}"));
    let restart = reloaded.needs_restart.iter().map(|key| format!("needs restart  {key}"));
    output::lines(&applied.chain(failed).chain(restart).collect::<Vec<_>>())
}

pub(super) fn rescan(client: &mut Client, args: &RescanArgs, json: bool) -> Result<(), Failure> {
    let rescan = Rescan { publish: args.publish.clone() };
    let rescanning: Rescanning = client.post("/v1/releases/rescan", &rescan)?;
    if json {
        return output::json(&rescanning);
    }
    match rescanning.publish.as_slice() {
        [] => output::line("there is no [[publish]] entry"),
        labels => output::lines(&labels.iter().map(|label| format!("looking at  {label}")).collect::<Vec<_>>()),
    }
}

pub(super) fn version(client: &mut Client, json: bool) -> Result<(), Failure> {
    let info: VersionInfo = client.get("/v1/version")?;
    if json {
        return output::json(&info);
    }
    let started = utc(info.started_at_s).unwrap_or_else(|| info.started_at_s.to_string());
    output::line(&format!("{} {}, process {}, since {started}", info.program, info.version, info.pid))
}

pub(super) fn releases(client: &mut Client, json: bool) -> Result<(), Failure> {
    let page: ReleasePage = client.get("/v1/releases")?;
    if json {
        return output::json(&page);
    }
    let columns = [
        ("ID", Align::Right),
        ("STATE", Align::Left),
        ("SIZE", Align::Right),
        ("TORRENT", Align::Right),
        ("TIME", Align::Left),
        ("TREE", Align::Left),
        ("PATH", Align::Left),
    ];
    let row = |release: &api::operator::types::ReleaseRow| {
        let time = match release.state {
            ReleaseState::Embargoed => release.opens_at_s,
            _ => release.published_at_s,
        };
        let path = match &release.error {
            Some(error) => format!("{}: {error}", release.path),
            None => release.path.clone(),
        };
        vec![
            release.id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            state(release.state).to_owned(),
            size(release.size_bytes),
            release.torrent_id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            time.and_then(utc).unwrap_or_else(|| "-".to_owned()),
            release.publish.clone(),
            path,
        ]
    };
    output::lines(&lines(&columns, &page.releases.iter().map(row).collect::<Vec<_>>()))
}

fn state(state: ReleaseState) -> &'static str {
    match state {
        ReleaseState::Settling => "settling",
        ReleaseState::Hashing => "hashing",
        ReleaseState::Embargoed => "embargoed",
        ReleaseState::Published => "published",
        ReleaseState::Gone => "gone",
        ReleaseState::Withdrawn => "withdrawn",
        ReleaseState::Failed => "failed",
    }
}
