-- Where to divide all principals so that about so many of them are named in these months between two places; read from the index, not from the rows.
WITH (
  SELECT intDivOrZero(count() * {people:UInt64}, uniqHLL12(id, email)) FROM connections
  WHERE kind = 'user' AND toYYYYMM(bucket) BETWEEN {from_month:UInt32} AND {to_month:UInt32}
) AS rows
SELECT id, email
FROM (
  SELECT id, email, rows_in_granule AS many, sum(rows_in_granule) OVER (ORDER BY id, email ROWS UNBOUNDED PRECEDING) AS so_far
  FROM mergeTreeIndex(currentDatabase(), 'connections')
  WHERE kind = 'user' AND toUInt32(substring(part_name, 1, 6)) BETWEEN {from_month:UInt32} AND {to_month:UInt32}
) AS granules
WHERE intDivOrZero(so_far, rows) > intDivOrZero(so_far - many, rows)
ORDER BY id, email
