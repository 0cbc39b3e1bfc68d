//! The tables, and the numbered steps that led to them. A step that was released is never changed: another one is added.

use rusqlite::{Connection, TransactionBehavior};

/// "Spwy" in ASCII, in the header of every database of ours.
pub(crate) const APPLICATION_ID: i32 = 0x5370_7779;

/// The steps, oldest first; a database of version N has been through the first N of them.
pub(crate) const STEPS: &[&str] = &[include_str!("schema/0001.sql")];

/// Brings a database to the newest version, all steps or none.
pub(crate) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let from = version(connection)?;
    let missing = usize::try_from(from).ok().and_then(|from| steps.get(from..)).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", steps.len() as i64)?;
    transaction.commit()
}

/// How many steps the database has been through.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The statements that made the tables, to compare: a database whose tables are others than its version says is damaged.
pub(crate) fn statements(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut query = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY name")?;
    query.query_map([], |row| row.get(0))?.collect()
}

/// The same of a database that was just made.
pub(crate) fn expected_statements(steps: &[&str]) -> rusqlite::Result<Vec<String>> {
    let mut fresh = Connection::open_in_memory()?;
    migrate(&mut fresh, steps)?;
    statements(&fresh)
}
