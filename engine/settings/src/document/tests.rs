use proptest::prelude::*;

use crate::{Rate, Settings};

fn read(text: &str) -> Result<Settings, String> {
    Settings::read("s.toml", text, []).map_err(|error| error.to_string())
}

fn with(environment: &[(&str, &str)]) -> Result<Settings, String> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::read("s.toml", "[peers]\nslots = 7\n", environment).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(read(""), Ok(Settings::default()));
    assert_eq!(read("\u{feff}# from Windows\r\n"), Ok(Settings::default()));
}

#[test]
fn unknown_keys_are_all_told_with_line_column_and_what_was_meant() {
    let problems =
        read("[peers]\n  lisen = []\n[engin]\n[[publish]]\nname = 'a'\nroots = '/a'\n[limits.groups.x]\nuplod = 1\n");
    let lines: Vec<String> = problems.unwrap_err().lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "s.toml:2:3: peers.lisen: there is no such key; did you mean `listen`?",
            "s.toml:3:2: engin: there is no such key; did you mean `engine`?",
            "s.toml:6:1: publish[0].roots: there is no such key; did you mean `root`?",
            "s.toml:8:1: limits.groups.x.uplod: there is no such key; did you mean `upload`?",
        ]
    );
}

#[test]
fn a_key_in_the_wrong_section_is_told_where_it_belongs() {
    let problem = read("[peers]\nturn_delay_us = 1").unwrap_err();
    assert_eq!(problem, "s.toml:2:1: peers.turn_delay_us: there is no such key here; it belongs to [engine]");
}

#[test]
fn wrong_values_name_their_key_and_line() {
    for (text, expected) in [
        ("[peers]\nslots = 'many'", "s.toml:2:1: peers.slots: invalid type: string \"many\", expected u32"),
        ("[limits]\nupload = '9 parsecs'", "s.toml:2:1: limits.upload: "),
        ("[peers]\nlisten = ['0.0.0.0:1',\n 'nowhere']", "s.toml:3:2: peers.listen[1]: "),
        ("[[subscribe]]\nname = 'a'\noutput = '/a'", "s.toml:1:1: subscribe[0]: missing field `feed`"),
        ("[[publish]]\nreleases = [{ fil = '*' }]", "s.toml:2:1"),
        (
            "[log]\nformat = 'xml'",
            "s.toml:2:1: log.format: unknown variant `xml`, expected one of `auto`, `text`, `json`",
        ),
    ] {
        let problem = read(text).unwrap_err();
        assert!(
            problem.starts_with(expected.split_at(expected.len().min(8)).0) && !problem.contains('\n'),
            "{problem}"
        );
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn text_that_is_no_toml_is_told_with_its_line() {
    assert!(read("[peers]\nslots = \n").unwrap_err().starts_with("s.toml:2:9: "));
    let twice = "s.toml:2:2: peers is there already; put what belongs to it in one place";
    assert_eq!(read("[peers]\n[peers]\n").unwrap_err(), twice);
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(!read(&deep).unwrap_err().contains('\n'));
    assert!(read(&"#".repeat(super::MAX_FILE_BYTES + 1)).unwrap_err().contains("more than"));
}

#[test]
fn a_variable_replaces_what_the_file_says() {
    let settings = with(&[
        ("SPILLWAY_PEERS__SLOTS", "500"),
        ("SPILLWAY_PEERS__LISTEN", "[\"127.0.0.1:5\"]"),
        ("SPILLWAY_LIMITS__UPLOAD", "10MB"),
        ("SPILLWAY_LIMITS__GROUPS__MIRRORS__UPLOAD", "unlimited"),
        ("SPILLWAY_PUBLISH__0__NAME", "images"),
        ("SPILLWAY_PUBLISH__0__ROOT", "/srv/images"),
        ("SPILLWAY_SOCKET", "not a key of the file"),
        ("PATH", "/bin"),
    ]);
    let settings = settings.unwrap();
    assert_eq!(settings.peers.slots, Some(500));
    assert_eq!(settings.peers.listen, ["127.0.0.1:5".parse().unwrap()]);
    assert_eq!(settings.limits.upload.bytes_per_s().unwrap().get(), 10_000_000);
    assert_eq!(settings.limits.groups["mirrors"].upload, Rate::UNLIMITED);
    assert_eq!((settings.publish[0].name.as_str(), settings.publish[0].root.to_str()), ("images", Some("/srv/images")));
}

#[test]
fn a_variable_that_looks_like_a_number_may_be_a_text() {
    assert_eq!(with(&[("SPILLWAY_CONTROL__GROUP", "100")]).unwrap().control.group.as_deref(), Some("100"));
    assert_eq!(with(&[("SPILLWAY_CONTROL__MODE", "0600")]).unwrap().control.mode.0, 0o600);
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, expected) in [
        ("SPILLWAY_PEERS__SLOTS", "many", "SPILLWAY_PEERS__SLOTS: peers.slots: "),
        ("SPILLWAY_PEERS__SLOTS", "0", "SPILLWAY_PEERS__SLOTS: peers.slots: 0 is not from 1 to "),
        ("SPILLWAY_PEERS__SLOT", "1", "SPILLWAY_PEERS__SLOT: there is no such key; did you mean `slots`?"),
        ("SPILLWAY_PUBLISH__ROOT", "/a", "SPILLWAY_PUBLISH__ROOT: publish is followed by a number from 0"),
        ("SPILLWAY_PUBLISH__3__ROOT", "/a", "SPILLWAY_PUBLISH__3__ROOT: there are 0 before it; the next is number 0"),
        ("SPILLWAY_PEERS__", "1", "SPILLWAY_PEERS__: "),
        ("SPILLWAY_PEERS__SLOTS__X", "1", "SPILLWAY_PEERS__SLOTS__X: peers.slots is a value; nothing comes after it"),
    ] {
        let problem = with(&[(name, value)]).unwrap_err();
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn secrets_are_in_no_message_and_in_nothing_shown() {
    let text = "[[webhook]]\nurl = 'https://u:hush@example.org/?t=hush'\nsecret = 'hush'\n[[publish]]\nname = 'a'\nroot = '/a'\nearly_key = 'hush'";
    let problem = read(text).unwrap_err();
    assert!(problem.contains("publish[0].early_key") && !problem.contains("hush"), "{problem}");
    let settings = read(&text.replace("early_key = 'hush'", "early_key = 'hushhushhushhush'")).unwrap();
    assert!(!settings.to_toml().contains("hush") && !format!("{settings:?}").contains("hush"));
}

#[test]
fn what_is_shown_reads_the_same() {
    let text = "[limits.groups.a]\nseed_ratio = 2.0\n[[publish]]\nname = 'a'\nroot = '/a'\nrelease_at = 2030-01-01T00:00:00Z\nmirrors = [{ url = 'https://example.org/' }]";
    let settings = read(text).unwrap();
    assert_eq!(read(&settings.to_toml()), Ok(settings));
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in "[\\[\\]a-z.='\" \n0-9{},#]{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_variable_is_a_panic(name in "[A-Z_0-9]{0,40}", value in ".{0,40}") {
        let _ = with(&[(&format!("SPILLWAY_{name}"), &value)]);
        let _ = with(&[(&format!("SPILLWAY_PUBLISH__{name}"), &value)]);
    }
}
