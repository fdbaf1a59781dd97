-- How far upkeep has compared the stored files with the rows that refer to them.
CREATE TABLE listing_positions (
    area       text PRIMARY KEY,
    after_path text NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON listing_positions TO results_worker;
