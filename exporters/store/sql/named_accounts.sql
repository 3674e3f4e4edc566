-- The accounts that the principals of a slice may have, as a part of other queries.
SELECT account_id, account_email FROM live_accounts
WHERE ({first:Bool} OR account_id >= {after:String}) AND ({last:Bool} OR account_id <= {to:String})
