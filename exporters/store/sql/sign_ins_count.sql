SELECT count()
FROM live_sign_ins
WHERE time_ms >= {a:Int64} AND time_ms < {b:Int64}
  AND ({who:String} = '' OR id = {who:String} OR email = {folded:String}
    OR id IN (SELECT account_id FROM live_accounts WHERE account_email = {folded:String} AND {folded:String} != ''))
  AND (empty({types:Array(String)}) OR type IN {types:Array(String)})
  AND ({result:String} = '' OR result = {result:String})
  AND ({reason:String} = '' OR reason = {reason:String})
