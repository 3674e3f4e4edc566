-- Rewritten states are the workload: of the rows of one key the one with the greatest version (its changelog offset) counts.
-- Month partitions are a function of the key, so versions of one row always meet.  One event may carry 2^63-1 bytes: their sums need more than 64 bits.
CREATE TABLE IF NOT EXISTS connections (
  kind LowCardinality(String), id String, email String, bucket DateTime('UTC') CODEC(Delta, ZSTD(1)),
  part UInt16, first UInt64 CODEC(Delta, ZSTD(1)), version UInt64 CODEC(Delta, ZSTD(1)), deleted UInt8,
  success UInt64, failed_dns UInt64, failed_other UInt64, bytes_transferred UInt128, bytes_received UInt128, relay UInt64, p2p UInt64,
  last_access Int64 CODEC(Delta, ZSTD(1)), client_ips Map(LowCardinality(String), UInt64), devices Array(LowCardinality(String))
) ENGINE = ReplacingMergeTree(version, deleted) PARTITION BY toYYYYMM(bucket) ORDER BY (kind, id, email, bucket, part, first)
SETTINGS index_granularity = 1024, min_age_to_force_merge_seconds = 600, fsync_after_insert = 1, fsync_part_directory = 1;

-- A month that nothing comes to any more becomes one part.  A month that grows must not: all of it would be written anew every ten minutes.
ALTER TABLE connections MODIFY SETTING min_age_to_force_merge_on_partition_only = 1;

CREATE TABLE IF NOT EXISTS sign_ins (
  time_ms Int64 CODEC(Delta, ZSTD(1)), event_id String, part UInt16, offset UInt64,
  id String, email String, type LowCardinality(String), result LowCardinality(String), reason LowCardinality(String), document String
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(time_ms, 'UTC')) ORDER BY (time_ms, event_id, part, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The same in the order of people: what happened to one of them lately lies in one place.
CREATE TABLE IF NOT EXISTS sign_ins_of (
  time_ms Int64 CODEC(Delta, ZSTD(1)), event_id String, part UInt16, offset UInt64,
  id String, email String, type LowCardinality(String), result LowCardinality(String), reason LowCardinality(String), document String
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(time_ms, 'UTC')) ORDER BY (id, email, time_ms, event_id, part, offset)
SETTINGS index_granularity = 512, fsync_after_insert = 1, fsync_part_directory = 1;

-- Of a store that was made before there was this table; what dies on the way is done again.
INSERT INTO sign_ins_of SELECT * FROM sign_ins
WHERE (SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'sign_ins_to_people') = 0
SETTINGS max_partitions_per_insert_block = 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS sign_ins_to_people TO sign_ins_of AS SELECT * FROM sign_ins;

CREATE TABLE IF NOT EXISTS accounts (
  id String, email String, state LowCardinality(String), created String, version UInt64, deleted UInt8
) ENGINE = ReplacingMergeTree(version, deleted) ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Rejects with their bytes, no longer than their topic keeps them (and a day: the queries cut to the millisecond).
CREATE TABLE IF NOT EXISTS rejects (
  id String, at_ms Int64, reason LowCardinality(String), path String, size UInt64, part UInt16, offset UInt64, keyed UInt8, key String, value String CODEC(ZSTD(3))
) ENGINE = ReplacingMergeTree(offset) ORDER BY id
TTL toDateTime(intDiv(at_ms, 1000), 'UTC') + INTERVAL 31 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Connectors and sources, when each was heard last.  The only table that Kafka cannot give back whole: lost, it is begun anew.
CREATE TABLE IF NOT EXISTS speakers (
  kind LowCardinality(String), id String, name String, event_at Int64, heard_at Int64, first_heard_at Int64, sightings UInt64, noticed_at Int64, version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY (kind, id);

-- Days added up per principal, for rolling windows: made from connections, made again whenever the service that made them starts.
CREATE TABLE IF NOT EXISTS days (
  service String, day Date, id String, email String,
  success UInt64, failed_dns UInt64, failed_other UInt64, bytes_transferred UInt128, bytes_received UInt128, relay UInt64, p2p UInt64,
  last_access Int64, client_ips Map(LowCardinality(String), UInt64), devices Array(LowCardinality(String))
) ENGINE = MergeTree PARTITION BY (service, day) ORDER BY (id, email);

-- The settled days of each rolling window added up per principal; window 1 is the first, and so on.
CREATE TABLE IF NOT EXISTS spans (
  service String, window UInt32, id String, email String,
  success UInt64, failed_dns UInt64, failed_other UInt64, bytes_transferred UInt128, bytes_received UInt128, relay UInt64, p2p UInt64,
  last_access Int64, client_ips Map(LowCardinality(String), UInt64), devices Array(LowCardinality(String))
) ENGINE = MergeTree PARTITION BY (service, window) ORDER BY (id, email);

-- What lies in each rolling window before a moment, added up per principal.
CREATE TABLE IF NOT EXISTS recent (
  service String, window UInt32, id String, email String,
  success UInt64, failed_dns UInt64, failed_other UInt64, bytes_transferred UInt128, bytes_received UInt128, relay UInt64, p2p UInt64,
  last_access Int64, client_ips Map(LowCardinality(String), UInt64), devices Array(LowCardinality(String))
) ENGINE = MergeTree PARTITION BY service ORDER BY (id, email);

-- What reports that are being made have gathered, each in the order of the next step.  It is dropped with its report, or goes after two days.
CREATE TABLE IF NOT EXISTS active_people (
  report String, person String, last_access Int64,
  success UInt64, failed_dns UInt64, failed_other UInt64, bytes_transferred UInt128, bytes_received UInt128, relay UInt64, p2p UInt64,
  client_ips Map(LowCardinality(String), UInt64), devices Array(LowCardinality(String)), made DateTime('UTC') DEFAULT now()
) ENGINE = MergeTree PARTITION BY report ORDER BY (report, person) TTL made + INTERVAL 2 DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS inactive_people (
  report String, person String, last_access Int64, member UInt8, state LowCardinality(String), created String, made DateTime('UTC') DEFAULT now()
) ENGINE = MergeTree PARTITION BY report ORDER BY (report, person) TTL made + INTERVAL 2 DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS inactive_users (
  report String, last_access Int64, person String, state LowCardinality(String), created String, made DateTime('UTC') DEFAULT now()
) ENGINE = MergeTree PARTITION BY report ORDER BY (report, last_access, person) TTL made + INTERVAL 2 DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS positions (
  topic String, part UInt16, topic_id String, next UInt64, epoch Int64, ledger Int64, lost UInt64
) ENGINE = ReplacingMergeTree(next) ORDER BY (topic, part)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW IF NOT EXISTS live_connections AS SELECT * FROM connections FINAL;

CREATE VIEW IF NOT EXISTS live_sign_ins AS SELECT * FROM sign_ins FINAL;

CREATE VIEW IF NOT EXISTS live_sign_ins_of AS SELECT * FROM sign_ins_of FINAL;

CREATE VIEW IF NOT EXISTS live_accounts AS SELECT id AS account_id, email AS account_email, state, created FROM accounts FINAL;

CREATE VIEW IF NOT EXISTS live_rejects AS SELECT * FROM rejects FINAL;
