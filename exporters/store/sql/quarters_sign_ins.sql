-- Sign-ins per quarter hour and outcome.
SELECT intDiv(time_ms, 900000) * 900 AS at_, type, result, reason, count() AS many
FROM live_sign_ins
WHERE time_ms >= {a:Int64} AND time_ms < {b:Int64}
GROUP BY at_, type, result, reason
