-- Sign-ins before a place in their order, newest first.  The conditions are those of authentication.sql: what a page shows is what the file holds.
SELECT time_ms, event_id, part, offset, document
FROM live_sign_ins
WHERE time_ms >= {a:Int64} AND time_ms < {b:Int64}
  AND ({who:String} = '' OR id = {who:String} OR email = {folded:String}
    OR id IN (SELECT account_id FROM live_accounts WHERE account_email = {folded:String} AND {folded:String} != ''))
  AND (empty({types:Array(String)}) OR type IN {types:Array(String)})
  AND ({result:String} = '' OR result = {result:String})
  AND ({reason:String} = '' OR reason = {reason:String})
  AND time_ms <= {at:Int64}
  AND (time_ms, event_id, part, offset) < ({at:Int64}, {event:String}, {part:UInt32}, {offset:UInt64})
ORDER BY time_ms DESC, event_id DESC, part DESC, offset DESC
LIMIT {limit:UInt32}
