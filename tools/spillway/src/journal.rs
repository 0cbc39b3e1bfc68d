//! Log lines as the journal likes them: a priority in front, no time, one line each. Whether stderr leads there is found
//! out here, too.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Whether our stderr is the journal's: systemd names the device and inode of the stream that it gave us, and a later
/// redirection has others (systemd.exec(5), `$JOURNAL_STREAM`).
pub(crate) fn hears_stderr() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let stream = rustix::fs::fstat(std::io::stderr()).ok();
    named.zip(stream).is_some_and(|(named, stream)| is_stream(&named, stream.st_dev, stream.st_ino))
}

fn is_stream(named: &str, device: u64, inode: u64) -> bool {
    let parts = named.split_once(':').and_then(|(left, right)| Some((left.parse().ok()?, right.parse().ok()?)));
    parts == Some((device, inode))
}

/// `<N>target: message fields`; the number is the line's priority (sd-daemon(3)).
pub(crate) struct JournalLines;

impl<S, N> FormatEvent<S, N> for JournalLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        context.field_format().format_fields(Writer::new(&mut line), event)?;
        write!(writer, "<{}>{}: ", priority(event.metadata().level()), event.metadata().target())?;
        // A line break inside would begin a line without priority, that looks like somebody else's.
        for (index, part) in line.split(['\n', '\r']).filter(|part| !part.is_empty()).enumerate() {
            writer.write_str(if index > 0 { "; " } else { "" })?;
            writer.write_str(part)?;
        }
        writer.write_char('\n')
    }
}

/// As syslog(3) numbers them.
fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_its_priority_and_a_name_with_line_breaks_makes_no_second_one() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(JournalLines)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "service", "{} is gone", "a\n<2>forged: b");
            tracing::info!(target: "service", torrents = 3, "restored");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["<3>service: a; <2>forged: b is gone", "<6>service: restored torrents=3"]);
    }

    #[test]
    fn a_redirected_stderr_is_not_the_journal() {
        assert!(is_stream("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", "8:", "a:b", "8:1234:5"] {
            assert!(!is_stream(other, 8, 1234), "{other}");
        }
    }
}
