-- What a build says of the programs in its sandboxes, as JSON.
ALTER TABLE builds ADD COLUMN context TEXT NOT NULL DEFAULT '{}';
ALTER TABLE builds ADD COLUMN start TEXT;
ALTER TABLE templates ADD COLUMN public INTEGER NOT NULL DEFAULT 0;
