-- One row per rolling window and person, with what the snapshot says of them as JSON: everything before a moment stands in `recent` already, the
-- fragments from there on are added up here.  Devices are those of one of the windows for all of them.  Of everybody, or of the principals named.
SELECT window, person, last_, ok_, dns_, other_, transferred_, received_, relayed_, direct_, used_, addresses_, arrayStringConcat(top, ' '),
  toJSONString(CAST(
    (person, if(last_ > 0, concat(replaceOne(toString(fromUnixTimestamp64Milli(last_, 'UTC')), ' ', 'T'), 'Z'), NULL), ok_ + dns_ + other_, ok_,
      dns_ + other_, dns_, other_, transferred_ + received_, transferred_, received_, if(known = 0, NULL, intDiv(20000 * relayed_ + known, 2 * known) / 100),
      if(known = 0, NULL, intDiv(20000 * direct_ + known, 2 * known) / 100), used_, addresses_, top),
    'Tuple(user_email String, last_access_date Nullable(String), total_connections UInt64, success_connections UInt64,
      failed_connections UInt64, failed_connections_dns UInt64, failed_connections_other UInt64, total_bytes UInt128, bytes_transferred UInt128,
      bytes_received UInt128, percent_relay Nullable(Float64), percent_p2p Nullable(Float64), active_devices UInt64, num_of_client_ip UInt64,
      top_10_client_ips Array(String))'))
FROM (
  SELECT *, max(if(window = {of_devices:UInt32}, devices_, 0)) OVER (PARTITION BY person) AS used_, relayed_ + direct_ AS known, length(merged) AS addresses_,
    arraySlice(arrayPartialSort((address, n) -> (-toInt64(n), address), 10, mapKeys(merged), mapValues(merged)), 1, 10) AS top
  FROM (
    SELECT window, if(account_email != '', account_email, if(email != '', email, id)) AS person, max(last_ms) AS last_, sum(ok) AS ok_, sum(dns) AS dns_,
      sum(other) AS other_, sum(transferred) AS transferred_, sum(received) AS received_, sum(relayed) AS relayed_, sum(direct) AS direct_,
      uniqExactArray(used) AS devices_, sumMap(counts) AS merged
    FROM (
      SELECT * FROM (@fragments)
      UNION ALL
      SELECT window, id, email, last_access, success, failed_dns, failed_other, bytes_transferred, bytes_received, relay, p2p, client_ips, devices
      FROM recent
      WHERE service = {service:String} AND ({everybody:Bool} OR (id, email) IN (@named))
    ) AS pieces
    LEFT JOIN live_accounts ON account_id = id
    GROUP BY window, person
  ) AS people
) AS everybody
WHERE window <= {windows:UInt32} AND (last_ > 0 OR ok_ + dns_ + other_ > 0)
ORDER BY window, person
SETTINGS max_threads = 1, -- behind everybody's back: the other processors are for those who wait
  max_block_size = 1024, -- each is turned into objects at one go, while nobody else computes
  output_format_json_quote_64bit_integers = 0, output_format_json_escape_forward_slashes = 0
