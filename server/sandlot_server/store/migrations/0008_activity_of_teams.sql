CREATE TABLE team_activity (
    team TEXT NOT NULL,
    at INTEGER NOT NULL,
    concurrent INTEGER NOT NULL,
    started INTEGER NOT NULL,
    PRIMARY KEY (team, at)
) STRICT, WITHOUT ROWID;

INSERT INTO team_activity (team, at, concurrent, started)
SELECT 'sandlot', at, concurrent, started FROM activity;

DROP TABLE activity;
