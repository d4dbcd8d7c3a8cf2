-- Whether the container was stopped while the sandbox ran.
ALTER TABLE sandboxes ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
