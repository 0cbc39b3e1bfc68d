//! The environment variable that chooses the hash path, in processes of their own, since the choice is made once.

use std::process::Command;

use hash::{Engine, PATH_VARIABLE, Path, self_test, sha1};

/// Run by the test below with the variable set, never by itself.
#[test]
#[ignore = "the other test runs it, in a process of its own"]
fn child() {
    match self_test() {
        Ok(()) => println!("<{}>", Engine::current().path()),
        Err(error) => println!("<{error}>"),
    }
    // The free functions work in any case.
    assert_eq!(sha1(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

#[test]
fn the_variable_chooses_the_path_or_gives_an_error_that_names_it() {
    let report_with = |value: &str| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(PATH_VARIABLE, value)
            .output()
            .unwrap();
        assert!(child.status.success(), "{value}: {child:?}");
        let output = String::from_utf8(child.stdout).unwrap();
        let (start, end) = (output.find('<').unwrap(), output.rfind('>').unwrap());
        output[start + 1..end].to_owned()
    };
    for path in Path::ALL {
        let report = report_with(path.name());
        if path.is_supported() {
            assert_eq!(report, path.name());
        } else {
            assert_eq!(report, format!("SPILLWAY_HASH={path}: this processor cannot run that hash path"));
        }
    }
    assert_eq!(report_with(""), Engine::detect().path().name());
    let report = report_with("mmx");
    assert!(report.contains("SPILLWAY_HASH=\"mmx\" names no hash path"), "{report}");
}
