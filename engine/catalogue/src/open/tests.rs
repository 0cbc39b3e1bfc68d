use super::*;

fn database(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

#[test]
fn a_newer_versions_database_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let path = database(dir.path());
    let connection = Connection::open(&path).unwrap();
    let newer = STEPS.len() as i64 + 1;
    connection.pragma_update(None, "user_version", newer).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    let Err(error) = open(dir.path()) else { panic!("it was opened") };
    assert!(matches!(error, CatalogueError::Newer { found, .. } if found == newer), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
