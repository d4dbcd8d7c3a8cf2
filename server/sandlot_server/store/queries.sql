-- name: load_sandboxes
SELECT * FROM sandboxes ORDER BY started_at, id;

-- name: save_sandbox
INSERT INTO sandboxes (id, container, state, started_at, end_at, spec, boot_id, filesystem_only, stopped)
VALUES (:id, :container, :state, :started_at, :end_at, :spec, :boot_id, :filesystem_only, :stopped)
ON CONFLICT (id) DO UPDATE SET
    container = :container, state = :state, started_at = :started_at, end_at = :end_at,
    spec = :spec, boot_id = :boot_id, filesystem_only = :filesystem_only,
    stopped = :stopped;

-- name: delete_sandbox
DELETE FROM sandboxes WHERE id = :id;

-- name: load_templates
SELECT template_tags.template_id, template_tags.tag, template_tags.created_at,
    builds.id AS build_id, builds.image, builds.cpu_count, builds.memory_mb, builds.source_sandbox,
    builds.context, builds.start, templates.public, templates.team
FROM template_tags JOIN builds ON builds.id = template_tags.build_id
    JOIN templates ON templates.id = template_tags.template_id
ORDER BY template_tags.created_at, template_tags.template_id, template_tags.tag;

-- name: load_names
SELECT name, template_id FROM template_names ORDER BY position;

-- name: save_template
INSERT INTO templates (id, created_at, updated_at, public, team)
VALUES (:id, :created_at, :created_at, :public, :team)
ON CONFLICT (id) DO UPDATE SET updated_at = :created_at, public = :public;

-- name: load_uses
SELECT id, spawn_count, last_spawned_at FROM templates WHERE spawn_count > 0;

-- name: save_uses
UPDATE templates SET spawn_count = :count, last_spawned_at = :last WHERE id = :id;

-- name: save_build
INSERT INTO builds
    (id, template_id, image, cpu_count, memory_mb, created_at, source_sandbox, context, start)
VALUES
    (:build_id, :id, :image, :cpu_count, :memory_mb, :created_at, :source_sandbox, :context, :start)
ON CONFLICT (id) DO UPDATE SET image = :image, cpu_count = :cpu_count, memory_mb = :memory_mb,
    context = :context, start = :start;

-- name: save_tag
INSERT INTO template_tags (template_id, tag, build_id, created_at) VALUES (:id, :tag, :build_id, :created_at)
ON CONFLICT (template_id, tag) DO UPDATE SET build_id = :build_id, created_at = :created_at;

-- name: delete_tag
DELETE FROM template_tags WHERE template_id = :id AND tag = :tag;

-- name: delete_stale_builds
DELETE FROM builds WHERE template_id = :id AND id NOT IN (SELECT build_id FROM template_tags);

-- name: delete_template
DELETE FROM templates WHERE id = :id;

-- name: delete_names
DELETE FROM template_names WHERE template_id = :id;

-- name: save_name
INSERT INTO template_names (name, template_id, position) VALUES (:name, :id, :position)
ON CONFLICT (name) DO UPDATE SET template_id = :id, position = :position;

-- name: append_entry
INSERT INTO entries (sandbox_id, at, event, level, message, fields)
VALUES (:sandbox_id, :at, :event, :level, :message, :fields);

-- name: load_entries
SELECT sandbox_id, at, event, level, message, fields FROM entries WHERE sandbox_id = :sandbox_id ORDER BY at, number;

-- name: prune_entries
DELETE FROM entries WHERE number <= (SELECT max(number) FROM entries) - :keep;

-- name: append_sample
INSERT OR REPLACE INTO samples
    (sandbox_id, at, cpu_count, cpu_used_pct, mem_used, mem_total, mem_cache, disk_used, disk_total)
VALUES
    (:sandbox_id, :at, :cpu_count, :cpu_used_pct, :mem_used, :mem_total, :mem_cache, :disk_used, :disk_total);

-- name: load_samples
SELECT * FROM samples WHERE sandbox_id = :sandbox_id AND at BETWEEN :start AND :end ORDER BY at;

-- name: prune_samples
DELETE FROM samples WHERE at < :before;

-- name: load_builds
SELECT * FROM template_builds ORDER BY created_at, id;

-- name: save_build_record
INSERT INTO template_builds
    (id, template_id, name, tags, cpu_count, memory_mb, status, created_at, updated_at, finished_at, reason, team)
VALUES
    (:id, :template_id, :name, :tags, :cpu_count, :memory_mb, :status, :created_at, :updated_at, :finished_at, :reason,
    :team)
ON CONFLICT (id) DO UPDATE SET
    status = :status, updated_at = :updated_at, finished_at = :finished_at, reason = :reason;

-- name: delete_builds_of
DELETE FROM template_builds WHERE template_id = :template_id;

-- name: append_build_log
INSERT INTO build_logs (build_id, at, level, message, step) VALUES (:build_id, :at, :level, :message, :step);

-- name: load_build_logs
SELECT at, level, message, step FROM build_logs WHERE build_id = :build_id ORDER BY number;

-- name: load_layers
SELECT * FROM layers ORDER BY used_at, key;

-- name: save_layer
INSERT INTO layers (key, image, context, template_id, used_at)
VALUES (:key, :image, :context, :template_id, :used_at)
ON CONFLICT (key) DO UPDATE SET
    image = :image, context = :context, template_id = :template_id, used_at = :used_at;

-- name: delete_layer
DELETE FROM layers WHERE key = :key;

-- name: append_activity
INSERT OR REPLACE INTO team_activity (team, at, concurrent, started)
VALUES (:team, :at, :concurrent, :started);

-- name: load_activity
SELECT :team AS team, at / :step * :step AS at, max(concurrent) AS concurrent, sum(started) AS started
FROM team_activity WHERE team = :team AND at BETWEEN :start AND :end GROUP BY 2 ORDER BY 2;

-- name: find_peak_concurrent
SELECT * FROM team_activity WHERE team = :team AND at BETWEEN :start AND :end
ORDER BY concurrent DESC, at LIMIT 1;

-- name: find_peak_started
SELECT * FROM team_activity WHERE team = :team AND at BETWEEN :start AND :end
ORDER BY started DESC, at LIMIT 1;

-- name: prune_activity
DELETE FROM team_activity WHERE at < :before;

-- name: find_owner
SELECT team FROM owners WHERE sandbox_id = :sandbox_id;

-- name: prune_owners
DELETE FROM owners WHERE sandbox_id NOT IN (
    SELECT id FROM sandboxes UNION SELECT sandbox_id FROM entries UNION SELECT sandbox_id FROM samples
);

-- name: load_teams
SELECT * FROM teams ORDER BY created_at, name;

-- name: save_team
INSERT INTO teams (name, created_at) VALUES (:name, :created_at)
ON CONFLICT (name) DO UPDATE SET created_at = :created_at;

-- name: load_keys
SELECT * FROM api_keys ORDER BY created_at, id;

-- name: save_key
INSERT INTO api_keys (id, team, name, digest, masked, created_at, last_used)
VALUES (:id, :team, :name, :digest, :masked, :created_at, :last_used)
ON CONFLICT (id) DO UPDATE SET name = :name, last_used = :last_used;

-- name: delete_key
DELETE FROM api_keys WHERE id = :id;
