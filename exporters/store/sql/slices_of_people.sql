-- Where to divide the names that a report has gathered so that about so many rows of people lie between two of them; read from the index, not from the rows.
SELECT person
FROM (
  SELECT person, rows_in_granule AS many, sum(rows_in_granule) OVER (ORDER BY person ROWS UNBOUNDED PRECEDING) AS so_far
  FROM mergeTreeIndex(currentDatabase(), {gathered:String})
  WHERE report = {report:String}
) AS granules
WHERE intDiv(so_far, {people:UInt64}) > intDiv(so_far - many, {people:UInt64})
ORDER BY person
