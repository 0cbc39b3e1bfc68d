//! The thread that looks at a tree: one of its own a root, of low priority, so that a hundred thousand files are walked
//! beside everything else and not before it.

use std::sync::mpsc;

use publish::Look;
use tokio::sync::oneshot;

use super::clock::Clock;
use super::look::Eye;

/// The thread's nice value.
const NICE: i32 = 10;

/// Gives looks. The thread ends with it.
#[derive(Debug)]
pub(crate) struct Looker {
    wishes: mpsc::Sender<(Box<str>, oneshot::Sender<Look>)>,
}

impl Looker {
    pub(crate) fn start(eye: Eye, clock: Clock) -> std::io::Result<Looker> {
        // One wish is under way at a time: the task waits for each.
        let (wishes, wished) = mpsc::channel::<(Box<str>, oneshot::Sender<Look>)>();
        let work = move || {
            // Of this thread alone, on Linux. Where that is refused it is as important as others.
            let _ = rustix::process::setpriority_process(None, NICE);
            while let Ok((under, answer)) = wished.recv() {
                let began = clock.now();
                // Who ends does not wait for it.
                let _ = answer.send(eye.look(&under, began));
            }
        };
        std::thread::Builder::new().name("look".to_owned()).spawn(work)?;
        Ok(Looker { wishes })
    }

    /// A look at `under` and what is below it. Nothing if the thread broke off, which is our fault.
    pub(crate) async fn look(&self, under: &str) -> Option<Look> {
        let (answer, look) = oneshot::channel();
        self.wishes.send((under.into(), answer)).ok()?;
        look.await.ok()
    }
}
