-- The database of the state directory. A section brings it from one version to the next; a new one goes
-- through all of them. What a section says is never changed after a release: a change is a new section.

-- version 1

-- One row a run. The number is the run's short name within this database; it is never given again.
-- outcome, ended, duration (seconds) and the counts are NULL until PLAN_COMPLETED, and again after
-- PLAN_RESUMED. created, ended: seconds since the epoch. source_digest: SHA-256 of the file `source` when the
-- run was created. definition: the digest of the plan as it is run. pid: of the engine that has, or last
-- had, the run.
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL UNIQUE,
    plan TEXT NOT NULL,
    goal TEXT,
    source TEXT,
    source_digest TEXT,
    definition TEXT NOT NULL REFERENCES plans (digest),
    tasks INTEGER NOT NULL,
    max_parallel INTEGER NOT NULL,
    failure_mode TEXT NOT NULL,
    seed INTEGER,
    speed REAL NOT NULL,
    pid INTEGER NOT NULL,
    created REAL NOT NULL,
    ended REAL,
    outcome TEXT,
    duration REAL,
    success INTEGER,
    failed INTEGER,
    skipped INTEGER,
    cancelled INTEGER,
    retried INTEGER
);

CREATE INDEX runs_of_a_plan ON runs (plan, number);

-- Plans as they are run, as JSON; one row for all runs of the same, by its SHA-256.
CREATE TABLE plans (
    digest TEXT PRIMARY KEY,
    definition TEXT NOT NULL
);

-- One row an event. key: run number * 2^32 + the event's number in the run. A turn so appends to one page
-- of one tree, which is what makes a transaction a turn affordable; and all questions about a run are a
-- range of keys. task, attempt: NULL for events about the whole run; state is then the phase.
-- detail: the fields that only this type of event has, as JSON, without those at their defaults.
CREATE TABLE events (
    key INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    utc REAL NOT NULL,
    offset REAL NOT NULL,
    task INTEGER,
    attempt INTEGER,
    state TEXT NOT NULL,
    cause TEXT NOT NULL,
    detail TEXT NOT NULL
);

-- Events that could not be kept: the numbers first..last are missing, and why.
CREATE TABLE gaps (
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (run, first)
);
