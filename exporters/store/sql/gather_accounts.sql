-- The population of a directory, for gather_users.sql.
INSERT INTO inactive_people (report, person, member, state, created)
SELECT {report:String}, if(account_email != '', account_email, account_id), 1, state, created FROM live_accounts
SETTINGS min_insert_block_size_rows = 100000 -- not the engine's million: they lie in memory until then
