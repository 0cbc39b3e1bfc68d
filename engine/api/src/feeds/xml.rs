//! XML as both feed formats need it: elements around text that may hold anything. Escaping is quick-xml's.

use std::borrow::Cow;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// Longer texts are cut: titles and descriptions are for people.
const MAX_TEXT_CHARS: usize = 4096;

/// A document under way.
pub(super) struct Xml {
    writer: Writer<Vec<u8>>,
}

impl Xml {
    pub(super) fn new() -> io::Result<Xml> {
        let mut writer = Writer::new(Vec::new());
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
        Ok(Xml { writer })
    }

    /// How long it is so far.
    pub(super) fn size_bytes(&mut self) -> usize {
        self.writer.get_mut().len()
    }

    pub(super) fn open(&mut self, name: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
        self.writer.get_mut().push(b'\n');
        self.writer.write_event(Event::Start(start(name, attributes)))
    }

    pub(super) fn close(&mut self, name: &str) -> io::Result<()> {
        self.writer.get_mut().push(b'\n');
        self.writer.write_event(Event::End(BytesEnd::new(name)))
    }

    /// An element with nothing in it.
    pub(super) fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
        self.writer.get_mut().push(b'\n');
        self.writer.write_event(Event::Empty(start(name, attributes)))
    }

    /// An element with a text for people, cut if it is very long.
    pub(super) fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        let end = text.char_indices().nth(MAX_TEXT_CHARS).map_or(text.len(), |(end, _)| end);
        self.exact(name, &[], text.get(..end).unwrap_or(text))
    }

    /// An element with a text for programs, which stays whole.
    pub(super) fn exact(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) -> io::Result<()> {
        self.writer.get_mut().push(b'\n');
        self.writer.write_event(Event::Start(start(name, attributes)))?;
        self.writer.write_event(Event::Text(BytesText::new(&legal(text))))?;
        self.writer.write_event(Event::End(BytesEnd::new(name)))
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut bytes = self.writer.into_inner();
        bytes.push(b'\n');
        bytes
    }
}

fn start<'a>(name: &'a str, attributes: &[(&str, &str)]) -> BytesStart<'a> {
    let mut start = BytesStart::new(name);
    for (key, value) in attributes {
        start.push_attribute((*key, &*legal(value)));
    }
    start
}

/// The text with what XML 1.0 cannot say, escaped or not (section 2.2), replaced. A carriage return would be read as a line
/// feed, so it becomes one here.
fn legal(text: &str) -> Cow<'_, str> {
    let is_legal = |c: char| matches!(c, '\t' | '\n' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..);
    if text.chars().all(is_legal) {
        return Cow::Borrowed(text);
    }
    let replaced = |c| match c {
        '\r' => '\n',
        c if is_legal(c) => c,
        _ => '\u{FFFD}',
    };
    Cow::Owned(text.chars().map(replaced).collect())
}
