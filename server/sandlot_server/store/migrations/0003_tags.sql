-- A template has one build for each of its tags; a snapshot is a build that was made from a sandbox.
CREATE TABLE template_tags (
    template_id TEXT NOT NULL REFERENCES templates (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    build_id TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (template_id, tag)
) STRICT;

INSERT INTO template_tags (template_id, tag, build_id, created_at)
SELECT id, 'default', build_id, created_at FROM templates;

ALTER TABLE templates DROP COLUMN build_id;
ALTER TABLE builds ADD COLUMN source_sandbox TEXT;
