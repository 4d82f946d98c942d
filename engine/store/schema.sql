-- The database of the state directory. A section brings it from one version to the next; a new one goes
-- through all of them. What a section says is never changed after a release: a change is a new section.

-- version 1

-- One row a run. The number is the run's short name within this database; it is never given again.
-- outcome, ended, duration (seconds) and the counts are NULL until PLAN_COMPLETED, and again after
-- PLAN_RESUMED. created, ended: seconds since the epoch. source_digest: SHA-256 of the file `source` when the
-- run was created, then a line with digest and path for each file of a subplan. definition: the digest of
-- the plan as it is run. pid: of the engine that has, or last had, the run.
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

-- One row a turn of the engine: an event costs a tenth of a row, and all questions about a run read a
-- range of keys. key: run number * 2^32 + the number of the last event of the turn. events: a JSON array of
-- them, each an object with its type and its fields, without those at their defaults. A turn of very
-- many events takes several rows.
CREATE TABLE turns (
    key INTEGER PRIMARY KEY,
    events TEXT NOT NULL
);

-- Events that could not be kept: the numbers first..last are missing, and why.
CREATE TABLE gaps (
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (run, first)
);

-- version 2

-- One row a goal, by its text. state: after its last move; ACTIVE may also mean that the engine of its
-- run was killed. since: when it moved last, in seconds since the epoch.
CREATE TABLE goals (
    number INTEGER PRIMARY KEY,
    goal TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    since REAL NOT NULL
);

-- Every move of a goal, in order. state: where it led. run_id: of the run that moved it, which may have been
-- deleted since; NULL where a person did.
CREATE TABLE goal_moves (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    goal INTEGER NOT NULL REFERENCES goals (number) ON DELETE CASCADE,
    state TEXT NOT NULL,
    utc REAL NOT NULL,
    run_id TEXT
);

CREATE INDEX moves_of_a_goal ON goal_moves (goal, number);

CREATE INDEX runs_of_a_goal ON runs (goal, number) WHERE goal IS NOT NULL;

-- Of the goals that version 1 knew by name alone, the last run tells.
INSERT INTO goals (goal, state, since)
SELECT goal,
       CASE WHEN outcome IS NULL THEN 'active' WHEN failed > 0 OR outcome = 'failed' THEN 'failed'
            WHEN outcome = 'success' THEN 'achieved' ELSE 'pending' END,
       coalesce(ended, created)
FROM runs WHERE number IN (SELECT max(number) FROM runs WHERE goal IS NOT NULL GROUP BY goal);

INSERT INTO goal_moves (goal, state, utc, run_id)
SELECT goals.number, state, since, run_id
FROM goals JOIN runs ON runs.number = (SELECT max(number) FROM runs WHERE runs.goal = goals.goal);
