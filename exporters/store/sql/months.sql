-- Months of which something is stored and that ended before one, as yyyymm.
SELECT DISTINCT table, toUInt32(partition) AS month
FROM system.parts
WHERE active AND database = currentDatabase() AND table IN {tables:Array(String)} AND toUInt32OrZero(partition) < {before:UInt32}
