-- Times are seconds since 1970, paths and names of files bytes, as Linux has them.

-- Folders and tiers are shared by many torrents.
CREATE TABLE folder (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE
) STRICT;

CREATE TABLE tiers (
    id INTEGER PRIMARY KEY,
    urls BLOB NOT NULL UNIQUE
) STRICT;

-- AUTOINCREMENT: a number is never given to another torrent.
CREATE TABLE torrent (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    info_hash_v1 BLOB UNIQUE CHECK (length(info_hash_v1) = 20),
    info_hash_v2 BLOB UNIQUE CHECK (length(info_hash_v2) = 32),
    info_hash_misread BLOB CHECK (length(info_hash_misread) = 20),
    name TEXT NOT NULL,
    -- Unknown until a magnet link is resolved.
    size_bytes INTEGER,
    piece_count INTEGER,
    is_private INTEGER,
    origin TEXT NOT NULL CHECK (origin IN ('added', 'published', 'subscribed')),
    origin_label TEXT,
    origin_item BLOB,
    folder INTEGER NOT NULL REFERENCES folder (id),
    own_name BLOB,
    follows_links INTEGER NOT NULL,
    -- Where the content is being moved to.
    moving_folder INTEGER REFERENCES folder (id),
    moving_own_name BLOB,
    moving_follows_links INTEGER,
    wanted TEXT NOT NULL CHECK (wanted IN ('running', 'stopped', 'stopped-by-ratio', 'stopped-by-time')),
    group_name TEXT,
    upload_limit INTEGER,
    download_limit INTEGER,
    seed_ratio_permille INTEGER,
    seed_time_s INTEGER,
    super_seeding TEXT CHECK (super_seeding IN ('auto', 'on', 'off')),
    tiers INTEGER REFERENCES tiers (id),
    added_at_s INTEGER NOT NULL,
    completed_at_s INTEGER,
    first_copy_at_s INTEGER,
    release_at_s INTEGER,
    uploaded_bytes INTEGER NOT NULL,
    downloaded_bytes INTEGER NOT NULL,
    seeded_s INTEGER NOT NULL,
    fault TEXT,
    fault_at_s INTEGER,
    CHECK (info_hash_v1 IS NOT NULL OR info_hash_v2 IS NOT NULL)
) STRICT;

CREATE INDEX torrent_of_feed ON torrent (origin_label) WHERE origin = 'subscribed';

-- Large and seldom read, so in tables of their own.
CREATE TABLE metainfo (
    torrent INTEGER PRIMARY KEY REFERENCES torrent (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('torrent', 'magnet')),
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE verified (
    torrent INTEGER PRIMARY KEY REFERENCES torrent (id) ON DELETE CASCADE,
    record BLOB NOT NULL
) STRICT;

-- Torrents whose second copy is older than their row, or must go with it.
CREATE TABLE unkept (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE release (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    label TEXT NOT NULL,
    path BLOB NOT NULL,
    torrent INTEGER REFERENCES torrent (id) ON DELETE SET NULL,
    state TEXT NOT NULL CHECK (state IN ('preparing', 'published', 'withdrawn')),
    published_at_s INTEGER,
    gone_since_s INTEGER,
    withdrawn_at_s INTEGER
) STRICT;

-- A path is one release at a time; those withdrawn are history.
CREATE UNIQUE INDEX release_of_path ON release (label, path) WHERE state <> 'withdrawn';
CREATE INDEX release_withdrawn ON release (withdrawn_at_s) WHERE state = 'withdrawn';
CREATE INDEX release_of_torrent ON release (torrent);

-- SHA-256 of every file of a release, 32 bytes each.
CREATE TABLE release_sums (
    release INTEGER PRIMARY KEY REFERENCES release (id) ON DELETE CASCADE,
    sums BLOB NOT NULL CHECK (length(sums) % 32 = 0)
) STRICT;

-- Files that we wrote for a release, and may therefore replace and remove.
CREATE TABLE release_output (
    release INTEGER NOT NULL REFERENCES release (id) ON DELETE CASCADE,
    path BLOB NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    PRIMARY KEY (release, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE feed (
    name TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    etag TEXT,
    last_modified TEXT,
    polled_at_s INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE feed_item (
    feed TEXT NOT NULL REFERENCES feed (name) ON DELETE CASCADE,
    item BLOB NOT NULL CHECK (length(item) = 32),
    state TEXT NOT NULL CHECK (state IN ('skipped', 'waiting', 'taken', 'failed')),
    title TEXT NOT NULL,
    url TEXT,
    torrent INTEGER REFERENCES torrent (id) ON DELETE SET NULL,
    size_bytes INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_try_at_s INTEGER,
    met_at_s INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (feed, item)
) STRICT, WITHOUT ROWID;

CREATE INDEX feed_item_of_torrent ON feed_item (torrent);
CREATE INDEX feed_item_by_age ON feed_item (feed, met_at_s);

CREATE TABLE delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,
    event TEXT NOT NULL,
    body BLOB NOT NULL,
    queued_at_s INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_try_at_s INTEGER NOT NULL
) STRICT;

CREATE INDEX delivery_of_target ON delivery (target, id);
