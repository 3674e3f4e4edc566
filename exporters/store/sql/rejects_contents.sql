-- Bytes travel as base64: the engine's client takes text that is not UTF-8 for something else.
SELECT id, keyed, base64Encode(key), base64Encode(value)
FROM live_rejects
WHERE at_ms >= {since:Int64} AND (empty({ids:Array(String)}) OR id IN {ids:Array(String)}) AND ({reason:String} = '' OR reason = {reason:String})
