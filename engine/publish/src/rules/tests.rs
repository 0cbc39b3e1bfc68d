use super::*;
use proptest::prelude::*;

fn rule(glob: &str, becomes: Becomes) -> Rule {
    Rule { glob: glob.to_owned(), becomes }
}

fn globs(globs: &[&str]) -> Vec<String> {
    globs.iter().map(|&glob| glob.to_owned()).collect()
}

fn mirror() -> Rules {
    let rules = [
        rule("private", Becomes::Ignored),
        rule("data/*/", Becomes::Directory),
        rule("**/*.log", Becomes::Ignored),
        rule("**/*.iso", Becomes::File),
    ];
    Rules::new(&rules).unwrap().excluding(&globs(&["**/*.bak", "data/old"])).unwrap()
}

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = mirror();
    for (path, is_directory, role) in [
        ("a.iso", false, Role::Release),
        ("deep/er/a.iso", false, Role::Release),
        ("a.iso", true, Role::Plain),
        ("deep", true, Role::Plain),
        ("a.txt", false, Role::Skipped),
        ("private", true, Role::Skipped),
        ("private/a.iso", false, Role::Skipped),
        ("data/one", true, Role::Release),
        ("data/one/a.iso", false, Role::Part),
        ("data/one/deep/a.log", false, Role::Part),
        ("data/one/x.bak", false, Role::Skipped),
        ("data/old", true, Role::Skipped),
        ("data/a.iso", false, Role::Release),
        ("data/one/.~tmp~", true, Role::Temporary),
        ("data/one/.~tmp~/a.iso", false, Role::Skipped),
        (".a.iso.X1b2C3", false, Role::Temporary),
        ("a.iso.release-at", false, Role::Embargo),
        ("data/one/a.release-at", false, Role::Part),
        (".release-at", false, Role::Skipped),
        ("", true, Role::Plain),
    ] {
        assert_eq!(rules.role_from_root(path, is_directory), role, "{path} {is_directory}");
    }
}

#[test]
fn where_globs_include_nothing_else_is_seen() {
    let rules = mirror().including(&globs(&["**/*.iso", "data/one"])).unwrap();
    for (path, is_directory, role) in [
        ("a.iso", false, Role::Release),
        ("data/one", true, Role::Release),
        ("data/one/readme.txt", false, Role::Part),
        ("data/two", true, Role::Release),
        ("data/two/readme.txt", false, Role::Skipped),
        ("data/two/b.iso", false, Role::Part),
        ("a.iso.release-at", false, Role::Embargo),
        (".a.iso.X1b2C3", false, Role::Temporary),
    ] {
        assert_eq!(rules.role_from_root(path, is_directory), role, "{path}");
    }
}

#[test]
fn what_is_reserved_is_never_content() {
    let rules = mirror().reserving(vec!["data/out".to_owned()]);
    assert_eq!(rules.role_from_root("data/out", true), Role::Skipped);
    assert_eq!(rules.role_from_root("data/out/x.iso", false), Role::Skipped);
    assert_eq!(rules.role_from_root("data/outer", true), Role::Release);
}

#[test]
fn a_path_that_is_too_long_or_too_deep_is_skipped() {
    let rules = mirror();
    let deep = "d/".repeat(MAX_DEPTH) + "a.iso";
    assert_eq!(rules.role_from_root(&deep, false), Role::Skipped);
    let long = "d/".repeat(20) + &"x".repeat(MAX_PATH_BYTES) + ".iso";
    assert_eq!(rules.role_from_root(&long, false), Role::Skipped);
}

#[test]
fn a_bad_glob_is_named() {
    let error = Rules::new(&[rule("a[", Becomes::File)]).unwrap_err();
    assert!(error.to_string().starts_with("\"a[\" is no glob"), "{error}");
    assert!(Rules::new(&[]).unwrap().excluding(&globs(&["{"])).is_err());
}

proptest! {
    #[test]
    fn no_release_lies_in_another(path in "(data|a|one|private|x\\.iso)(/(one|b|x\\.iso|\\.~tmp~)){0,4}", is_file: bool) {
        let rules = mirror();
        if rules.role_from_root(&path, !is_file) == Role::Release {
            for (slash, _) in path.match_indices('/') {
                prop_assert_eq!(rules.role_from_root(&path[..slash], true), Role::Plain);
            }
        }
    }
}
