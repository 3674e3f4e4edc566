-- How much the Active Users and Inactive Users reports must read; rewritten states count as often as they lie there.
SELECT count() FROM connections WHERE bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')}
