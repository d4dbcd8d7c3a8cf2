CREATE TABLE entries (
    number INTEGER PRIMARY KEY,
    sandbox_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    event TEXT,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    fields TEXT NOT NULL
) STRICT;

CREATE INDEX entries_by_sandbox ON entries (sandbox_id, at);

CREATE TABLE samples (
    sandbox_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    cpu_count INTEGER NOT NULL,
    cpu_used_pct REAL NOT NULL,
    mem_used INTEGER NOT NULL,
    mem_total INTEGER NOT NULL,
    mem_cache INTEGER NOT NULL,
    disk_used INTEGER NOT NULL,
    disk_total INTEGER NOT NULL,
    PRIMARY KEY (sandbox_id, at)
) STRICT, WITHOUT ROWID;

CREATE INDEX samples_by_time ON samples (at);
