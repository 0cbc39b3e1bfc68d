//! Releases: kept before anything is written for them, opened when their files lie there, and withdrawn backwards, so that
//! nothing is announced that is not served or the other way round, whenever the process ends.

use catalogue::{Change, NewTorrent, Origin, Release, ReleaseState, TorrentChange, TorrentNumber};

use super::entry::{Entry, Live};
use super::operations::add_at_rest;
use super::task::Desk;
use super::{Answer, DeskError, Happened, NewRelease, Recorded};
use crate::clock::unix_s;
use crate::webhooks::withdrawal_note;

impl Desk {
    pub(crate) fn record(&mut self, new: NewRelease, answer: Answer<Recorded>) {
        let catalogue = self.world.catalogue.clone();
        let (number, release) = (catalogue.next_torrent(), catalogue.next_release());
        let origin = Origin::Published { label: new.label.clone(), path: new.path.clone() };
        let mut torrent = NewTorrent::of_file(number, &new.torrent, new.metainfo, new.content, origin, unix_s());
        torrent.verified = Some(new.record.encode());
        torrent.row.completed_at_s = Some(unix_s());
        (torrent.row.group, torrent.row.limits) = (new.group, new.limits);
        torrent.row.release_at_s = new.opens_at_s;
        let mut entry = Entry::new(torrent.row.clone());
        let row = Release {
            number: release,
            label: new.label,
            path: new.path,
            torrent: Some(number),
            state: ReleaseState::Preparing,
            published_at_s: None,
            gone_since_s: None,
            withdrawn_at_s: None,
        };
        entry.release = Some(Box::new(row.clone()));
        if let Err(error) = self.table.insert(entry) {
            return drop(answer.send(Err(error)));
        }
        let mut changes = vec![Change::AddTorrent(Box::new(torrent)), Change::PutRelease(row)];
        if !new.file_sha256.is_empty() {
            changes.push(Change::ReleaseSums(release, new.file_sha256));
        }
        let job = async move { catalogue.apply(changes).await };
        self.work(number, job, move |desk, kept| {
            if kept.is_err() {
                desk.table.remove(number);
            }
            let recorded = kept.map(|()| Recorded { torrent: number, release }).map_err(DeskError::from);
            let _ = answer.send(recorded);
        });
    }

    pub(crate) fn open(&mut self, number: TorrentNumber, answer: Answer<()>) {
        let Some(entry) = self.table.get(number) else { return };
        let release = match entry.release.as_deref() {
            Some(release) if release.state == ReleaseState::Preparing => {
                Release { state: ReleaseState::Published, published_at_s: Some(unix_s()), ..release.clone() }
            }
            Some(release) if release.state == ReleaseState::Published => return drop(answer.send(Ok(()))),
            _ => return drop(answer.send(Err(refused(entry, "it is no release that can be opened")))),
        };
        let row = release.clone();
        let torrent = self.wants_engine_when_open(entry).then(|| self.at_rest(number)).flatten();
        let world = self.world.clone();
        let job = async move {
            let id = match torrent {
                Some(torrent) => Some(add_at_rest(&world.engine, torrent).await?),
                None => None,
            };
            match world.catalogue.apply(vec![Change::PutRelease(row)]).await {
                Ok(()) => Ok(id),
                Err(error) => {
                    if let Some(id) = id {
                        world.engine.remove(id).await?;
                    }
                    Err(error.into())
                }
            }
        };
        self.work(number, job, move |desk, opened| match opened {
            Ok(id) => {
                desk.set_engine(number, id);
                desk.set_release(number, release);
                desk.then_feeds_follow(number, answer, Happened::Published);
            }
            Err(error) => drop(answer.send(Err(error))),
        });
    }

    pub(crate) fn withdraw(&mut self, number: TorrentNumber, reason: &str, answer: Answer<()>) {
        let Some(entry) = self.table.get(number) else { return };
        let release = match entry.release.as_deref() {
            Some(release) if release.state == ReleaseState::Withdrawn => return drop(answer.send(Ok(()))),
            Some(release) => {
                Release { state: ReleaseState::Withdrawn, withdrawn_at_s: Some(unix_s()), ..release.clone() }
            }
            None => return drop(answer.send(Err(refused(entry, "it is no release; remove it")))),
        };
        let mut changes = vec![Change::PutRelease(release.clone())];
        let message = release.published_at_s.map(|_| self.world.catalogue.next_delivery());
        if let Some(message) = message {
            let line = entry.line(&Live::default(), self.now());
            changes.push(withdrawal_note(message, &line, unix_s(), reason));
        }
        self.leave_engine(number, changes, move |desk, withdrawn| {
            // If it could not be kept, it is withdrawn once more, or at the next start, and told of then.
            if withdrawn.is_ok() {
                desk.set_release(number, release);
                desk.tell(number, Happened::Withdrawn { message });
            }
            let _ = answer.send(withdrawn);
        });
    }

    pub(crate) fn forget(&mut self, number: TorrentNumber, answer: Answer<()>) {
        let Some(entry) = self.table.get(number) else { return };
        let release = match entry.release.as_deref() {
            Some(release) if release.state != ReleaseState::Published => release.clone(),
            Some(_) => return drop(answer.send(Err(refused(entry, "it is published; withdraw it first")))),
            None => return drop(answer.send(Err(refused(entry, "it is no release; remove it")))),
        };
        let mut changes = vec![Change::RemoveTorrent(number)];
        if release.state == ReleaseState::Preparing {
            // Nobody has ever heard of it.
            changes.push(Change::RemoveRelease(release.number));
        }
        let catalogue = self.world.catalogue.clone();
        self.work(number, async move { catalogue.apply(changes).await }, move |desk, kept| {
            if kept.is_ok()
                && let Some(entry) = desk.table.remove(number)
            {
                desk.tell_of(&entry, Happened::Removed);
            }
            let _ = answer.send(kept.map_err(DeskError::from));
        });
    }

    pub(crate) fn set_embargo(&mut self, number: TorrentNumber, opens_at_s: Option<i64>, answer: Answer<()>) {
        let Some(entry) = self.table.get(number) else { return };
        let now_s = unix_s();
        let is_shut = entry.row.release_at_s.is_some_and(|opens_at_s| opens_at_s > now_s);
        let is_published = entry.release.as_deref().is_some_and(|release| release.state == ReleaseState::Published);
        if is_published && !is_shut {
            let unchanged = opens_at_s.is_none_or(|opens_at_s| opens_at_s <= now_s);
            let answered = if unchanged { Ok(()) } else { Err(refused(entry, "it is open already, and stays so")) };
            return drop(answer.send(answered));
        }
        // What is lifted opens now. Feeds and webhooks go by that, not by when it was made ready: that may be long ago.
        let opens_at_s = if is_shut { Some(opens_at_s.unwrap_or(now_s).max(now_s)) } else { opens_at_s };
        let change = Change::Torrent(number, TorrentChange::ReleaseAt(opens_at_s));
        let catalogue = self.world.catalogue.clone();
        self.work(number, async move { catalogue.apply(vec![change]).await }, move |desk, kept| {
            if kept.is_ok() {
                desk.reset_embargo(number, opens_at_s);
            }
            let _ = answer.send(kept.map_err(DeskError::from));
        });
    }

    /// Puts the opening of a release off, or brings it forward.
    fn reset_embargo(&mut self, number: TorrentNumber, opens_at_s: Option<i64>) {
        let Some(entry) = self.table.get_mut(number) else { return };
        let before = std::mem::replace(&mut entry.row.release_at_s, opens_at_s);
        if let Some(before) = before {
            self.shut.remove(&(before, number));
        }
        if let Some(gate) = &entry.gate {
            // Control looks at it each second.
            gate.set_opens_at_unix_s(Some(opens_at_s.and_then(|s| u64::try_from(s).ok()).unwrap_or(0)));
            self.shut.insert((opens_at_s.unwrap_or(0), number));
        }
    }

    /// Lets a release be in the state that it has in the catalogue.
    fn set_release(&mut self, number: TorrentNumber, release: Release) {
        if let Some(entry) = self.table.get_mut(number) {
            entry.release = Some(Box::new(release));
        }
        self.show(number);
    }

    /// Answers once the feeds tell of a release, and tells everybody.
    fn then_feeds_follow(&mut self, number: TorrentNumber, answer: Answer<()>, what: Happened) {
        let shown = self.feeds_follow();
        self.work(number, shown, move |desk, ()| {
            desk.tell(number, what);
            let _ = answer.send(Ok(()));
        });
    }

    /// Whether the engine is to have it as soon as it is published.
    fn wants_engine_when_open(&self, entry: &Entry) -> bool {
        entry.engine.is_none() && entry.is_wanted()
    }
}

/// An error that names the torrent.
pub(crate) fn refused(entry: &Entry, reason: &str) -> DeskError {
    DeskError::Refused { name: entry.row.name.to_string(), reason: reason.to_owned() }
}
