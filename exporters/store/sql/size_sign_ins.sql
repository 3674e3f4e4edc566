-- How much the Authentication Events report must read.
SELECT count() FROM sign_ins WHERE time_ms >= {a:Int64} AND time_ms < {b:Int64}
