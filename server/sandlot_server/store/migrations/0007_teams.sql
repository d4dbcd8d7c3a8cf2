CREATE TABLE teams (
    name TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    team TEXT NOT NULL REFERENCES teams (name),
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    masked TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used INTEGER
) STRICT;

-- What there is belongs to the team that was the only one. A sandbox says so in its specification.
ALTER TABLE templates ADD COLUMN team TEXT NOT NULL DEFAULT 'sandlot';
ALTER TABLE template_builds ADD COLUMN team TEXT NOT NULL DEFAULT 'sandlot';

-- Logs and samples outlive their sandbox, and so does whose they are.
CREATE TABLE owners (
    sandbox_id TEXT PRIMARY KEY,
    team TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO owners (sandbox_id, team)
SELECT id, 'sandlot' FROM sandboxes UNION SELECT sandbox_id, 'sandlot' FROM entries
UNION SELECT sandbox_id, 'sandlot' FROM samples;

CREATE TRIGGER note_owner AFTER INSERT ON sandboxes BEGIN
    INSERT OR REPLACE INTO owners (sandbox_id, team)
    VALUES (NEW.id, coalesce(json_extract(NEW.spec, '$.team'), 'sandlot'));
END;
