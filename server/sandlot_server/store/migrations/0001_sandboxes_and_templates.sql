CREATE TABLE templates (
    id TEXT PRIMARY KEY,
    build_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- What a template was at some time; the template points at its current one.
CREATE TABLE builds (
    id TEXT PRIMARY KEY,
    template_id TEXT NOT NULL REFERENCES templates (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    image TEXT NOT NULL,
    cpu_count INTEGER NOT NULL,
    memory_mb INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE template_names (
    name TEXT PRIMARY KEY,
    template_id TEXT NOT NULL REFERENCES templates (id) ON DELETE CASCADE,
    position INTEGER NOT NULL
) STRICT;

CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY,
    container TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    spec TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    filesystem_only INTEGER NOT NULL
) STRICT;
