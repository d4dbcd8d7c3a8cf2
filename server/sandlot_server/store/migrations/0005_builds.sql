ALTER TABLE templates ADD COLUMN spawn_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE templates ADD COLUMN last_spawned_at INTEGER;

CREATE TABLE template_builds (
    id TEXT PRIMARY KEY,
    template_id TEXT NOT NULL,
    name TEXT NOT NULL,
    tags TEXT NOT NULL,
    cpu_count INTEGER NOT NULL,
    memory_mb INTEGER NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    reason TEXT
) STRICT;

CREATE INDEX template_builds_by_template ON template_builds (template_id, created_at);

CREATE TABLE build_logs (
    number INTEGER PRIMARY KEY,
    build_id TEXT NOT NULL REFERENCES template_builds (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    step TEXT
) STRICT;

CREATE INDEX build_logs_by_build ON build_logs (build_id, number);

-- What build steps made, for builds that take the same steps.
CREATE TABLE layers (
    key TEXT PRIMARY KEY,
    image TEXT NOT NULL,
    context TEXT NOT NULL,
    template_id TEXT NOT NULL,
    used_at INTEGER NOT NULL
) STRICT;
