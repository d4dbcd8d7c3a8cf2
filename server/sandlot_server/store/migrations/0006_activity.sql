CREATE TABLE activity (
    at INTEGER PRIMARY KEY,
    concurrent INTEGER NOT NULL,
    started INTEGER NOT NULL
) STRICT;
