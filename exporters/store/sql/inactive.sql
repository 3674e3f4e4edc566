-- The inactive that a report has gathered, never first, then by their last access; they lie in this order.
SELECT person, last_access, state, created FROM inactive_users WHERE report = {report:String} ORDER BY report, last_access, person
